"""What every (family, method) pair promises, whichever they are; and what compiled code does."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from small_fits import (
    CHEAP,
    EXAMPLES,
    FORMULA,
    cheap,
    example,
    fitted,
    pairs,
    people,
    same_answers,
    same_tree,
)

import bayesmix as bm
from bayesmix import optimizers, priors, protocols, specs, workflow
from bayesmix.compiled import density as targets
from bayesmix.compiled import native
from bayesmix.design import table
from bayesmix.protocols import HasNetwork
from bayesmix.tree import read

PAIRS = pytest.mark.parametrize(("family", "method"), pairs())
OBJECTIVES = {"log_likelihood", "log_joint", "log_joint_unconstrained", "elbo", "nll", "sse"}
OBJECTIVES |= {f"final_{name}" for name in OBJECTIVES}  # one for each member of an ensemble
GROUPS = {
    *("posterior", "sample_stats", "estimate", "standard_error", "covariance", "fit_stats"),
    *("observed_data", "constant_data", "log_likelihood", "functions"),
}


def test_every_family_has_an_example() -> None:
    """A new family is covered by adding one entry to EXAMPLES."""
    for family in workflow.models():
        example(family)
    assert set(EXAMPLES) == set(workflow.models())


def test_every_method_has_a_cheap_setting() -> None:
    """A new method is covered by adding one entry to CHEAP, and serves some family."""
    for name in workflow.methods():
        assert cheap(name).name == name
    assert set(CHEAP) == set(workflow.methods())
    assert {method for _, method in pairs()} == set(workflow.methods())


@PAIRS
def test_groups(family: str, method: str) -> None:
    """Draws fill posterior and sample_stats, points fill estimate and fit_stats; data always."""
    found = fitted(family, method)
    groups = set(found.tree.children)
    assert groups <= GROUPS
    main = {"posterior", "sample_stats"} if "posterior" in groups else {"estimate", "fit_stats"}
    assert groups >= {*main, "observed_data", "constant_data"}
    assert ("posterior" in groups) != ("estimate" in groups)
    if "fit_stats" in groups:
        assert OBJECTIVES & set(found.tree["fit_stats"].data_vars)


@PAIRS
def test_parameters_are_named_and_labelled(family: str, method: str) -> None:
    """Reported parameters carry the model's dims and labels, with sample dims for draws alone."""
    found = fitted(family, method)
    values, dims = read.estimates(found.tree), found.model.dims(found.design)
    lead = protocols.SAMPLE_DIMS if read.is_sampled(found.tree) else ()
    lead = ("member",) if method == "ensemble" else lead
    assert list(values.data_vars) == list(dims)
    for name, variable in values.data_vars.items():
        assert variable.dims == (*lead, *dims[str(name)])
        assert np.isfinite(variable).all(), name
        for dim in dims[str(name)]:
            assert tuple(variable[dim].to_numpy().tolist()) == found.design.coords[dim]
    for node in ("sample_stats",) if read.is_sampled(found.tree) else ():
        assert all(v.dims == lead for v in found.tree[node].data_vars.values())


@PAIRS
def test_data_are_kept(family: str, method: str) -> None:
    """The columns that were read are kept by row, the target apart from the others."""
    found, (_, data) = fitted(family, method), example(family)
    observed, constant = found.tree["observed_data"], found.tree["constant_data"]
    assert list(observed.data_vars) == [found.design.target]
    assert set(found.data.columns) == {*observed.data_vars, *constant.data_vars}
    assert all(v.dims == ("obs",) for g in (observed, constant) for v in g.data_vars.values())
    pd.testing.assert_frame_equal(found.data, data[list(found.data.columns)])


@PAIRS
def test_root_attributes(family: str, method: str) -> None:
    """The root says what was fitted, to what, how, with which seed and versions, and how long."""
    found = fitted(family, method)
    attrs = found.tree.attrs
    assert attrs["bayesmix_format"] == "1"
    types = {**workflow.models(), **workflow.methods_by_class(), **vars(priors), **vars(optimizers)}
    assert specs.from_json(attrs["model"], types) == found.model
    assert specs.from_json(attrs["method"], types) == found.method
    assert attrs["seed"] == found.seed == 1
    assert json.loads(attrs["versions"])["bayesmix"] == bm.__version__
    assert attrs["data_hash"] == table.hash_frame(found.data)
    assert attrs["wall_seconds"] > 0
    assert attrs["engine"] in ("mcmc", "independent", "point", "prior")


