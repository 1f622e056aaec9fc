"""fit() and load(): names, defaults, the cache of fits, and the progress bar."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from small_fits import FORMULA, cheap, people, same_tree

import bayesmix as bm
from bayesmix import progress, workflow
from bayesmix.protocols import Method, Model

MODEL = bm.BinomialGLM("p(high, total) ~ sex")


def fit(**options: object) -> bm.Fit:
    """A fit that costs little."""
    given = {"method": cheap("mle"), "seed": 1, "progress": False, **options}
    return bm.fit(given.pop("model", MODEL), given.pop("data", people()), **given)  # type: ignore


def test_discovery() -> None:
    """Families and methods are found by looking, each under its own name."""
    assert "BinomialGLM" in workflow.models()
    assert {"nuts", "mle", "map", "laplace", "advi"} <= set(bm.methods())
    assert all(issubclass(kind, Model) for kind in workflow.models().values())
    assert all(kind.name == name for name, kind in bm.methods().items())
    assert all(issubclass(kind, Method) for kind in workflow.methods_by_class().values())
    assert bm.methods_for(MODEL) == sorted(set(bm.methods()) - {"em"})


@pytest.mark.parametrize("name", ["mle", "MLE", "Mle"])
def test_methods_by_name(name: str) -> None:
    """A name stands for the method with its defaults, in any case."""
    assert fit(method=name).method == bm.MLE()


def test_auto_takes_the_choice_of_the_family(monkeypatch: pytest.MonkeyPatch) -> None:
    """method="auto", which is the default, means what the family says."""
    monkeypatch.setattr(bm.BinomialGLM, "default_method", "mle")
    assert fit(method="auto").method == bm.MLE()
    assert bm.fit(MODEL, people(), seed=1, progress=False).method == bm.MLE()


def test_a_seed_is_drawn_and_kept() -> None:
    """Without a seed one is drawn, another at every fit, and it repeats the fit."""
    one, two = fit(seed=None), fit(seed=None)
    assert one.seed != two.seed
    same_tree(one.tree, fit(seed=one.seed).tree)


def test_seeds_may_be_numpy_integers() -> None:
    """A seed out of an array is a seed, stored as a plain number."""
    assert type(fit(seed=np.int64(5)).seed) is int


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The methods that were run."""
    ran: list[str] = []
    run = bm.MLE.run

    def counted(self: bm.MLE, *arguments: object, **options: object) -> object:
        ran.append(self.name)
        return run(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(bm.MLE, "run", counted)
    return ran


def test_an_equal_fit_is_loaded(tmp_path: Path, runs: list[str]) -> None:
    """The second of two equal fits comes from the cache: the same tree, the same time taken."""
    first = fit(cache=tmp_path / "new" / "cache")
    second = fit(cache=str(tmp_path / "new" / "cache"))
    assert runs == ["mle"]
    same_tree(second.tree, first.tree)
    assert second.tree.attrs["wall_seconds"] == first.tree.attrs["wall_seconds"]
    xr.testing.assert_identical(second.predict(), first.predict())


def test_equal_content_is_a_hit(tmp_path: Path, runs: list[str]) -> None:
    """Another index, other columns and another container are the same data."""
    fit(cache=tmp_path)
    data = people()
    for same in (
        data.set_index(data.index + 5),
        data.drop(columns="age"),
        data[["total", "sex", "high"]].to_dict("list"),
        data.astype({"high": object}),
    ):
        fit(cache=tmp_path, data=same)
    assert runs == ["mle"]


ORDER = people()["edu"].cat.categories


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 2},
        {"model": bm.BinomialGLM("p(high, total) ~ 1")},
        {"model": bm.BinomialGLM("p(high, total) ~ sex", {"sex": bm.Normal(0, 2)})},
        {"method": bm.MLE(restarts=2)},
        {"data": people().assign(sex=[1, 0] * 4)},
        {"data": people().assign(sex=[0.0, 1.0] * 4)},
        {"data": people().iloc[:6]},
        {"data": people().iloc[::-1]},
    ],
    ids=["seed", "formula", "prior", "method", "value", "type", "rows", "order"],
)
def test_a_change_is_a_miss(change: dict[str, object], tmp_path: Path, runs: list[str]) -> None:
    """Another seed, model, method or data is fitted, and kept beside the first."""
    fit(cache=tmp_path)
    fit(cache=tmp_path, **change)
    assert runs == ["mle", "mle"]
    assert len(list(tmp_path.iterdir())) == 2


