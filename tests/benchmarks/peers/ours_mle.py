"""Maximum likelihood by bayesmix, to lay beside lme4."""

from __future__ import annotations

from contract import arguments, stop_clock
from ours import FORMULA

import bayesmix as bm


def main() -> None:
    """Fit, stop the clock with the estimates."""
    seed, _, _ = arguments()
    census = bm.datasets.census()
    fit = bm.fit(bm.BinomialGLM(FORMULA), census, method="mle", seed=seed, progress=False)
    estimate = {name: x.to_numpy() for name, x in fit.tree["estimate"].data_vars.items()}
    stop_clock(
        log_likelihood=float(fit.tree["fit_stats"]["log_likelihood"].to_numpy().ravel()[-1]),
        a=float(estimate["Intercept"]),
        b=float(estimate["sex"]),
        sigma_a=float(estimate["sigma_edu"][0]),
        sigma_b=float(estimate["sigma_edu"][1]),
        corr=float(estimate["corr_edu"][0, 1]),
    )


if __name__ == "__main__":
    main()
