"""The command line: what it prints, what it writes, and how it refuses."""

from __future__ import annotations

import importlib.metadata
import json
import os
import pty
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import bayesmix as bm
from bayesmix.cli import doctor
from bayesmix.cli.app import app, readable
from bayesmix.cli.texts import converted
from bayesmix.errors import SpecError

FORMULA = "p(high, total) ~ sex"
QUICK = ["--formula", FORMULA, "--method", "mle", "--seed", "1"]
SHORT = [
    part for option in ("draws=200", "tune=200", "chains=2") for part in ("--method-option", option)
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*arguments):
    """Run the command line in this process; an unforeseen exception is raised."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def process(code, **options):
    """Run Python code in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, **options
    )


# --- fit ------------------------------------------------------------------------------------------


def test_fit_prints_summary_and_verdict_and_writes_the_fit(folder):
    """The report holds the summary and the verdict of the very fit that is written."""
    result = call("fit", "census", *QUICK)
    found = bm.load(folder / "fit.nc")
    assert result.exit_code == 0
    assert found.model == bm.BinomialGLM(FORMULA)
    assert found.method == bm.MLE()
    estimate = found.summary().loc["sex", "estimate"]
    assert re.search(rf"^sex +{estimate:.3f} ", result.stdout, re.MULTILINE)
    assert str(found.diagnose()) in result.stdout
    assert "14 rows, seed 1," in result.stdout
    assert result.stdout.rstrip().endswith("The fit is in fit.nc.")


def test_json_is_one_object_and_nothing_else(folder):
    """Standard output parses as JSON and says what the file says."""
    result = call("fit", "census", "--formula", FORMULA, "--seed", 3, *SHORT, "--json")
    said, found = json.loads(result.stdout), bm.load(folder / "fit.nc")
    assert said["seed"] == 3
    assert said["path"] == "fit.nc"
    assert said["wall_seconds"] == found.tree.attrs["wall_seconds"]
    assert said["model"] == json.loads(found.tree.attrs["model"])
    assert said["diagnosis"]["verdict"] == found.diagnose().verdict
    summary = found.summary()
    assert list(said["summary"]) == list(summary.index)
    assert said["summary"]["sex"] == summary.loc["sex"].to_dict()


def test_json_has_null_for_what_is_not_a_number(folder, monkeypatch):
    """A number that is not finite becomes null, which every JSON reader understands."""
    table = pd.DataFrame({"estimate": [1.5, np.nan], "standard_error": [np.inf, 2.0]}, ["a", "b"])
    monkeypatch.setattr(bm.Fit, "summary", lambda self: table)
    said = json.loads(call("fit", "census", *QUICK, "--json").stdout, parse_constant=pytest.fail)
    assert said["summary"] == {
        "a": {"estimate": 1.5, "standard_error": None},
        "b": {"estimate": None, "standard_error": 2.0},
    }


def test_progress_goes_to_stderr_alone(folder):
    """With a terminal on stderr the bar shows there, and stdout still holds JSON alone."""
    leader, follower = pty.openpty()
    code = "from bayesmix.cli.app import app; app()"
    command = [sys.executable, "-c", code, "fit", "census", *QUICK, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=follower) as running:
        os.close(follower)
        seen = b"".join(terminal_output(leader))
        out = running.stdout.read()
    assert json.loads(out)["seed"] == 1
    assert b"maximise" in seen


def terminal_output(leader):
    """What a process writes to a pseudo-terminal, until it closes its end."""
    while True:
        try:
            yield os.read(leader, 4096)
        except OSError:
            os.close(leader)
            return


def test_quiet_prints_the_verdict_alone(folder):
    """--quiet leaves one sentence."""
    result = call("fit", "census", *QUICK, "--quiet")
    assert result.stdout == f"{bm.load('fit.nc').diagnose().verdict}\n"