@PAIRS
def test_same_seed_same_tree(
    family: str, method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fitting again with the same seed gives the same bits, and a third time loads them."""
    model, data = example(family)
    options = {"method": cheap(method), "seed": 1, "progress": False, "cache": tmp_path}
    again = bm.fit(model, data, **options)
    same_tree(fitted(family, method).tree, again.tree)
    monkeypatch.setattr(type(cheap(method)), "run", None)
    loaded = bm.fit(model, data, **options)
    same_tree(loaded.tree, again.tree)
    assert loaded.tree.attrs["wall_seconds"] == again.tree.attrs["wall_seconds"]


@PAIRS
def test_other_seed_other_draws(family: str, method: str) -> None:
    """Another seed draws other numbers; a point estimate from one start does not move.

    A network's does: its starts are random.
    """
    one, two = fitted(family, method), fitted(family, method, seed=2)
    values = [read.draws(found.tree) for found in (one, two)]
    for name in values[0]:
        a, b = values[0][name], values[1][name]
        if not read.is_sampled(one.tree) and not isinstance(one.model, HasNetwork):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)
        elif not name.startswith("corr_"):
            assert (a != b).mean() > 0.9, name


@PAIRS
def test_file_round_trip(family: str, method: str, tmp_path: Path) -> None:
    """A fit that was saved and loaded is the same fit: tree, specs, and every answer it gives."""
    found, (_, data) = fitted(family, method), example(family)
    loaded = bm.load(found.save(tmp_path / "fit.nc"))
    assert (loaded.model, loaded.method) == (found.model, found.method)
    same_tree(loaded.tree, found.tree)
    assert loaded.tree.attrs["wall_seconds"] == found.tree.attrs["wall_seconds"]
    same_answers(loaded, found, data.iloc[::-1])
    pd.testing.assert_frame_equal(loaded.summary(), found.summary())


@PAIRS
def test_predicting_changes_nothing(family: str, method: str) -> None:
    """Asking a fit does not change its tree, nor the data frame that it is asked about."""
    found, (_, data) = fitted(family, method), example(family)
    tree, rows = found.tree.copy(deep=True), data.copy(deep=True)
    found.predict(rows), found.sample(rows, draws=3), found.log_density(rows), found.curves(rows)
    xr.testing.assert_identical(found.tree, tree)
    pd.testing.assert_frame_equal(rows, data)


@pytest.mark.parametrize("family", workflow.models())
def test_fitting_changes_no_data(family: str) -> None:
    """The data frame that a fit is made from stays as it was, and is not held on to."""
    model, data = example(family)
    given_rows = data.copy(deep=True)
    method = next(name for name in ("mle", "em") if name in workflow.methods_for(model))
    found = bm.fit(model, given_rows, method=cheap(method), seed=1, progress=False)
    pd.testing.assert_frame_equal(given_rows, data)
    given_rows.iloc[:, 0] = given_rows.iloc[::-1, 0].to_numpy()
    pd.testing.assert_frame_equal(found.data, data[list(found.data.columns)])


@pytest.mark.parametrize("family", workflow.models())
def test_models_are_values(family: str) -> None:
    """A spec is frozen, equal to its JSON round trip, and has that spec's hash."""
    model, _ = example(family)
    types = {**workflow.models(), **vars(priors)}
    back = specs.from_json(specs.to_json(model), types)
    assert back == model
    assert hash(back) == hash(model)
    name = dataclasses.fields(model)[0].name  # type: ignore[arg-type]
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(model, name, getattr(model, name))


PRIORS = st.one_of(
    st.builds(bm.Normal, st.floats(-50, 50), st.floats(0.1, 50)),
    st.builds(bm.StudentT, st.floats(1, 50), st.floats(-5, 5), st.floats(0.1, 50)),
)
SPREADS = st.one_of(
    st.builds(kind, st.floats(0.1, 50)) for kind in (bm.HalfCauchy, bm.HalfNormal, bm.Exponential)
)


@given(
    st.fixed_dictionaries(
        {},
        optional={"Intercept": PRIORS, "slope": PRIORS, "sigma": SPREADS, "sigma_edu": SPREADS},
    ),
    st.sampled_from(["mixed", "centered", "noncentered"]),
)
def test_binomial_specs_round_trip(given_priors: dict[str, Any], parametrization: str) -> None:
    """Any priors and parametrization come back from JSON, whatever order they were given in."""
    model = bm.BinomialGLM(FORMULA, given_priors, parametrization)
    types = {"BinomialGLM": bm.BinomialGLM, **vars(priors)}
    back = specs.from_json(specs.to_json(model), types)
    assert back == model
    turned = dict(reversed(given_priors.items()))
    assert hash(back) == hash(bm.BinomialGLM(FORMULA, turned, parametrization))


def numeric_fields(kind: type) -> st.SearchStrategy[dict[str, Any]]:
    """Values for the whole and real numbers among the fields of a method."""
    ranges = {int: st.integers(100, 10**6), float: st.floats(0.01, 0.99)}
    fields = {
        field.name: ranges[type(field.default)]
        for field in dataclasses.fields(kind)
        if type(field.default) in ranges
    }
    return st.fixed_dictionaries({}, optional=fields)


@pytest.mark.parametrize("name", workflow.methods())
@given(data=st.data())
def test_methods_are_values(name: str, data: st.DataObject) -> None:
    """A method of any numbers is frozen, equal to its JSON round trip, and has its hash."""
    kind = workflow.methods()[name]
    method = kind(**data.draw(numeric_fields(kind)))
    back = specs.from_json(specs.to_json(method), workflow.methods_by_class())
    assert back == method
    assert len({back, method}) == 1
    field = dataclasses.fields(kind)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(method, field, getattr(method, field))


@pytest.fixture(scope="module")
def compiled_for_other_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder whose only code was compiled while other data were at hand."""
    folder = tmp_path_factory.mktemp("compiled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BAYESMIX_CACHE", str(folder))
        patch.setattr(native, "_linked", {})
        other = people().assign(
            high=[1, 2, 3, 4, 5, 6, 7, 9],
            total=[11, 12, 13, 14, 15, 16, 17, 18],
            sex=[1, 1, 0, 0, 1, 0, 1, 0],
            edu=list("zzyyxxww"),
        )
        evaluate(other)
    return folder


def evaluate(data: pd.DataFrame) -> list[float]:
    """The target density of the example, its gradient and its parameters at one point."""
    model = bm.BinomialGLM(FORMULA)
    density = targets.target(model, model.design(data))
    point = np.linspace(-0.4, 0.6, density.n_dim)
    value, gradient = density.log_density(point)
    expanded = density.expand(point)
    return [value, *gradient, *np.concatenate([v.ravel() for v in expanded.values()])]


def test_code_compiled_for_other_data_gives_the_same_numbers(
    compiled_for_other_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Data are inputs of compiled code: what was compiled beside other data serves these too."""
    expected = evaluate(people())
    monkeypatch.setenv("BAYESMIX_CACHE", str(compiled_for_other_data))
    monkeypatch.setattr(native, "_linked", {})
    monkeypatch.setattr(native, "_compile", None)
    np.testing.assert_allclose(evaluate(people()), expected, rtol=1e-12)


def test_code_linked_again_gives_the_same_numbers(
    compiled_for_other_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Code read back from disk, and code in memory, are the same to the last bit."""
    monkeypatch.setenv("BAYESMIX_CACHE", str(compiled_for_other_data))
    monkeypatch.setattr(native, "_linked", {})
    monkeypatch.setattr(native, "_compile", None)
    first = evaluate(people())
    assert len(native._linked) == 1
    assert evaluate(people()) == first
    native._linked.clear()
    assert evaluate(people()) == first


SCRIPT = """
import sys
from test_contracts import evaluate, people
sys.modules["pymc"] = sys.modules["pytensor"] = None
print([value.hex() for value in map(float, evaluate(people()))])
"""


def test_code_in_a_new_process_gives_the_same_numbers(
    compiled_for_other_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new process links the code from disk, without PyMC, and gets the same bits."""
    monkeypatch.setenv("BAYESMIX_CACHE", str(compiled_for_other_data))
    monkeypatch.setattr(native, "_linked", {})
    paths = [
        str(Path(__file__).parent),
        str(Path(__file__).parent / "support"),
        str(Path(bm.__file__).parents[1]),
    ]
    source = f"import sys; sys.path[:0] = {paths!r}\n{SCRIPT}"
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str([float(value).hex() for value in evaluate(people())])


def test_code_is_kept_apart_by_the_names_that_it_reports() -> None:
    """Numbers and two categories make arrays of one shape but parameters of other names."""
    model = bm.BinomialGLM("p(high, total) ~ 1 + (age | edu)")
    numbers = model.design(people())
    labels = model.design(people().assign(age=list("oyoyoyoy")))
    assert list(model.dims(numbers)) != list(model.dims(labels))
    assert targets._key(model, numbers, True) != targets._key(model, labels, True)
