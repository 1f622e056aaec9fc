"""Five hundred wrong calls over every public function: errors of bayesmix in words, and in time."""

from __future__ import annotations

import functools
import inspect
import signal
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mistakes import FORMULA, TABLE, drawn, point
from small_fits import CHEAP, branches

import bayesmix as bm
from bayesmix import datasets, plots, priors, scoring
from bayesmix.errors import BayesmixError

WRONG_CALLS = 500
SECONDS = 30
"""No wrong call takes longer: it is refused before the work begins."""

MIXTURE = bm.MixtureOfExperts("y ~ x", 2)
GLM = bm.BinomialGLM(FORMULA)

WRONG: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2.5, 10**9, 2**70, -(10**400), 1e300, 1e-300, 0.0,
    float("nan"), float("inf"), -float("inf"), 1j, "", " ", "x", "high", "nust", "loo", "\ud800",
    "a" * 5000, "../../etc/passwd", b"bytes", [], (), {}, set(), [None], ["x", "x"], [1, "a"],
    [float("nan")], [[1, 2], [3]], (1, 2, 3), {"x": 1}, {"a": None}, {1: 2}, object(), int,
    len, bm.Normal, bm.MLE, bm.Normal(), bm.MLE(), GLM, MIXTURE, np.array([]), np.zeros((2, 2)),
    np.array([np.nan, np.inf]), np.array(["a"]), np.float64(0.5), np.int64(3), pd.DataFrame(),
    pd.DataFrame({"x": [1.0]}), TABLE, TABLE["age"], TABLE.assign(age=np.nan), branches(),
    pd.DataFrame(np.ones((3, 3))), range(3), Path("nowhere/fit.nc"), lambda: 1, pd.Timestamp(0),
    pd.NA, pd.NaT, slice(3), Ellipsis, NotImplemented, type, 1e20, -0.0, "y ~ x", "~", "1", "0",
)  # fmt: skip
"""What somebody hands over who mistook an argument for another, and what programs produce."""


@functools.cache
def mixture() -> bm.Fit:
    """A mixture of experts that is asked for something."""
    return bm.fit(MIXTURE, branches(), method=CHEAP["em"], seed=1, progress=False)


@functools.cache
def network() -> bm.Fit:
    """A network that is asked for something."""
    method = bm.MLE(restarts=1, optimizer=bm.LBFGS(max_iter=3))
    return bm.fit(
        bm.MDN("x", "y", 2, hidden=(2,)), branches(), method=method, seed=1, progress=False
    )


def cheap_fit(
    model: Any = GLM, data: Any = TABLE, method: Any = CHEAP["mle"], **options: Any
) -> Any:
    """``bm.fit`` with a method that costs little unless told otherwise."""
    return bm.fit(model, data, method=method, **{"seed": 1, "progress": False, **options})


Y, X = [0.0, 1.0, 1.0], [[0.1, 0.5, 0.9], [0.3, 0.6, 0.2]]
P = [0.2, 0.5, 0.9]
SPECS: Mapping[Callable[..., Any], Mapping[str, Any]] = {
    bm.BinomialGLM: {"formula": FORMULA},
    bm.MixtureOfExperts: {"formula": "y ~ x"},
    bm.PiecewiseRegression: {"formula": "y ~ x"},
    bm.MDN: {"inputs": "x", "target": "y", "n_components": 2},
    **{kind: {} for kind in (bm.ADVI, bm.DADVI, bm.EM, bm.Laplace, bm.MAP, bm.MLE, bm.NUTS)},
    bm.Ensemble: {"method": bm.MLE()},
    bm.LBFGS: {},
    bm.Adam: {},
    **{
        kind: {}
        for kind in (bm.Normal, bm.HalfCauchy, bm.HalfNormal, bm.Exponential, bm.StudentT, bm.LKJ)
    },
}
OTHERS: Mapping[Callable[..., Any], Mapping[str, Any]] = {
    cheap_fit: {"model": GLM, "data": TABLE, "method": CHEAP["mle"], "seed": 1, "cache": None},
    bm.load: {"path": "fit.nc"},
    bm.methods_for: {"model": GLM},
    scoring.log_score: {"log_density": X},
    scoring.crps: {"outcomes": Y, "draws": X},
    scoring.pit: {"outcomes": Y, "draws": X, "seed": 1},
    scoring.brier: {"outcomes": Y, "probability": P},
    scoring.auroc: {"outcomes": Y, "probability": P},
    scoring.average_precision: {"outcomes": Y, "probability": P},
    scoring.inside: {"outcomes": Y, "draws": X, "level": 0.5},
    scoring.coverage: {"outcomes": Y, "draws": X, "levels": (0.5,)},
    datasets.load: {"name": "census"},
    datasets.about: {"name": "census"},
    datasets.census_from_rows: {"data": TABLE},
    priors.from_text: {"text": "Normal(0, 1)"},
}