def test_a_csv_file_gives_the_numbers_of_the_data_set(folder, census):
    """The census written to CSV, text columns and all, has the same fit under every label."""
    census.to_csv("people.csv", index=False)
    pooled = ["--formula", "p(high, total) ~ sex + (1 | edu)", "--method", "mle", "--seed", 1]
    call("fit", "people.csv", *pooled, "--out", "a.nc")
    call("fit", "census", *pooled, "--out", "b.nc")
    ours, theirs = (bm.load(name).summary()["estimate"] for name in ("a.nc", "b.nc"))
    np.testing.assert_allclose(ours[theirs.index], theirs, rtol=1e-6, atol=1e-6)


def test_a_path_wins_over_a_name_when_it_is_written_as_a_path(folder):
    """``./census`` is a file, ``census`` the data set."""
    (folder / "census").write_text("high,total,sex\n1,2,0\n2,5,1\n1,4,0\n")
    call("fit", "./census", *QUICK, "--out", "file.nc")
    call("fit", "census", *QUICK, "--out", "named.nc")
    assert len(bm.load("file.nc").data) == 3
    assert len(bm.load("named.nc").data) == 14


def test_a_link_is_an_option_of_the_model(folder):
    """--option link=probit fits a probit model, and the file says so."""
    call("fit", "census", "--formula", "p(high, total) ~ sex", "--option", "link=probit",
         "--method", "mle", "--out", "probit.nc")  # fmt: skip
    assert bm.load("probit.nc").model.link == "probit"


def test_options_reach_the_model_and_the_method(folder):
    """Texts become values of each field's type; dashes and underscores are the same."""
    options = ["--option", "parametrization=centered", "--method-option", "target-accept=0.9"]
    options += ["--method-option", "cores=none", "--family", "BinomialGLM", "--method", "NUTS"]
    result = call("fit", "census", "--formula", FORMULA, *SHORT, *options, "--json")
    said = json.loads(result.stdout)
    assert said["model"]["parametrization"] == "centered"
    assert said["method"]["target_accept"] == 0.9
    assert said["method"]["draws"] == 200
    assert said["method"]["cores"] is None


@pytest.mark.parametrize("family", ["binomial-glm", "BinomialGLM", "binomial_glm"])
def test_a_family_answers_to_every_spelling(folder, family):
    """Class name, with dashes or with underscores."""
    assert call("fit", "census", *QUICK, "--family", family).exit_code == 0


def test_the_same_seed_gives_the_same_file(folder):
    """Two runs with one seed agree in every number; without a seed one is drawn and told."""
    sampled = ["fit", "census", "--formula", FORMULA, *SHORT, "--quiet"]
    for name in ("a.nc", "b.nc"):
        call(*sampled, "--seed", 5, "--out", name)
    call(*sampled, "--out", "c.nc")
    a, b, c = (bm.load(name) for name in ("a.nc", "b.nc", "c.nc"))
    assert a.tree["posterior"].identical(b.tree["posterior"])
    assert c.seed != a.seed


@pytest.mark.parametrize(
    ("text", "hint", "value"),
    [
        ("7", int, 7),
        ("7", float, 7.0),
        ("1e-3", float, 0.001),
        ("yes", bool, True),
        ("False", bool, False),
        ("1", bool, True),
        ("7", str, "7"),
        ("none", int | None, None),
        ("7", int | None, 7),
        ("20", tuple[int, ...], (20,)),
        ("20, 10", tuple[int, ...], (20, 10)),
        ("()", tuple[int, ...], ()),
        ("x", str | tuple[str, ...], "x"),
        ("x,z", str | tuple[str, ...], ("x", "z")),
    ],
)
def test_texts_become_values(text, hint, value):
    """A text is read as the type of its field, and as nothing else."""
    found = converted("Spec", "field", text, hint)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "hint", "words"),
    [
        ("1.5", int, "Spec: field must be a whole number, got '1.5'"),
        ("none", int, "must be a whole number, got 'none'"),
        ("big", float, "must be a number, got 'big'"),
        ("maybe", bool, "must be true or false, got 'maybe'"),
        ("8,b", tuple[int, ...], "must be a whole number, got 'b'"),
        ("1", tuple, "cannot be given on the command line"),
    ],
)
def test_texts_that_are_no_such_value_are_refused(text, hint, words):
    """The error names the field, the type and what was given."""
    with pytest.raises(SpecError, match=re.escape(words)):
        converted("Spec", "field", text, hint)


