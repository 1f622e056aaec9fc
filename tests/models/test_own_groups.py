"""Binomial models with groups on data of others, beside lme4's numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from own_tables import as_labels, numbered, own

import bayesmix as bm


def fitted(formula: str, table: pd.DataFrame) -> bm.Fit:
    """The marginal likelihood's maximum."""
    return bm.fit(bm.BinomialGLM(formula), table, method="mle", seed=1, progress=False)


def reached(fit: bm.Fit) -> float:
    """The log-likelihood at the end."""
    return float(fit.tree["fit_stats"]["log_likelihood"][-1])


def spreads(fit: bm.Fit) -> list[float]:
    """Every standard deviation of groups, in the order of the formula."""
    found = fit.tree["estimate"].to_dataset()
    return [float(v) for name in found if str(name).startswith("sigma_") for v in found[name]]


def bacteria() -> pd.DataFrame:
    """Presence of bacteria, with whether it is past the second week."""
    table = own("bacteria")
    table["trt"] = pd.Categorical(table["trt"], ["placebo", "drug", "drug+"])
    return table.assign(late=(table["week"] > 2) * 1.0)


def contraception() -> pd.DataFrame:
    """Use of contraception by women in districts."""
    return as_labels(own("contraception"), "livch", "district")


@pytest.mark.parametrize(
    ("formula", "table", "log_likelihood", "sds"),
    [
        (
            "p(incidence, size) ~ period + (1 | herd)",
            lambda: as_labels(own("cbpp"), "period", "herd"),
            -92.0266,
            [0.6421],
        ),
        (
            "p(incidence, size) ~ period + (1 | herd) + (1 | row)",
            lambda: numbered(as_labels(own("cbpp"), "period", "herd"), "row"),
            -87.31916,
            [0.1840, 0.8911],
        ),
        ("y ~ trt + late + (1 | ID)", bacteria, -96.13072, [1.2423]),
        ("y ~ late + (1 | ID) + (0 + late | ID)", bacteria, -98.24801, [1.3632, 0.4224]),
        ("y ~ late + (late || ID)", bacteria, -98.24801, [1.3632, 0.4224]),
        ("low ~ age + (1 | rid)", lambda: numbered(own("birthwt"), "rid"), -115.9558, [0.0996]),
        (
            "use ~ age + I(age**2) + urban + livch + (urban | district)",
            contraception,
            -1180.3054,
            [0.6203, 0.7356],
        ),
        (
            "use ~ poly(age, 2) + urban * livch + (1 | district) + (1 | district:urban)",
            contraception,
            -1179.9796,
            [0.0783, 0.5689],
        ),
        (
            "r2 ~ Anger + Gender + btype + situ + (1 | id) + (1 | item)",
            lambda: as_labels(own("verbagg"), "id"),
            -4075.7002,
            [1.3395, 0.4952],
        ),
        (
            "immun ~ kid2p + ord + ethn + rural + (1 | comm) + (1 | mom)",
            lambda: as_labels(own("guimmun"), "mom", "comm", "ord"),
            -1367.543,
            [0.7921, 1.0971],
        ),
    ],
    ids=[
        *("cbpp", "cbpp by row", "bacteria", "independent", "two bars", "birthwt"),
        "correlated slopes",
        *("nested", "crossed", "1,756 groups"),
    ],
)
def test_log_likelihood_and_spreads_are_those_of_lme4(formula, table, log_likelihood, sds):
    """lme4's glmer, nAGQ = 1 (own-data.md, section 1): values to 1e-3, or higher; sds to 2e-3."""
    fit = fitted(formula, table())
    assert log_likelihood - 1e-4 < reached(fit) < log_likelihood + 1e-3
    assert spreads(fit) == pytest.approx(sds, abs=2e-3)


def test_estimates_and_errors_of_crossed_groups_are_those_of_lme4():
    """VerbAgg by glmer: fixed effects to 1e-3, their standard errors (its Hessian) to 1 %."""
    table = as_labels(own("verbagg"), "id")
    fit = fitted("r2 ~ Anger + Gender + btype + situ + (1 | id) + (1 | item)", table)
    names = ["Intercept", "Anger", "Gender", "btype", "situ"]
    estimate, error = (
        np.concatenate([fit.tree[group][n].to_numpy().ravel() for n in names])
        for group in ("estimate", "standard_error")
    )
    theirs = [0.19925, 0.05741, 0.32061, -1.05866, -2.10507, -1.05527]
    assert estimate == pytest.approx(theirs, abs=1e-3)
    theirs = [0.40590, 0.01680, 0.19158, 0.25707, 0.25905, 0.21053]
    assert error == pytest.approx(theirs, rel=1e-2)


def test_a_correlation_of_one_is_told():
    """Bacteria with correlated effects: lme4's -98.06695 with a correlation of one, a warning."""
    fit = fitted("y ~ late + (late | ID)", bacteria())
    assert reached(fit) == pytest.approx(-98.06695, abs=1e-3)
    assert abs(float(fit.tree["estimate"]["corr_ID"][0, 1])) == pytest.approx(1.0, abs=1e-6)
    found = {one.check: one for one in fit.diagnose().findings}
    assert found["singular"].level == "warn"
    assert found["standard_error"].level == "pass"
    assert "but for 'corr_ID[Intercept, late]'" in found["standard_error"].message
    assert np.isnan(fit.tree["standard_error"]["corr_ID"].to_numpy()[0, 1])


