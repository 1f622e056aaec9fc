"""The chapters run, give the numbers that they must, and are what a reader can follow."""

from __future__ import annotations

import ast
import json
import os
import re
import resource
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

import bayesmix as bm
from bayesmix.book import notebook as notebooks
from bayesmix.book import numbers, output, places
from bayesmix.cli.app import app

CHAPTERS = bm.book.chapters()
IDS = [one.name for one in CHAPTERS]
LIBRARIES = {"bayesmix", "numpy", "pandas", "pymc", "torch", "matplotlib"}
CPU_SECONDS = 60

each_chapter = pytest.mark.parametrize("chapter", CHAPTERS, ids=IDS)


def tree_of(chapter: places.Chapter) -> ast.Module:
    """A chapter's code."""
    return ast.parse(chapter.source.read_text(encoding="utf-8"))


def call(*arguments: object) -> tuple[int, str, str]:
    """Run the command line in this process: status, stdout, stderr."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, " ".join(result.stderr.split())


def small(folder: Path, code: str, *, seconds: str = "") -> Path:
    """A book of one small chapter, made and synced."""
    place = folder / "book" / "01_small"
    place.mkdir(parents=True)
    (place / "chapter.py").write_text(f"# %% [markdown]\n# # Small\n\n# %%\n{code}\n{seconds}")
    (place / "expected.json").write_text("[]\n")
    assert call("book", "sync", "--book", place.parent)[0] == 0
    return place.parent


# --- each chapter ---------------------------------------------------------------------------------


@each_chapter
def test_a_chapter_runs_and_gives_its_numbers(chapter, tmp_path):
    """The committed notebook runs top to bottom; its last code checks every expected number."""
    found = notebooks.executed(chapter, tmp_path)
    outputs = [out for cell in found.cells for out in cell.get("outputs", [])]
    loud = [out.text for out in outputs if out.get("name") == "stderr"]
    assert loud == [], "a chapter's page has no warnings"
    code = [cell for cell in found.cells if cell.cell_type == "code"]
    assert code[-1].source.count("bm.book.check(") == 1
    table = code[-1].outputs[-1].data["text/plain"]
    assert all(one.name in table for one in numbers.read(chapter.expected))
    assert len(output.figures(found)) >= 3


@pytest.mark.slow
@each_chapter
def test_a_chapter_keeps_its_budget(chapter, tmp_path):
    """With compiled code at hand a chapter takes at most 60 processor seconds."""
    notebooks.executed(chapter, tmp_path)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    before = used.ru_utime + used.ru_stime
    notebooks.executed(chapter, tmp_path)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert used.ru_utime + used.ru_stime - before < CPU_SECONDS


@each_chapter
def test_a_notebook_is_what_its_source_makes(chapter):
    """The committed notebook is in step; where not: bayesmix book sync."""
    assert notebooks.synced(chapter), f"run 'bayesmix book sync': {chapter.notebook} is old"
    cells = json.loads(chapter.notebook.read_text(encoding="utf-8"))["cells"]
    assert all(cell.get("outputs", []) == [] for cell in cells)
    assert len({cell["id"] for cell in cells}) == len(cells)


@each_chapter
def test_a_chapter_uses_public_names_only(chapter):
    """Imports are of public libraries, and each name of bayesmix is exported."""
    for node in ast.walk(tree_of(chapter)):
        if isinstance(node, ast.Import):
            assert {alias.name for alias in node.names} <= LIBRARIES
        assert not isinstance(node, ast.ImportFrom), ast.unparse(node)
        if isinstance(node, ast.Attribute):
            assert not node.attr.startswith("_"), ast.unparse(node)
            if ast.unparse(node.value) == "bm":
                assert node.attr in bm.__all__, f"bm.{node.attr} is not public"


@each_chapter
def test_a_chapter_draws_by_the_package_alone(chapter):
    """No figure is drawn but by bayesmix.plots, and each has a sentence in its place."""
    source = chapter.source.read_text(encoding="utf-8")
    assert "plt." not in source and "matplotlib" not in source
    for cell in re.split(r"^# %%", source, flags=re.MULTILINE):
        if re.search(r"^bm\.plots\.", cell, flags=re.MULTILINE):
            found = re.search(r'"alt": "([^"]+)"', cell.splitlines()[0])
            assert found and len(found[1]) > 20 and found[1].endswith("."), cell


@each_chapter
def test_models_written_by_hand_are_short(chapter):
    """A PyMC model in a chapter has at most twenty lines."""
    models = [
        node
        for node in ast.walk(tree_of(chapter))
        if isinstance(node, ast.With) and "pm.Model" in ast.unparse(node.items[0])
    ]
    assert models
    assert all((node.end_lineno or 0) - node.lineno < 20 for node in models)


@each_chapter
def test_a_chapter_has_every_part(chapter):
    """Equation, proof of sameness, a twin, diagnostics, a question, and what to read."""
    source = chapter.source.read_text(encoding="utf-8")
    parts = ["# $$", "bm.same_posterior(", ".diagnose()", "<details><summary>", "](https://doi.org"]
    assert [part for part in parts if part not in source] == []
    assert re.search(r'method="(mle|em)"', source)


# --- numbers --------------------------------------------------------------------------------------


@pytest.fixture
def known(tmp_path, monkeypatch):
    """A chapter with two expected numbers, in a book of its own."""
    place = tmp_path / "01_small"
    place.mkdir()
    (place / "chapter.py").write_text("")
    entries = [
        {"name": "mean", "value": 1.0, "mcse": 0.01, "k": 5},
        {"name": "maximum", "value": 2.0, "mcse": 0.0, "k": 5, "printed": "page 3"},
    ]
    (place / "expected.json").write_text(json.dumps(entries))
    monkeypatch.setattr(places, "FOLDERS", (tmp_path,))


def test_right_numbers_are_tabled(known):
    """Numbers within k Monte Carlo errors pass, and are shown beside what was expected."""
    table = bm.book.check("01_small", {"mean": 1.049, "maximum": 2.0})
    assert table.loc["mean"].tolist() == [1.049, 1.0, 0.05]


@pytest.mark.parametrize(
    ("error", "words", "given"),
    [
        ("NumberOff", "'mean' is 1.051 and should be 1, give", {"mean": 1.051, "maximum": 2}),
        ("NumberOff", "'mean' is not a number", {"mean": float("nan"), "maximum": 2}),
        ("NumberOff", "'maximum' is 2.01", {"mean": 1, "maximum": 2.01}),
        ("UnknownName", "must give 'maximum'", {"mean": 1}),
        ("UnknownName", "gives 'more'", {"mean": 1, "maximum": 2, "more": 3}),
        ("DataError", "'mean' must be one number, got a list", {"mean": [1], "maximum": 2}),
    ],
)
def test_wrong_numbers_are_told(known, error, words, given):
    """A number that is off, missing, unknown or none at all is named."""
    with pytest.raises(getattr(bm.errors, error)) as caught:
        bm.book.check("01_small", given)
    assert words in str(caught.value)


@each_chapter
def test_chance_alone_fails_the_book_less_than_once_in_a_thousand(chapter):
    """With so many Monte Carlo errors allowed, all numbers of six such chapters hold together."""
    from scipy import stats

    expected = numbers.read(chapter.expected)
    assert len(expected) >= 10
    assert sum(2 * stats.norm.sf(one.k) for one in expected if one.mcse) < 1e-3 / 6
    assert all(one.allowed < 0.2 * max(abs(one.value), 1) for one in expected)


# --- in step --------------------------------------------------------------------------------------


def test_the_same_source_gives_the_same_bytes(tmp_path):
    """Two conversions are equal; another text changes the notebook, and the check says so."""
    book = small(tmp_path, "1 + 1")
    chapter = places.chapter("1", book)
    assert notebooks.made(chapter) == notebooks.made(chapter)
    chapter.source.write_text(chapter.source.read_text().replace("Small", "Large"))
    status, said, hint = call("book", "sync", "--check", "--book", book)
    assert status == 1 and "is not what chapter.py makes" in said and "book sync" in hint
    assert call("book", "sync", "--book", book)[0] == 0
    assert call("book", "sync", "--check", "--book", book)[0] == 0


# --- bayesmix run ---------------------------------------------------------------------------------


def test_run_writes_notebook_and_figures(tmp_path):
    """The command runs a chapter and leaves its notebook with outputs."""
    book = small(tmp_path, "print(6 * 7)")
    status, said, _ = call("run", "small", "--out", tmp_path / "out", "--book", book)
    assert status == 0 and "1 files" in said
    assert "42" in (tmp_path / "out" / "01_small.ipynb").read_text()


def test_a_chapter_s_numbers_are_of_its_own_book(tmp_path):
    """A chapter of another folder is checked against the expected.json beside it."""
    book = small(tmp_path, "import bayesmix as bm\nbm.book.check('01_small', {'two': 3})")
    wanted = [{"name": "two", "value": 2.0, "mcse": 0.0, "k": 5}]
    (book / "01_small" / "expected.json").write_text(json.dumps(wanted))
    status, _, said = call("run", "1", "--out", tmp_path / "out", "--book", book)
    assert status == 1 and "'two' is 3 and should be 2" in said


def test_the_kernel_is_closed_to_others_and_ends(tmp_path):
    """It listens on sockets of its own folder, not on ports, and is gone afterwards."""
    code = "import os, ipykernel\nprint(os.getpid(), ipykernel.get_connection_info())"
    found = notebooks.executed(places.chapter("1", small(tmp_path, code)), tmp_path)
    said = found.cells[-1].outputs[0].text
    assert '"transport": "ipc"' in said
    with pytest.raises(ProcessLookupError):
        os.kill(int(said.split()[0]), 0)


def test_a_cell_that_fails_is_named(tmp_path):
    """Status 1; chapter, cell, line and error are told; what ran is kept, called incomplete."""
    book = small(tmp_path, "print('so far')\n\n# %%\n1 / 0")
    status, _, said = call("run", "1", "--out", tmp_path / "out", "--book", book)
    assert status == 1
    assert "chapter 01_small, cell 2, line 8 of chapter.py: ZeroDivisionError" in said
    assert "so far" in (tmp_path / "out" / "01_small.incomplete.ipynb").read_text()
    assert not (tmp_path / "out" / "01_small.ipynb").exists()


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        ("no chapter '9': Allowed: '01_pooling'", ["run", "9", "--out", "out"]),
        ("did you mean '01_pooling'", ["run", "01_poling", "--out", "out"]),
        ("--out must be a folder that can be written", ["run", "1", "--out", "/dev/null/x"]),
        ("looked for 01_NAME/chapter.py in '/nowhere'", ["book", "list", "--book", "/nowhere"]),
    ],
)
def test_bad_input_is_told(words, arguments, tmp_path, monkeypatch):
    """A mistake is one sentence and status 2, before anything runs."""
    monkeypatch.chdir(tmp_path)
    status, _, said = call(*arguments)
    assert status == 2 and words in said


def test_the_wheel_s_chapters_come_second(tmp_path, monkeypatch):
    """Without a checkout the chapters inside the package are found."""
    inside = tmp_path / "bayesmix" / "chapters"
    shutil.copytree(CHAPTERS[0].folder, inside / CHAPTERS[0].name)
    monkeypatch.setattr(places, "FOLDERS", (tmp_path / "nowhere", inside))
    assert bm.book.chapters()[0].folder.parent == inside