FILES = {
    "twice.csv": b"y,x,y\n1,2,3\n0,1,2\n",
    "empty.csv": b"",
    "header.csv": b"y,x\n",
    "binary.csv": b"\xff\xfe\x00\x01",
    "long.csv": b"y,x\n1,2,3\n0,1,2\n",
    "ragged.csv": b"y,x\n1,2\n0,1,2,3\n",
    "gap.csv": b"y,x\n1,2\n0,\n1,3\n",
    "census.nc": b"\x89HDF\r\n\x1a\n cut short",
}

BAD = [
    ("unknown data set", ["cencus", *QUICK], "no file 'cencus'.*did you mean 'census'"),
    ("unknown file", ["people.csv", *QUICK], "no file 'people.csv'.*Allowed: 'census'"),
    ("a folder", [".", *QUICK], "'.' cannot be read as a CSV file"),
    ("no formula", ["census"], "BinomialGLM needs 'formula': give --formula"),
    ("two formulas", ["census", *QUICK, "--option", "formula=y~x"], "formula is given twice"),
    ("bad formula", ["census", "--formula", "p(high, total) ~ (sex"], "cannot parse formula"),
    ("unknown column", ["census", "--formula", "p(high, tot) ~ sex"], "data lacks 'tot'"),
    (
        "unknown family",
        ["census", *QUICK, "--family", "binomial-gl"],
        "did you mean 'binomial-glm'",
    ),
    ("unknown method", ["census", "--formula", FORMULA, "--method", "nust"], "mean 'nuts'"),
    (
        "unknown option",
        ["census", *QUICK, "--option", "parametrisation=centered"],
        "BinomialGLM has no option 'parametrisation': did you mean 'parametrization'",
    ),
    ("option of no class", ["census", *QUICK, "--option", "x=1"], "has no option 'x'.*Allowed"),
    ("option value", ["census", *QUICK, "--option", "parametrization=x"], "Allowed: 'mixed'"),
    ("option without value", ["census", *QUICK, "--option", "mixed"], "--option takes key=value"),
    ("option without key", ["census", *QUICK, "--method-option", "=3"], "takes key=value"),
    (
        "option given twice",
        ["census", *QUICK, "--method-option", "restarts=1", "--method-option", "restarts=2"],
        "gives 'restarts' twice: '1' and '2'",
    ),
    ("priors", ["census", *QUICK, "--option", "priors=1"], "call bayesmix.fit in a script"),
    ("not a number", ["census", *QUICK, "--method-option", "restarts=few"], "whole number"),
    ("out of range", ["census", *QUICK, "--method-option", "restarts=0"], "whole number >= 1"),
    ("negative seed", ["census", "--formula", FORMULA, "--seed", "-1"], "seed must lie in"),
    ("no such folder", ["census", *QUICK, "--out", "no/fit.nc"], "there is no folder 'no'"),
    ("a folder as file", ["census", *QUICK, "--out", "."], "it is a folder"),
    ("column twice", ["twice.csv", "--formula", "y ~ x"], "found twice: 'y'"),
    ("empty file", ["empty.csv", "--formula", "y ~ x"], "cannot be read as a CSV file"),
    ("header alone", ["header.csv", "--formula", "y ~ x"], "no rows"),
    ("binary file", ["binary.csv", "--formula", "y ~ x"], "cannot be read as a CSV file"),
    ("rows too long", ["long.csv", "--formula", "y ~ x"], "cannot be read as a CSV file"),
    ("ragged rows", ["ragged.csv", "--formula", "y ~ x"], "cannot be read as a CSV file"),
    ("missing value", ["gap.csv", "--formula", "y ~ x"], "'x' has 1 missing.*row 1"),
]


