"""No formula runs code: its parse tree is checked before anything is evaluated."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from mistakes import TABLE
from small_fits import people
from typer.testing import CliRunner

import bayesmix as bm
from bayesmix.cli.app import app
from bayesmix.design import formula, vocabulary
from bayesmix.errors import BayesmixError, DataError, FormulaError

ATTACKS = {
    "a module deep in NumPy": "np.lib._npyio_impl.os.system('touch MARK')",
    "NumPy writes a file": "np.savetxt('MARK', age)",
    "NumPy reads a file": "np.fromfile('SECRET')",
    "NumPy loads a file": "np.load('SECRET')",
    "NumPy loads a pickle": "np.load('SECRET', allow_pickle=True)",
    "a memory map": "np.memmap('MARK', mode='w+', shape=9)",
    "a method of a column": "age.to_csv('MARK')",
    "a method of a column, in a function": "np.log(age.to_csv('MARK'))",
    "an attribute of text": "'age'.join(age)",
    "a method of text in a function": "I('SECRET'.upper())",
    "a dunder": "I(age.__class__)",
    "a lambda": "I(lambda: age)",
    "a call of a lambda": "(lambda: 0)()",
    "a comprehension": "I([age for age in age])",
    "a backquoted function": "`np.savetxt`('MARK', age)",
    "a call of a call": "np.log(age)('MARK')",
    "a text called": "'np.savetxt'('MARK', age)",
    "a builtin": "open('MARK', 'w')",
    "eval": "eval('1')",
    "import": "__import__('os')",
    "a contrast": "C(sex, contrast=np.savetxt('MARK', age))",
    "a contrast by name": "C(sex, Treatment)",
    "a ufunc writes into a column": "np.log(total, age)",
    "a ufunc's out": "np.log(total, out=age)",
    "a ufunc's where": "np.log(total, where=sex)",
    "a ufunc's dtype": "np.log(total, dtype='float16')",
    "a ufunc's method": "np.add.at(age, sex, 1)",
    "a ufunc's reduction": "np.add.reduce(age)",
    "a NumPy function that is not elementwise": "np.sort(age)",
    "a registry of NumPy's": "np.vectorize(age)",
    "a keyword of a transform that is a call": "bs(age, df=np.fromfile('SECRET'))",
    "a keyword that a transform lacks": "scale(age, file='MARK')",
    "a function nested in transforms": "scale(center(I(np.loadtxt('SECRET'))))",
    "a function among a group's effects": "(np.fromfile('SECRET') | edu)",
    "a function as a group": "(1 | np.fromfile('SECRET'))",
    "braces": "{np.fromfile('SECRET')}",
    "a function in an interaction": "sex:np.fromfile('SECRET')",
}
COSTS = {
    "a power tower of numbers": "I(9 ** 9 ** 9 ** 9 ** 9)",
    "a repeated text": "I('a' * 99999999999)",
    "a power of large numbers": "np.power(sex, 99999999999999999999999)",
    "a product of numbers as a power": "I(sex ** (9007199254740992 * 9007199254740992 * sex))",
    "a polynomial of a million": "poly(age, 1000000)",
    "interactions of thirty": " * ".join(f"I(age + {i})" for i in range(30)),
    "a power of terms": "(age + sex + total) ** 99999999",
    "brackets ten thousand deep": "(" * 10_000 + "age" + ")" * 10_000,
    "signs ten thousand deep": "I(" + "-" * 10_000 + "age)",
    "a name without an end": "`age",
}


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to run in, but for a file that nobody may read."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "SECRET").write_text("1 2 3 4 5 6")
    return tmp_path


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=list(ATTACKS))
def test_a_formula_runs_no_code(attack: str, planted: Path) -> None:
    """Whatever is no function of the lists is refused before anything is evaluated."""
    with pytest.raises(FormulaError if "__class__" not in attack else DataError):
        formula.evaluate(attack, TABLE)
    assert [path.name for path in planted.iterdir()] == ["SECRET"]


@pytest.mark.parametrize("attack", COSTS.values(), ids=list(COSTS))
def test_a_formula_does_not_run_away(attack: str) -> None:
    """What would take the memory or the time of the machine ends within two seconds."""
    start = time.process_time()
    with contextlib.suppress(BayesmixError):
        formula.evaluate(attack, people())
    assert time.process_time() - start < 2


SIDES: dict[str, Callable[[str], Any]] = {
    "the formula": lambda side: bm.MixtureOfExperts(f"age ~ {side}"),
    "the gate": lambda side: bm.MixtureOfExperts("age ~ sex", gate=side),
    "the scale": lambda side: bm.MixtureOfExperts("age ~ sex", scale=side),
    "a binomial's formula": lambda side: bm.BinomialGLM(f"p(high, total) ~ {side}"),
    "a piecewise formula": lambda side: bm.PiecewiseRegression(f"age ~ {side}"),
    "an outcome": lambda side: bm.BinomialGLM(f"{side} ~ age"),
    "an expert's outcome": lambda side: bm.MixtureOfExperts(f"{side} ~ age"),
}


@pytest.mark.parametrize("side", SIDES.values(), ids=list(SIDES))
def test_every_side_is_checked(side: Callable[[str], Any], planted: Path) -> None:
    """Formula, gate, scale and outcome all go through the check."""
    with pytest.raises(BayesmixError):
        bm.fit(side("np.lib._npyio_impl.os.system('touch MARK')"), TABLE, progress=False)
    assert not (planted / "MARK").exists()


@pytest.mark.parametrize("option", ["--formula", "--gate"])
def test_the_command_is_checked(option: str, planted: Path) -> None:
    """A formula from the command line is refused in words."""
    given = "np.savetxt('MARK', x)"
    asked = {
        "--formula": ["--formula", f"target ~ {given}"],
        "--gate": ["--formula", "target ~ x", "--option", f"gate={given}"],
    }[option]
    family = ["--family", "mixture-of-experts", "--method", "em"]
    done = CliRunner().invoke(app, ["fit", "one_to_many", *family, *asked, "--seed", "1"])
    assert "may not call 'np.savetxt'" in done.output
    assert done.exit_code != 0
    assert not (planted / "MARK").exists()


@pytest.mark.parametrize("verb", ["predict", "log_density", "diagnose"])
def test_a_crafted_fit_runs_no_code(verb: str, planted: Path) -> None:
    """A saved fit whose formula was exchanged is refused, whichever verb reads it."""
    bm.fit(
        bm.BinomialGLM("p(high, total) ~ age"), TABLE, method="mle", seed=1, progress=False
    ).save(planted / "fit.nc")
    with h5py.File(planted / "fit.nc", "a") as file:
        (name,) = [k for k in file.attrs if "p(high, total)" in str(file.attrs[k])]
        model = json.loads(str(file.attrs[name]))
        model["formula"] += " + np.lib._npyio_impl.os.system('touch MARK')"
        file.attrs[name] = json.dumps(model, sort_keys=True)
    with pytest.raises(BayesmixError, match=r"may not call .*os\.system|damaged|hash"):
        getattr(bm.load(planted / "fit.nc"), verb)()
    assert not (planted / "MARK").exists()


def test_the_refusal_says_what_is_allowed() -> None:
    """The message names the call, a function of a like name, and all that may be called."""
    with pytest.raises(FormulaError, match=r"may not call 'np\.sqrtt'.*did you mean 'np\.sqrt'"):
        formula.evaluate("np.sqrtt(age)", people())
    with pytest.raises(FormulaError) as caught:
        formula.evaluate("np.fromfile('x')", people())
    assert all(name in str(caught.value) for name in (*vocabulary.TRANSFORMS, *vocabulary.UFUNCS))


@pytest.mark.parametrize("name", sorted(vocabulary.UFUNCS))
def test_functions_of_numpy(name: str) -> None:
    """Every function of the list works, with and without ``np.``, and is NumPy's own."""
    columns = [people()["age"].to_numpy() / 100, people()["total"].to_numpy() / 100]
    columns = columns[: vocabulary.UFUNCS[name]]
    if name == "arccosh":
        columns = [1 + columns[0]]
    data = pd.DataFrame({f"x{i}": column for i, column in enumerate(columns)})
    call = f"{name}({', '.join(data.columns)})"
    wanted = np.asarray(getattr(np, name)(*columns), dtype=float)
    for written in (call, f"np.{call}"):
        found = formula.evaluate(f"0 + {written}", data)
        assert found.column_labels == (written,)
        np.testing.assert_array_equal(found.common[:, 0], wanted)