def of_fits() -> Iterator[tuple[Callable[..., Any], Mapping[str, Any]]]:
    """Calls that need fits: verbs, scores, comparisons and figures."""
    both = {"a": point(), "b": point()}
    yield bm.compare, {"fits": both, "criterion": "kfold", "folds": 2, "progress": False}
    yield bm.compare, {"fits": {"a": drawn()}, "criterion": "loo", "loo": "psis", "progress": False}
    yield scoring.score, {"fit": point(), "data": TABLE, "draws": 50, "levels": (0.5,), "seed": 1}
    yield scoring.pointwise_scores, {"fit": point(), "data": TABLE, "draws": 50, "seed": 1}
    for fit in (drawn(), point(), mixture(), network()):
        data = TABLE if fit in (drawn(), point()) else branches()
        yield fit.predict, {"new_data": data, "quantiles": (0.5,)}
        yield fit.sample, {"new_data": data, "draws": 5, "seed": 1}
        yield fit.log_density, {"new_data": data}
        yield fit.curves, {"new_data": data}
        yield fit.responsibilities, {"new_data": data}
        yield fit.conditional_density, {"new_data": data, "at": [0.0, 1.0]}
        yield fit.conditional_quantiles, {"new_data": data, "quantiles": (0.5,)}
        yield fit.summary, {"quantiles": (0.5,)}
        yield fit.save, {"path": "fit.nc"}
    for name in plots.__all__:
        yield from _figures(getattr(plots, name))


def _figures(figure: Callable[..., Any]) -> Iterator[tuple[Callable[..., Any], Mapping[str, Any]]]:
    """A figure of a fit of draws and of a mixture, with each of its options."""
    parameters = list(inspect.signature(figure).parameters.values())
    options = {p.name: p.default for p in parameters[1:] if p.default is not p.empty}
    needed = {p.name: "age" for p in parameters[1:] if p.default is p.empty}
    for fit in (drawn(), mixture()):
        yield figure, {parameters[0].name: fit, **needed, **options}


def wrong_calls(
    rng: np.random.Generator,
) -> Iterator[tuple[Callable[..., Any], dict[str, Any]]]:
    """Every function in turn, one or two of its arguments replaced, without an end."""
    calls = [*SPECS.items(), *OTHERS.items(), *of_fits()]
    while True:
        for call, given in calls:
            names = [
                n for n, p in inspect.signature(call).parameters.items() if p.kind != p.VAR_KEYWORD
            ]
            names = [*names, *given]
            arguments = dict(given)
            for _ in range(int(rng.integers(1, 3))):
                value = WRONG[int(rng.integers(len(WRONG)))]
                arguments[names[int(rng.integers(len(names)))]] = value
            if rng.random() < 0.05:
                arguments["no_such_option"] = 1
            yield call, arguments


def told(call: Callable[..., Any], arguments: Mapping[str, Any]) -> str:
    """The call as a reader of a failure would repeat it."""
    words = ", ".join(f"{k}={repr(v)[:60]!s}" for k, v in arguments.items())
    return f"{getattr(call, '__qualname__', call)}({words})"


def _too_long(signum: int, frame: FrameType | None) -> None:
    raise TimeoutError(f"more than {SECONDS} s")


def refused(call: Callable[..., Any], arguments: Mapping[str, Any]) -> bool:
    """Whether the call was refused, in words of bayesmix that fit a screen."""
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(SECONDS)
    try:
        call(**arguments)
    except BayesmixError as error:
        message = str(error)
        assert 10 < len(message) < 2500
        assert "Traceback" not in message
        return True
    finally:
        signal.alarm(0)
    return False


@pytest.mark.slow
def test_wrong_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of 500 wrong calls is refused by an error of bayesmix, in less than half a minute."""
    monkeypatch.chdir(tmp_path)
    seen, broken = 0, []
    for call, arguments in wrong_calls(np.random.default_rng(20)):
        start = time.perf_counter()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                seen += refused(call, arguments)
        except Exception as error:
            words = f"{type(error).__name__}: {str(error)[:200]}"
            spent = time.perf_counter() - start
            broken.append(f"{told(call, arguments)}\n    {words} ({spent:.1f} s)")
            seen += 1
        if seen == WRONG_CALLS:
            break
    assert not broken, f"{len(broken)} of {seen} calls:\n" + "\n".join(broken)
