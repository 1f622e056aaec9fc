"""Which fits are nested, and what the likelihood-ratio test between them says."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2

import bayesmix as bm
from bayesmix import rng as random


def table() -> pd.DataFrame:
    """Counts in eight groups that differ, with a slope that does not."""
    generator = random.stream(1, "nested")
    group = np.arange(160) % 8
    data = pd.DataFrame({"x": generator.normal(size=160), "w": generator.normal(size=160)})
    logit = generator.normal(0, 0.8, 8)[group] + 0.4 * data["x"]
    data["n"] = 4
    data["k"] = generator.binomial(4, 1 / (1 + np.exp(-logit)))
    return data.assign(g=[f"g{i}" for i in group], h=[f"h{i}" for i in group // 2])


FORMULAS = {
    "plain": "p(k, n) ~ x",
    "shifted": "p(k, n) ~ I(x - 3)",
    "more": "p(k, n) ~ x + w",
    "groups": "p(k, n) ~ x + (1 | g)",
    "slopes": "p(k, n) ~ x + (x | g)",
    "others": "p(k, n) ~ x + (1 | h)",
}


@pytest.fixture(scope="module")
def fits() -> dict[str, bm.Fit]:
    """One fit a formula."""
    data = table()
    return {
        name: bm.fit(bm.BinomialGLM(formula), data, method="mle", seed=1, progress=False)
        for name, formula in FORMULAS.items()
    }


def test_nested_fits_are_found(fits):
    """Sums of columns and of effects are nested; other groups and equal models are not."""
    pairs = {(test.smaller, test.larger) for test in bm.compare(fits, criterion="bic").tests}
    from_plain = {("plain", name) for name in ("more", "groups", "slopes", "others")}
    from_shifted = {("shifted", name) for _, name in from_plain}
    assert pairs == from_plain | from_shifted | {("groups", "slopes")}


def test_the_statistic_is_twice_the_gain(fits):
    """Degrees of freedom are the parameters added, and the p-value is the chi-square's."""
    found = bm.compare({name: fits[name] for name in ("plain", "more")}, criterion="bic")
    (test,) = found.tests
    gain = float(np.diff(found.table.loc[["plain", "more"], "log_likelihood"])[0])
    assert test.statistic == pytest.approx(2 * gain)
    assert test.df == 1 and test.new_spreads == 0
    assert test.p_value == pytest.approx(chi2.sf(2 * gain, 1))
    assert str(test).endswith(f"p = {test.p_value:.2g}.")
    assert str(test) in found.notes


def test_the_edge_is_told(fits):
    """One spread more: half the p-value; a spread and a correlation more: too large."""
    tests = {t.larger: t for t in bm.compare(fits, criterion="bic").tests if t.smaller == "plain"}
    assert str(tests["groups"]).endswith(
        f"half of it, {tests['groups'].p_value / 2:.2g}, is right."
    )
    assert tests["slopes"].new_spreads == 2 and tests["slopes"].df == 3
    assert str(tests["slopes"]).endswith("so that this p is too large.")


def test_groups_that_differ_win(fits):
    """Power: the spread between groups is found by BIC, and its test rejects."""
    found = bm.compare({name: fits[name] for name in ("plain", "groups")}, criterion="bic")
    assert found.best == "groups"
    assert found.tests[0].p_value < 1e-4


@pytest.mark.slow
def test_a_chi_square_of_plain_models_is_right():
    """100 tables without the effect: p-values are uniform, by Kolmogorov and Smirnov."""
    from scipy.stats import kstest

    generator, values = random.stream(2, "chi square"), []
    for _ in range(100):
        data = pd.DataFrame(generator.normal(size=(150, 2)), columns=["x", "w"])
        data["y"] = (generator.random(150) < 0.4) * 1
        pair = {
            name: bm.fit(bm.BinomialGLM(f"y ~ {name}"), data, method="mle", seed=1, progress=False)
            for name in ("x", "x + w")
        }
        values.append(bm.compare(pair, criterion="bic", progress=False).tests[0].p_value)
    assert kstest(values, "uniform").pvalue > 1e-3


def test_an_approximate_likelihood_is_told():
    """Pairs of 0/1 outcomes: Laplace is nats off, and BIC says so."""
    generator = random.stream(3, "pairs")
    group = np.arange(400) // 2
    logit = generator.normal(0, 2.5, 200)[group]
    data = pd.DataFrame({"y": (generator.random(400) < 1 / (1 + np.exp(-logit))) * 1})
    data["g"] = [f"g{i:03}" for i in group]
    fit = bm.fit(bm.BinomialGLM("y ~ (1 | g)"), data, method="mle", seed=1, progress=False)
    plain = bm.fit(bm.BinomialGLM("y ~ 1"), data, method="mle", seed=1, progress=False)
    notes = bm.compare({"pairs": fit, "plain": plain}, criterion="bic").notes
    assert any("'pairs': its log-likelihood is an approximation" in note for note in notes)
    assert not any("'plain': its log-likelihood" in note for note in notes)
