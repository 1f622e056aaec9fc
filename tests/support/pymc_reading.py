"""What PyMC says of a model at given parameters."""

from __future__ import annotations

from typing import Any

import numpy as np


def pymc_says(
    model: Any, design: Any, params: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, list[dict[str, np.ndarray]]]:
    """Pointwise log-likelihood, log joint, and gradient by name, of every sample.

    Joint densities and gradients are by the free variables.
    """
    import pytensor
    from pytensor.compile.mode import Mode

    built = model.pymc_model(design)
    names = [variable.name for variable in built.value_vars]
    params = model.free(params, design)
    total = built.logp()
    outputs = [
        *built.logp(vars=built.observed_RVs, sum=False),
        total,
        *pytensor.grad(total, built.value_vars),
    ]
    # as written: neither rewritten nor compiled, which would take half a minute
    evaluate = pytensor.function(built.value_vars, outputs, mode=Mode("py", None))
    count = len(next(iter(params.values())))
    found = [evaluate(*(params[key][i] for key in names)) for i in range(count)]
    gradients = [dict(zip(names, one[2:], strict=True)) for one in found]
    return (
        np.stack([one[0] for one in found]),
        np.array([float(one[1]) for one in found]),
        gradients,
    )