@pytest.mark.parametrize(("arguments", "words"), [row[1:] for row in BAD], ids=[r[0] for r in BAD])
def test_bad_input_is_one_line_on_stderr(folder, arguments, words):
    """Status 2, one sentence on stderr, nothing on stdout, and no file written or changed."""
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    result = call("fit", *arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert re.match(r"error: [^\n]+\n\Z", result.stderr)
    assert re.search(words, result.stderr)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES


def test_a_folder_without_permission_is_told_before_the_fit(folder, monkeypatch):
    """No sampling for a result that cannot be kept."""
    monkeypatch.setattr("bayesmix.cli.app.os.access", lambda path, mode: False)
    monkeypatch.setattr("bayesmix.workflow.fit", lambda *a, **k: pytest.fail("it was fitted"))
    result = call("fit", "census", *QUICK)
    assert result.exit_code == 2
    assert "no permission to write in '.'" in result.stderr


# --- compare --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fits(tmp_path_factory):
    """Complete and partial pooling of the census, saved."""
    place = tmp_path_factory.mktemp("fits")
    method = bm.NUTS(draws=300, tune=300, chains=2)
    for name, terms in {"complete": "sex", "partial": "sex + (1 | edu)"}.items():
        model = bm.BinomialGLM(f"p(high, total) ~ {terms}")
        bm.fit(model, bm.datasets.census(), method=method, seed=1).save(place / f"{name}.nc")
    return place


def test_compare_ranks_by_file_name(fits):
    """The table names each fit by the stem of its file, the best first."""
    result = call("compare", fits / "complete.nc", fits / "partial.nc", "--loo", "psis")
    assert result.exit_code == 0
    assert result.stdout.index("\npartial ") < result.stdout.index("\ncomplete ")


def test_compare_json_is_one_object(fits):
    """JSON holds the table, best first, the notes, and which file is which model."""
    files = [fits / "complete.nc", fits / "partial.nc"]
    result = call("compare", *files, "--criterion", "waic", "--json")
    said = json.loads(result.stdout)
    assert said["criterion"] == "waic"
    assert [row["model"] for row in said["table"]] == ["partial", "complete"]
    assert said["files"] == {path.stem: str(path) for path in files}
    assert said["notes"]


def test_compare_by_folds_and_by_criteria(folder):
    """Point fits compare by folds, how many is an option, and by BIC, which has its own table."""
    for name, terms in {"none": "1", "sex": "sex"}.items():
        formula = f"p(high, total) ~ {terms}"
        call(
            "fit",
            "census",
            "--formula",
            formula,
            "--method",
            "mle",
            "--seed",
            1,
            "--out",
            f"{name}.nc",
        )
    said = json.loads(call("compare", "none.nc", "sex.nc", "--criterion", "bic", "--json").stdout)
    assert [row["model"] for row in said["table"]] == ["sex", "none"]
    assert set(said["table"][0]) == {
        "model", "rank", "bic", "bic_diff", "n_parameters", "log_likelihood", "weight",
    }  # fmt: skip
    result = call("compare", "none.nc", "sex.nc", "--criterion", "kfold", "--folds", 3, "--json")
    assert {row["how"] for row in json.loads(result.stdout)["table"]} == {"3-fold"}
    shown = " ".join(call("compare", "--help").stdout.split())
    assert all(f"{name}" in shown for name in ("loo", "waic", "kfold", "bic", "icl", "--folds"))


def test_compare_tells_files_of_one_name_apart(fits, tmp_path):
    """Two files of the same stem are called by their paths."""
    other = tmp_path / "partial.nc"
    other.write_bytes((fits / "partial.nc").read_bytes())
    result = call("compare", fits / "partial.nc", other, "--loo", "psis", "--json")
    names = {row["model"] for row in json.loads(result.stdout)["table"]}
    assert names == {str(fits / "partial.nc"), str(other)}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["partial.nc", "nothing.nc"], "there is no fit at 'nothing.nc'"),
        (["partial.nc", "foreign.nc"], "'foreign.nc' is not a fit of bayesmix"),
        (["partial.nc", "partial.nc"], "more than once"),
        (["partial.nc", "--criterion", "aic"], "criterion='aic' is not known"),
        (["partial.nc", "--loo", "exactly"], "did you mean 'exact'"),
        (["partial.nc", "--criterion", "waic", "--loo", "psis"], "WAIC never refits"),
        (["point.nc"], "fit again with method='nuts'"),
    ],
)
def test_compare_refuses_in_one_line(folder, fits, arguments, words):
    """Bad files and options: status 2 and one sentence."""
    (folder / "partial.nc").write_bytes((fits / "partial.nc").read_bytes())
    (folder / "foreign.nc").write_bytes(FILES["census.nc"])
    call("fit", "census", *QUICK, "--out", "point.nc")
    result = call("compare", *arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert re.match(r"error: [^\n]+\n\Z", result.stderr)
    assert words in result.stderr


# --- doctor ---------------------------------------------------------------------------------------


def level(health, name):
    """The check of that name: its level and its advice."""
    return next((c.level, c.advice) for c in health.checks if c.name == name)


def test_doctor_finds_nothing_missing_here():
    """Where the tests run everything needed is there, and every declared library is looked at."""
    health = doctor.examine()
    assert health.ok, str(health)
    names = {check.name for check in health.checks}
    assert {"python", "bayesmix", "pymc", "nutpie", "torch", "scikit-learn"} <= names
    assert {"compiled code", "threads", "cores", "gpu", "bubblewrap"} <= names
    assert "Everything needed is there" in str(health)


def test_doctor_json_and_status(monkeypatch):
    """JSON holds the same checks; the status is 0 when all is well and 1 when not."""
    good = doctor.Health((doctor.Check("python", "ok", "3.13"),))
    bad = doctor.Health((doctor.Check("pymc", "missing", "is not installed", "Get it."),))
    monkeypatch.setattr(doctor, "examine", lambda: good)
    assert call("doctor").exit_code == 0
    monkeypatch.setattr(doctor, "examine", lambda: bad)
    result = call("doctor", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == bad.to_dict()
    assert json.loads(result.stdout)["verdict"] == "Something needed is missing: pymc."


@pytest.mark.parametrize(
    ("requirement", "found", "advice"),
    [
        ("not-a-library>=1", "is not installed", "pip install 'not-a-library>=1'"),
        ("numpy<1", "<1 is needed", "pip install 'numpy<1'"),
    ],
)
def test_doctor_names_what_is_missing(monkeypatch, requirement, found, advice):
    """A library that is absent or of a wrong version comes with the command that gets it."""
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: [requirement])
    (check,) = doctor.check_libraries()
    assert check.level == "missing"
    assert found in check.found
    assert advice in check.advice


def test_doctor_notices_a_library_that_cannot_be_imported(monkeypatch, tmp_path):
    """An installed library with a broken binary is missing, and the reason is told."""
    (tmp_path / "joblib.py").write_text("raise ImportError('libfoo.so: no such file')")
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: ["joblib"])
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "joblib", raising=False)
    (check,) = doctor.check_libraries()
    assert check.level == "missing"
    assert "cannot be imported: ImportError: libfoo.so: no such file" in check.found


