"""Effects on the scale of predictions, intervals of point estimates, and tables of fits."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayesmix as bm
from bayesmix import effects, prediction
from bayesmix.diagnostics import tables
from bayesmix.errors import DataError, MissingCapability, SpecError
from bayesmix.rng import stream
from bayesmix.tree import uncertainty


def rows(count: int = 400) -> pd.DataFrame:
    """Outcomes by a number, two kinds and twelve groups."""
    rng = stream(5, "rows")
    x, g = rng.normal(size=count), rng.integers(0, 12, count)
    kind = np.where(rng.random(count) < 0.5, "a", "b")
    logit = -0.3 + 0.8 * x + 0.7 * (kind == "b") + rng.normal(0, 0.8, 12)[g]
    y = (rng.random(count) < 1 / (1 + np.exp(-logit))).astype(int)
    return pd.DataFrame({"x": x, "kind": kind, "g": g, "y": y})


def point(formula: str, data: pd.DataFrame) -> bm.Fit:
    """A maximum-likelihood fit."""
    return bm.fit(bm.BinomialGLM(formula), data, method="mle", seed=1, progress=False)


@pytest.fixture(scope="module")
def plain() -> bm.Fit:
    """A logistic regression without groups."""
    return point("y ~ x + kind", rows())


@pytest.fixture(scope="module")
def grouped() -> bm.Fit:
    """A logistic regression with groups."""
    return point("y ~ x + kind + (1 | g)", rows())


def test_a_slope_is_the_closed_form_of_logistic_regression(plain: bm.Fit) -> None:
    """The average of beta p (1 - p) over rows."""
    p = plain.predict()["probability"].to_numpy()
    expected = float(plain.tree["estimate"]["x"]) * (p * (1 - p)).mean()
    assert plain.slopes("x")["estimate"].item() == pytest.approx(expected, rel=1e-6)


def test_a_comparison_is_the_average_difference(plain: bm.Fit) -> None:
    """Every row once as one kind and once as the other; by kind of row where it is asked for."""
    data = plain.data
    p = [plain.predict(data.assign(kind=k))["probability"].to_numpy() for k in "ab"]
    found = plain.comparisons("kind", by="kind")
    for kind, row in found.set_index("kind").iterrows():
        here = (data["kind"] == kind).to_numpy()
        assert row["estimate"] == pytest.approx((p[1] - p[0])[here].mean(), rel=1e-6)
    ratio = plain.comparisons("kind", measure="ratio")["estimate"].item()
    assert ratio == pytest.approx(p[1].mean() / p[0].mean(), rel=1e-6)


def delta_sd(fit: bm.Fit) -> float:
    """Standard error of an average slope by the delta method, with numerical derivatives."""
    names = ["Intercept", "x", "kind"]
    estimate = np.concatenate([np.ravel(fit.tree["estimate"][n].to_numpy()) for n in names])
    roots = [fit.tree["covariance"][n].to_numpy() for n in names]
    root = np.concatenate([r.reshape(-1, r.shape[-1]) for r in roots])
    data = fit.data
    design = np.column_stack([np.ones(len(data)), data["x"], data["kind"] == "b"])

    def slope(beta: np.ndarray) -> float:
        p = 1 / (1 + np.exp(-(design @ beta)))
        return float(beta[1] * (p * (1 - p)).mean())

    eye = 1e-5 * np.eye(3)
    gradient = [(slope(estimate + e) - slope(estimate - e)) / 2e-5 for e in eye]
    return float(np.linalg.norm(np.array(gradient) @ root))


def test_intervals_of_a_point_are_those_of_its_standard_errors(plain: bm.Fit) -> None:
    """The simulated sd is the delta method's within the error of 400 draws."""
    found = plain.slopes("x")
    expected = delta_sd(plain)
    assert found["sd"].item() == pytest.approx(expected, rel=4 / np.sqrt(2 * 200))
    assert found["low"].item() < found["estimate"].item() < found["high"].item()