@pytest.mark.parametrize(
    ("rhs", "width"),
    [
        ("C(sex)", 2),
        ("T(region, 'south')", 3),
        ("T(region, ref='south')", 3),
        ("S(region)", 3),
        ("S(region, omit='south')", 3),
        ("B(region, 'south')", 2),
        ("binary(region, success='south')", 2),
        ("I(region == 'south')", 2),
        ("I(age > 40)", 2),
        ("{age / 10}", 2),
        ("poly(age, 2, raw=True)", 3),
        ("poly(age, degree=3)", 4),
        ("bs(age, df=4, lower_bound=0, upper_bound=100)", 5),
        ("bs(age, df=4, center=False)", 5),
        ("cr(age, df=4)", 5),
        ("tp(age, df=4)", 5),
        ("cc(age, 80, df=4)", 5),
        ("center(np.log(age)) + standardize(sex)", 3),
        ("I(-age ** 2 + 1)", 2),
        ("maximum(age, 40)", 2),
    ],
)
def test_transforms_take_their_options(rhs: str, width: int) -> None:
    """Numbers, text and truth values reach the transforms that know them."""
    assert formula.evaluate(rhs, people()).common.shape == (8, width)


def test_numbers_in_arithmetic_do_not_wrap() -> None:
    """A power of a column of whole numbers is computed in double precision."""
    data = pd.DataFrame({"income": [200_000, 100_000, 50_000]})
    found = formula.evaluate("0 + I(income ** 4)", data)
    np.testing.assert_allclose(found.common[:, 0], data["income"].astype(float) ** 4)
    assert found.column_labels == ("I(income ** 4)",)


@pytest.mark.parametrize(
    "rhs", ["age sex", "age ! sex", "age . sex", "sex['1']", "age > 3", "y = age"]
)
def test_nothing_is_dropped_in_silence(rhs: str) -> None:
    """What follows a complete formula, or has no meaning in one, is an error."""
    with pytest.raises(FormulaError):
        formula.evaluate(rhs, people().assign(y=1.0))


def test_scale_divides_by_the_sd_over_n() -> None:
    """``scale`` has the standard deviation over n, as docs/trust.md says; R has it over n - 1."""
    column = formula.evaluate("0 + scale(age)", people()).common[:, 0]
    np.testing.assert_allclose([column.mean(), column.std()], [0, 1], atol=1e-12)