def test_doctor_compares_with_the_tested_versions(monkeypatch, tmp_path):
    """A version other than the one in constraints.txt is a note, not a fault."""
    (tmp_path / "constraints.txt").write_text("# tested\nnumpy==0.1  # old\nlazy-loader==0.0\n")
    monkeypatch.setattr(doctor, "CONSTRAINTS", tmp_path / "constraints.txt")
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: ["numpy", "lazy_loader"])
    health = doctor.Health(tuple(doctor.check_libraries()))
    assert health.ok
    assert [check.level for check in health.checks] == ["note", "note"]
    assert "the tests ran with 0.1" in health.checks[0].found


def test_doctor_without_an_installation(monkeypatch):
    """Running from a folder that was never installed is told, with what to do."""

    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "metadata", absent)
    health = doctor.Health(tuple(doctor.check_package()))
    assert not health.ok
    assert level(health, "bayesmix") == (
        "missing",
        "Run 'make demo' in the checkout, or 'pip install .'.",
    )


def test_doctor_counts_the_compiled_models(monkeypatch, tmp_path):
    """Folder, number and size of the entries of the cache that is in use."""
    (tmp_path / "code").mkdir(mode=0o700)
    (tmp_path / "code" / "one").write_bytes(b"x" * 3_000_000)
    monkeypatch.setenv("BAYESMIX_CACHE", str(tmp_path))
    check = doctor.check_cache()
    assert check.level == "ok"
    assert check.found == f"1 entries, 3.0 MB in {tmp_path / 'code'}"
    assert check.values["writable"] is True