def test_curves_of_a_point_have_intervals(plain: bm.Fit, grouped: bm.Fit) -> None:
    """5 % lies below 50 % below 95 % in every row, as wide as the error of the logit says."""
    for fit in (plain, grouped):
        ends = fit.predict()["logit_quantile"].to_numpy()
        assert (ends[0] < ends[1]).all() and (ends[1] < ends[2]).all()
    data = plain.data
    design = np.column_stack([np.ones(len(data)), data["x"], data["kind"] == "b"])
    roots = [plain.tree["covariance"][n].to_numpy() for n in ("Intercept", "x", "kind")]
    root = np.concatenate([r.reshape(-1, r.shape[-1]) for r in roots])
    sd = np.linalg.norm(design @ root, axis=1)
    ends = plain.predict()["logit_quantile"].to_numpy()
    np.testing.assert_allclose((ends[2] - ends[0]) / (2 * 1.645 * sd), 1.0, atol=0.25)


def test_a_group_is_known_better_than_the_population(grouped: bm.Fit) -> None:
    """Effects of groups answer the intercept's moves: their sum is known better than it alone."""
    _, params = grouped.plausible()
    together = params["Intercept"][:, None] + params["1|g"]
    assert (together.std(axis=0) < 1.3 * 0.6).all()
    apart = np.hypot(params["Intercept"].std(), params["1|g"].std(axis=0))
    assert (together.std(axis=0) < apart).all()


def test_networks_have_no_interval_that_says_certain() -> None:
    """A network's point has no standard errors: the interval of its curves is not a number."""
    data = rows(60).assign(y=lambda d: d["x"] ** 2 + 0.1 * stream(1, "y").normal(size=60))
    fit = bm.fit(
        bm.MDN("x", "y", 1, hidden=(2,)), data, method=bm.MLE(restarts=1), seed=1, progress=False
    )
    assert np.isnan(fit.predict()["loc_quantile"]).all()
    assert np.isfinite(fit.predict()["loc"]).all()


def test_the_prior_is_a_method() -> None:
    """Draws from the prior answer the same verbs, and diagnose says what they are."""
    fit = bm.fit(bm.BinomialGLM("y ~ x"), rows(), method="prior", seed=1, progress=False)
    slope = fit.tree["posterior"]["x"].to_numpy().ravel()
    expected = 2.5 / rows()["x"].std(ddof=0)
    assert slope.std() == pytest.approx(expected, rel=4 / np.sqrt(2 * 1000))
    assert "no outcome was looked at" in fit.diagnose().verdict
    wide = fit.predict()["probability_quantile"].to_numpy()
    assert (wide[2] - wide[0]).mean() > 0.8


def test_information_counts_the_population(grouped: bm.Fit) -> None:
    """AIC and BIC of the marginal likelihood, four parameters with the groups' spread."""
    found = grouped.information()
    value = float(grouped.tree["fit_stats"]["log_likelihood"].to_numpy()[-1])
    assert found["df"] == 4 and found["log_likelihood"] == pytest.approx(value)
    assert found["AIC"] == pytest.approx(8 - 2 * value)
    assert found["BIC"] == pytest.approx(4 * np.log(400) - 2 * value)


def test_summary_shows_what_is_asked_for(grouped: bm.Fit) -> None:
    """Population, groups, and many groups as one line."""
    assert not any("|" in label for label in grouped.summary(only="population").index)
    assert len(grouped.summary(only="groups")) == 12
    many = rows().assign(g=np.arange(400) % 60)
    table = point("y ~ x + (1 | g)", many).summary()
    assert "1|g: 60 groups, only='all'" in table.index and len(table) == 4
    assert list(grouped.summary(prob=0.5).columns) == list(grouped.summary().columns)


def test_odds_ratios(plain: bm.Fit) -> None:
    """exp(beta) with exp of the normal interval."""
    found = plain.odds_ratios(prob=0.95)
    beta = float(plain.tree["estimate"]["x"])
    error = float(plain.tree["standard_error"]["x"])
    assert found.loc["x", "odds_ratio"] == pytest.approx(np.exp(beta))
    assert np.log(found.loc["x", "high"]) == pytest.approx(beta + 1.96 * error, abs=0.3 * error)