def test_a_spread_of_zero_is_told_and_the_rest_is_the_plain_fit():
    """Groups that differ by nothing: a spread of zero, and the plain model's errors."""
    generator = np.random.default_rng(5)
    table = pd.DataFrame({"x": generator.normal(size=400), "g": np.arange(400) % 20})
    table["y"] = (generator.random(400) < 1 / (1 + np.exp(-table["x"]))) * 1
    plain = fitted("y ~ x", table)
    grouped = fitted("y ~ x + (1 | g)", table)
    assert float(grouped.tree["estimate"]["sigma_g"][0]) == 0
    assert reached(grouped) == pytest.approx(reached(plain), abs=1e-8)
    for group in ("estimate", "standard_error"):
        ours, theirs = float(grouped.tree[group]["x"]), float(plain.tree[group]["x"])
        assert ours == pytest.approx(theirs, rel=1e-4)
    assert np.isnan(grouped.tree["standard_error"]["sigma_g"].to_numpy()).all()
    (finding,) = [one for one in grouped.diagnose().findings if one.check == "singular"]
    assert finding.level == "warn" and finding.where == "sigma_g[Intercept]"


def test_units_of_a_predictor_change_nothing():
    """Age in years or in days: one log-likelihood, one z value, also where slopes vary."""
    table = contraception()
    days = table.assign(age=365.25 * table["age"])
    for formula in ("use ~ age + I(age**2) + (1 | district)", "use ~ age + (age | district)"):
        one, other = fitted(formula, table), fitted(formula, days)
        assert reached(one) == pytest.approx(reached(other), abs=1e-6)
        z = [
            float(f.tree["estimate"]["age"] / f.tree["standard_error"]["age"]) for f in (one, other)
        ]
        assert z[0] == pytest.approx(z[1], rel=1e-3)


@pytest.mark.parametrize("seed", range(6))
def test_laplace_is_not_believed_where_it_is_impossible(seed):
    """One 0/1 row a group: not the -89.19 at a spread of 40.7 that some starts lead to."""
    table = numbered(own("birthwt"), "rid")
    model = bm.BinomialGLM("low ~ age + (1 | rid)")
    fit = bm.fit(model, table, method="mle", seed=seed, progress=False)
    assert reached(fit) == pytest.approx(-115.9558, abs=1e-3)
    ends = fit.tree["fit_stats"]["restart_log_likelihood"].to_numpy()
    assert (ends < -115.9).all()
    diagnosis = fit.diagnose()
    assert diagnosis.ok
    assert any("spread cannot be learnt from 0/1 outcomes" in note for note in diagnosis.notes)


def test_an_approximation_that_moves_estimates_is_told():
    """One or two children a mother: Laplace is 16 nats off, and the mothers' spread far too low."""
    table = as_labels(own("guimmun"), "mom", "comm", "ord")
    fit = fitted("immun ~ kid2p + ord + ethn + rural + (1 | comm) + (1 | mom)", table)
    (finding,) = [one for one in fit.diagnose().findings if one.check == "approximation"]
    assert finding.level == "fail"
    assert finding.where == "sigma_mom[Intercept]"
    assert "Fit by method='nuts'" in finding.message
    stats = fit.tree["fit_stats"]
    assert float(stats["approximation_error"]) == pytest.approx(16.6, abs=0.5)
    assert float(stats["approximation_uncertainty"]) < 0.5


@pytest.mark.parametrize(
    ("formula", "table", "expected"),
    [
        (
            "p(incidence, size) ~ period + (1 | herd)",
            lambda: as_labels(own("cbpp"), "period", "herd"),
            {"Intercept": -1.3992237, "sigma_herd": 0.64751991},
        ),
        (
            "y ~ trt + late + (1 | ID)",
            bacteria,
            {"Intercept": 2.2100958, "late": -1.6268566, "sigma_ID": 1.3043127},
        ),
    ],
    ids=["cbpp", "bacteria"],
)
def test_quadrature_is_that_of_lme4(formula, table, expected):
    """glmer with nAGQ = 25 (lme4 1.1, run for this test): estimates to 1e-4."""
    model, method = bm.BinomialGLM(formula), bm.MLE(n_quadrature=25)
    fit = bm.fit(model, table(), method=method, seed=1, progress=False)
    for name, value in expected.items():
        assert float(fit.tree["estimate"][name].squeeze()) == pytest.approx(value, abs=1e-4)
    found = {one.check: one for one in fit.diagnose().findings}
    assert (
        "The quadrature of the likelihood is right to 0.01 nats" in found["approximation"].message
    )


def test_bic_of_groups_is_of_the_marginal_likelihood():
    """birthwt (own-data.md): 247.6 with a spread for the rows against 242.4 without, as in R."""
    table = numbered(own("birthwt"), "rid")
    fits = {"rows": fitted("low ~ age + (1 | rid)", table), "plain": fitted("low ~ age", table)}
    found = bm.compare(fits, criterion="bic")
    assert found.best == "plain"
    assert found.table.loc["rows", "bic"] == pytest.approx(247.6369, abs=1e-3)
    assert found.table.loc["plain", "bic"] == pytest.approx(242.3955, abs=1e-3)
    (test,) = found.tests
    assert (test.smaller, test.larger, test.df, test.new_spreads) == ("plain", "rows", 1, 1)
    assert test.statistic < 0.01


def test_ratio_tests_are_those_of_anova():
    """Contraception by district, urban slopes added: R's anova of two glmer fits to 1e-2."""
    table = contraception()
    formula = "use ~ age + I(age**2) + urban + livch + ({} | district)"
    fits = {name: fitted(formula.format(name), table) for name in ("1", "urban")}
    (test,) = bm.compare(fits, criterion="bic").tests
    assert (test.smaller, test.larger, test.df) == ("1", "urban", 2)
    assert test.statistic == pytest.approx(12.117966, abs=1e-2)
    assert test.p_value == pytest.approx(0.00233678, rel=1e-2)