def test_doctor_says_that_code_is_not_kept(monkeypatch, tmp_path):
    """BAYESMIX_CACHE that names a file: fits run, and compile in every process; what to do."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BAYESMIX_CACHE", str(tmp_path / "file"))
    check = doctor.check_cache()
    assert (check.level, check.values["writable"]) == ("note", False)
    assert "is a file" in check.advice
    assert "set BAYESMIX_CACHE" in check.advice


@pytest.mark.parametrize("path", [None, "/usr/bin/bwrap"])
def test_doctor_looks_for_bubblewrap(monkeypatch, path):
    """It is needed for grading alone, so its absence is a note."""
    monkeypatch.setattr(doctor.shutil, "which", lambda name: path)
    check = doctor.check_bubblewrap()
    assert check.level == ("note" if path is None else "ok")
    assert ("grade" in check.advice) is (path is None)


# --- the program ----------------------------------------------------------------------------------


def test_help_imports_nothing_heavy():
    """--help of each command loads no numerical library, so it is there at once."""
    code = """
import sys
from bayesmix.cli.app import app
for arguments in ([], ["fit"], ["compare"], ["doctor"]):
    try:
        app([*arguments, "--help"])
    except SystemExit as stopped:
        assert not stopped.code
heavy = {"numpy", "pandas", "xarray", "scipy", "pymc", "torch", "matplotlib", "arviz", "rich"}
print("loaded:", sorted(heavy & set(sys.modules)))
"""
    shown = process(code).stdout
    assert "Fit a model to a table and write the fit to a file." in shown
    assert shown.rstrip().endswith("loaded: []")


def test_version():
    """--version prints the version and stops."""
    assert call("--version").stdout == f"{bm.__version__}\n"


def test_the_program_is_called_bayesmix():
    """The installed console script is this application."""
    (entry,) = importlib.metadata.entry_points(group="console_scripts", name="bayesmix")
    assert entry.load() is app


# --- priors ---------------------------------------------------------------------------------------


def test_priors_are_typed_as_in_python(folder):
    """--prior sets the prior of a term or a kind; it is stored with the fit."""
    given = ["--prior", "sex=Normal(0, 0.01)", "--prior", "Intercept=StudentT(4, scale=2)"]
    result = call("fit", "census", *QUICK[:2], "--method", "map", "--seed", "1", *given)
    assert result.exit_code == 0
    found = bm.load(folder / "fit.nc")
    assert dict(found.model.priors)["sex"] == bm.priors.Normal(0, 0.01)
    assert dict(found.model.priors)["Intercept"] == bm.priors.StudentT(4, 0, 2)
    assert abs(float(found.tree["estimate"]["sex"])) < 0.2  # 1.28 with the default prior


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sex", "--prior takes key=value, such as sex=Normal"),
        ("sex=Norml(0, 1)", "unknown prior 'Norml': did you mean 'Normal'"),
        ("sex=Normal(0, 1", "is not a prior; write one such as Normal"),
        ("sex=Normal(0, __import__('os'))", "is not a prior"),
        ("sex=Normal(0, -1)", "scale must be finite and lie in"),
        ("sex=Normal(0, 1, 2)", "does not fit Normal"),
        ("sigma=Normal(0, 1)", "must live on"),
        ("age=Normal(0, 1)", "match nothing in the formula"),
    ],
)
def test_bad_priors(folder, text, words):
    """A prior that cannot be read is one sentence, and nothing is written."""
    result = call("fit", "census", *QUICK, "--prior", text)
    assert result.exit_code == 2
    assert words in result.stderr
    assert not list(folder.iterdir())


def test_a_long_summary_is_cut_with_a_sentence() -> None:
    """Effects of hundreds of groups do not run off the screen, and long labels are cut."""
    table = pd.DataFrame({"estimate": 1.0}, [f"1|g[{'name ' * 30}{i}]" for i in range(500)])
    lines = readable(table).splitlines()
    assert len(lines) == 62
    assert lines[-1].startswith("... and 440 more rows: --json prints them all")
    assert max(map(len, lines)) < 100
    assert len(readable(table.head(60)).splitlines()) == 61