def test_the_order_of_categories_is_a_miss(tmp_path: Path, runs: list[str]) -> None:
    """Whether categories are ordered decides the first level, so it decides the fit."""
    model = bm.BinomialGLM("p(high, total) ~ edu")
    plain = people().assign(edu=lambda data: data["edu"].cat.as_unordered())
    one = fit(cache=tmp_path, model=model)
    two = fit(cache=tmp_path, model=model, data=plain)
    assert runs == ["mle", "mle"]
    assert one.tree["estimate"]["edu_level"][0] == "HS Grad"
    assert two.tree["estimate"]["edu_level"][0] == "Prof School"


def test_other_versions_are_a_miss(
    tmp_path: Path, runs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fit made with other versions of the engines is not taken for this one."""
    fit(cache=tmp_path)
    monkeypatch.setattr(workflow, "_engine_versions", lambda: {"torch": "0.0"})
    fit(cache=tmp_path)
    assert runs == ["mle", "mle"]


@pytest.mark.parametrize("content", [b"", b"not a fit", None])
def test_a_broken_cache_is_fitted_again(
    content: bytes | None, tmp_path: Path, runs: list[str]
) -> None:
    """A cached file that cannot be read is replaced by the fit that it stood for."""
    first = fit(cache=tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-50] if content is None else content)
    same_tree(fit(cache=tmp_path).tree, first.tree)
    assert runs == ["mle", "mle"]
    same_tree(bm.load(path).tree, first.tree)


def test_a_fit_says_its_versions() -> None:
    """The versions of the package and of every engine are stored with the fit."""
    versions = json.loads(fit().tree.attrs["versions"])
    assert versions["bayesmix"] == bm.__version__
    assert {"pymc", "pytensor", "nutpie", "numba", "torch", "numpy"} < set(versions)


class Terminal(io.StringIO):
    """Somebody is watching."""

    def isatty(self) -> bool:
        return True


def test_progress_is_shown_to_whoever_watches(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A terminal gets a bar with the phases of the method; standard output stays clean."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    fit(progress=True)
    assert "maximise" in terminal.getvalue()
    assert "100%" in terminal.getvalue()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("wanted", [True, False])
def test_no_progress_without_a_terminal(wanted: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """Logs and pipes get no bar, and progress=False none anywhere."""
    fit(progress=wanted)
    assert capsys.readouterr() == ("", "")


class ZMQInteractiveShell:
    """The class that a notebook's kernel has for a shell, by name."""


@pytest.mark.parametrize("shell", [None, ZMQInteractiveShell()], ids=["imported", "kernel"])
def test_a_bar_is_for_the_kernel_of_a_notebook(
    shell: object, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel shows one though its stderr is no terminal; a script that imports one does not."""
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "ipykernel", SimpleNamespace())
    fit(progress=True)
    assert ("100%" in capsys.readouterr().err) == (shell is not None)


def test_progress_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """progress=False is silent in a terminal too."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    fit(progress=False)
    assert terminal.getvalue() == ""


def test_phases_are_finished_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """When a phase begins, the bar of the phase before it is full."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress.reporter(True) as report:
        report("compile", 0.2)
        report("sample", 0.5)
    lines = terminal.getvalue().splitlines()
    assert any("compile" in line and "100%" in line for line in lines)
    assert any("sample" in line and "50%" in line for line in lines)


def test_the_design_of_a_loaded_fit_is_rebuilt(tmp_path: Path) -> None:
    """A loaded fit sees the training data as the fit did, to the last bit."""
    found = fit(model=bm.BinomialGLM("p(high, total) ~ scale(age) + edu"))
    loaded = bm.load(found.save(tmp_path / "fit.nc"))
    assert loaded.design.coords == found.design.coords
    for name, array in found.design.arrays.items():
        np.testing.assert_array_equal(loaded.design.arrays[name], array)
    pd.testing.assert_frame_equal(loaded.data, found.data)


def test_a_formula_gives_the_same_fit_in_any_container() -> None:
    """Data frame, mapping and Dataset of the same rows give the same numbers."""
    data = people().drop(columns=["urban"])
    frame = fit(model=bm.BinomialGLM(FORMULA.replace("(1 | edu)", "age")), data=data)
    dataset = data.assign(edu=data["edu"].astype(str)).to_xarray()
    for other in (data.to_dict("list"), dataset):
        same_tree(fit(model=frame.model, data=other).tree, frame.tree)