def test_latex_of_a_summary(plain: bm.Fit) -> None:
    """A booktabs table with a row for each parameter, special characters escaped."""
    text = tables.latex(plain.summary(), caption="50 % more")
    assert text.count(r"\\") == 1 + len(plain.summary())
    assert r"standard\_error" in text and r"50 \% more" in text


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda f: f.comparisons("kin"), DataError, "does not read 'kin'.*kind"),
        (lambda f: f.comparisons("x", values=(1, 2, 3)), SpecError, "two, low then high"),
        (lambda f: f.comparisons("x", by="z"), DataError, "not columns of these rows"),
        (lambda f: f.comparisons("x", measure="log"), SpecError, "not known"),
        (lambda f: f.comparisons("x", of="curve"), SpecError, "not known"),
        (lambda f: f.slopes("kind"), DataError, "use comparisons"),
        (lambda f: f.slopes("x", prob=2.0), SpecError, "prob"),
        (lambda f: f.summary(only="fixed"), SpecError, "only='fixed'"),
        (lambda f: f.summary(prob=0), SpecError, "prob"),
        (lambda f: tables.latex("no"), SpecError, "data frame"),
    ],
)
def test_wrong_questions_are_answered_in_words(plain: bm.Fit, call, error, words) -> None:
    """Each refusal says what was given and what there is."""
    with pytest.raises(error, match=words):
        call(plain)


def test_odds_ratios_of_lines_are_refused() -> None:
    """Only logistic models have them."""
    data = bm.datasets.one_to_many()
    fit = bm.fit(bm.MixtureOfExperts("target ~ x", 1), data, method="em", seed=1, progress=False)
    with pytest.raises(MissingCapability, match="logistic"):
        effects.odds_ratios(fit)
    assert np.isfinite(fit.slopes("x")["sd"]).all()


def counted_curves(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The samples of each call of the binomial family's curves, from now on."""
    calls, own = [], bm.BinomialGLM.curves

    def curves(self, params, data):
        calls.append(len(next(iter(params.values()))))
        return own(self, params, data)

    monkeypatch.setattr(bm.BinomialGLM, "curves", curves)
    return calls


def test_curves_of_draws_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Means and quantiles of draws' curves come from one evaluation."""
    fit = bm.fit(bm.BinomialGLM("y ~ x"), rows(), method="prior", seed=1, progress=False)
    calls = counted_curves(monkeypatch)
    fit.predict(rows().head(20))
    assert len(calls) == 3  # the moments, the outcomes and the curves themselves, each once


def test_a_point_is_simulated_once_for_all_chunks(grouped, monkeypatch) -> None:
    """Rows in many chunks share the parameters that standard errors leave plausible."""
    runs, own = [], uncertainty.plausible
    monkeypatch.setattr(
        uncertainty, "plausible", lambda *args, **kw: runs.append(1) or own(*args, **kw)
    )
    monkeypatch.setattr(prediction, "_CHUNK", 1000 * prediction.BLOCK)
    many = pd.concat([grouped.data] * 3, ignore_index=True)
    ends = grouped.predict(many)["logit_quantile"].to_numpy()
    assert len(runs) == 1
    np.testing.assert_array_equal(ends[:, :400], ends[:, 400:800])


def test_new_groups_keep_the_uncertainty_of_the_rest(grouped) -> None:
    """The interval of a group never seen holds its spread and the population's errors."""
    seen = grouped.predict(pd.DataFrame({"x": [0.0], "kind": ["a"], "g": [3]}))
    new = grouped.predict(pd.DataFrame({"x": [0.0], "kind": ["a"], "g": [99]}))
    width = [float(np.diff(d["logit_quantile"].to_numpy()[[0, 2], 0])[0]) for d in (seen, new)]
    spread = float(grouped.tree["estimate"]["sigma_g"][0])
    assert width[1] > width[0] and width[1] > 2 * 1.645 * spread * 0.85


@pytest.mark.parametrize("prob", [0.0, 1.0, 2.0, "half"])
def test_odds_ratios_check_their_mass(plain, prob) -> None:
    """A mass outside (0, 1) is refused in words."""
    with pytest.raises(SpecError, match="prob"):
        plain.odds_ratios(prob=prob)
