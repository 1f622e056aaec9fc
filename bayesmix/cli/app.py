"""The command line: ``bayesmix fit``, ``bayesmix compare`` and ``bayesmix doctor``."""

from __future__ import annotations

import json
import math
import os
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bayesmix.book import command as book_command
from bayesmix.cli.texts import built
from bayesmix.errors import (
    BayesmixError,
    DataError,
    FitFileError,
    SpecError,
    UnknownName,
    listed,
    shortened,
    suggestion,
)

if TYPE_CHECKING:
    import pandas as pd

    from bayesmix.protocols import Method, Model
    from bayesmix.result import Fit

_SCREEN_ROWS = 60
"""Rows of a summary that are printed; hundreds of groups are in the file, and in ``--json``."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


app.add_typer(book_command.app, name="book")


def _print_version(wanted: bool) -> None:
    if wanted:
        from bayesmix import __version__

        with errors_in_one_line():
            _print(__version__)
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and stop."
        ),
    ] = False,
) -> None:
    """Bayesian mixtures and hierarchical models, from the command line."""
    del version


@app.command("fit")
def fit_command(
    data: Annotated[
        str, typer.Argument(help="A CSV file, or the name of a data set such as census.")
    ],
    formula: Annotated[
        str | None,
        typer.Option(help="Such as 'p(high, total) ~ sex + (sex | edu)'."),
    ] = None,
    family: Annotated[str, typer.Option(help="The model family.")] = "binomial-glm",
    method: Annotated[
        str, typer.Option(help="Such as nuts, laplace or mle; auto is the family's own choice.")
    ] = "auto",
    seed: Annotated[
        int | None, typer.Option(help="The same seed gives the same numbers; drawn when absent.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="A field of the model; give it as often as needed."),
    ] = None,
    prior: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=PRIOR", help="Such as 'sex=Normal(0, 2.5)'; give it as often as needed."
        ),
    ] = None,
    method_option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="A field of the method, such as draws=2000."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Where the fit is written.")] = Path("fit.nc"),
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="No progress bar; print the verdict alone.")
    ] = False,
) -> None:
    """Fit a model to a table and write the fit to a file."""
    with errors_in_one_line():
        from bayesmix import workflow

        given = _pairs("--option", option or [])
        given = given if formula is None else _with_formula(given, formula)
        model = _model(family, given, _pairs("--prior", prior or [], example="sex=Normal(0, 2.5)"))
        chosen = _method(model, method, _pairs("--method-option", method_option or []))
        table = _table(data)
        _check_writable(out)
        found = workflow.fit(model, table, method=chosen, seed=seed, progress=not quiet)
        found.save(out)
        report = _as_json(found, out) if as_json else _as_text(found, out, quiet)
        _print(report, f"; the fit is in {str(out)!r}")


@app.command("compare")
def compare_command(
    fits: Annotated[list[Path], typer.Argument(help="Files that 'bayesmix fit' wrote.")],
    criterion: Annotated[
        str,
        typer.Option(
            help="loo or waic, of draws; kfold, of any fit; bic or icl, of maximum likelihood."
        ),
    ] = "loo",
    loo: Annotated[
        str, typer.Option(help="psis never refits, exact always does, auto where it must.")
    ] = "auto",
    folds: Annotated[
        int, typer.Option(help="Of kfold: each is fitted again without its rows.")
    ] = 10,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
) -> None:
    """Rank fits by how well they predict left-out rows, or by an information criterion."""
    with errors_in_one_line():
        from bayesmix import workflow
        from bayesmix.comparison.ranking import compare

        named = _names_of(fits)
        loaded = {name: workflow.load(path) for name, path in named.items()}
        found = compare(loaded, criterion=criterion, loo=loo, folds=folds)
        files = {name: str(path) for name, path in named.items()}
        _print(_dump({**found.to_dict(), "files": files}) if as_json else str(found))


@app.command("doctor")
def doctor_command(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
) -> None:
    """Look at this installation: what is missing, and why."""
    from bayesmix.cli.doctor import examine

    found = examine()
    with errors_in_one_line():
        _print(_dump(found.to_dict()) if as_json else str(found))
    raise typer.Exit(0 if found.ok else 1)


@app.command("run")
def run_command(
    chapter: Annotated[str, typer.Argument(help="A number or a name: 01, 1 or pooling.")],
    out: Annotated[Path, typer.Option(help="The folder for the notebook and the figures.")],
    book: book_command.Book = None,
) -> None:
    """Run a chapter of the book and keep what it prints and draws."""
    with errors_in_one_line():
        book_command.run_chapter(chapter, out, book)


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """End the program with status 2 and one sentence for every error raised on purpose."""
    try:
        yield
    except BayesmixError as error:
        with suppress(OSError):  # a full disk behind stderr as well
            typer.echo(f"error: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(2) from error


def _print(text: str, done: str = "") -> None:
    """Write to stdout; where it cannot be written, say so once, and not again at the exit.

    Raises
    ------
    FitFileError
        The disk behind stdout is full, for example; ``done`` says what was done all the same.
    """
    try:
        typer.echo(text)
    except BrokenPipeError:  # a reader such as head has seen enough; typer ends without a word
        raise
    except OSError as error:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        raise FitFileError(
            f"the report cannot be written to standard output: {error.strerror or error}{done}"
        ) from error


def _pairs(flag: str, given: Iterable[str], example: str = "draws=2000") -> dict[str, str]:
    """``key=value`` texts as a mapping; options may be typed with hyphens."""
    pairs: dict[str, str] = {}
    for text in given:
        key, sign, value = text.partition("=")
        key = key.strip() if flag == "--prior" else key.strip().replace("-", "_")
        if not sign or not key:
            raise SpecError(f"{flag} takes key=value, such as {example}; got {text!r}")
        if key in pairs:
            raise SpecError(f"{flag} gives {key!r} twice: {pairs[key]!r} and {value!r}")
        pairs[key] = value.strip()
    return pairs


def _with_formula(options: dict[str, str], formula: str) -> dict[str, str]:
    if "formula" in options:
        raise SpecError("the formula is given twice, by --formula and by --option formula=...")
    return {"formula": formula, **options}


def _model(family: str, options: Mapping[str, str], priors: Mapping[str, str]) -> Model:
    from bayesmix.priors import from_text
    from bayesmix.workflow import models

    by_name = {_kebab(name): kind for name, kind in models().items()}
    alike = {_letters(name): name for name in by_name}
    if _letters(family) not in alike:
        raise UnknownName(f"unknown family {family!r}: {suggestion(_kebab(family), by_name)}")
    given = {"priors": {name: from_text(text) for name, text in priors.items()}} if priors else {}
    return built(by_name[alike[_letters(family)]], options, given)


def _method(model: Model, name: str, options: Mapping[str, str]) -> Method:
    from bayesmix.workflow import methods

    name = model.default_method if name.lower() == "auto" else name.lower()
    if name not in methods():
        raise UnknownName(f"unknown method {name!r}: {suggestion(name, methods())}")
    return built(methods()[name], options)


def _kebab(name: str) -> str:
    """``BinomialGLM`` as it is typed: ``binomial-glm``."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name)
    return words.replace("_", "-").lower()


def _letters(name: str) -> str:
    return re.sub(r"[-_ ]", "", name).lower()


def _table(data: str) -> pd.DataFrame:
    """A shipped data set by its name, else a CSV file; ``./census`` is always a file."""
    from bayesmix import datasets

    if data in datasets.names():
        return datasets.load(data)
    if not Path(data).exists():
        raise UnknownName(
            f"there is no file {data!r}, and no data set of that name: "
            f"{suggestion(data, datasets.names())}"
        )
    return _csv(Path(data))


def _csv(path: Path) -> pd.DataFrame:
    import pandas as pd
    from pandas.errors import ParserWarning

    try:
        header = pd.read_csv(path, header=None, nrows=1, dtype=str).iloc[0]
        with warnings.catch_warnings():
            # A row longer than the header would lose its end, or shift every column by one.
            warnings.simplefilter("error", ParserWarning)
            table = pd.read_csv(path, index_col=False, low_memory=False)
    except (OSError, ValueError, ParserWarning) as error:
        raise DataError(f"{str(path)!r} cannot be read as a CSV file: {error}") from error
    repeated = header[header.notna() & header.duplicated()].unique()
    if len(repeated):
        raise DataError(
            f"{str(path)!r}: column names must be unique, found twice: {listed(repeated)}"
        )
    return table


def _check_writable(out: Path) -> None:
    """Say so before minutes of sampling, not after."""
    folder = out.parent
    if not folder.is_dir():
        raise FitFileError(f"cannot write {str(out)!r}: there is no folder {str(folder)!r}")
    if out.is_dir():
        raise FitFileError(f"cannot write {str(out)!r}: it is a folder; name a file in it")
    if not os.access(folder, os.W_OK):
        raise FitFileError(f"cannot write {str(out)!r}: no permission to write in {str(folder)!r}")


def _names_of(paths: list[Path]) -> dict[str, Path]:
    """Fits are called by their file's stem, or by the whole path where two stems are the same."""
    stems = [path.stem for path in paths]
    names = [str(p) if stems.count(p.stem) > 1 else p.stem for p in paths]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise SpecError(f"compare was given {listed(repeated)} more than once; give each fit once")
    return dict(zip(names, paths, strict=True))


def _dump(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)


def _as_json(found: Fit, path: Path) -> str:
    attrs = found.tree.attrs
    rows = found.summary().to_dict("index")
    summary = {
        str(label): {str(k): _in_json(v) for k, v in row.items()} for label, row in rows.items()
    }
    return _dump(
        {
            "model": json.loads(attrs["model"]),
            "method": json.loads(attrs["method"]),
            "seed": found.seed,
            "wall_seconds": float(attrs["wall_seconds"]),
            "path": str(path),
            "summary": summary,
            "diagnosis": found.diagnose().to_dict(),
        }
    )


def _in_json(value: float | str) -> float | str | None:
    """A value of a summary: a prior is words, and JSON knows no number that is not finite."""
    return value if isinstance(value, str) or math.isfinite(value) else None


def _as_text(found: Fit, path: Path, quiet: bool) -> str:
    diagnosis = found.diagnose()
    if quiet:
        return diagnosis.verdict
    seconds, rows = float(found.tree.attrs["wall_seconds"]), found.design.n_obs
    head = f"{found.model}\n{found.method}\n{rows} rows, seed {found.seed}, {seconds:.1f} s"
    return "\n\n".join([head, readable(found.summary()), str(diagnosis), f"The fit is in {path}."])


def readable(summary: pd.DataFrame) -> str:
    """A summary as text: three decimals, effective sample sizes as whole numbers.

    What fills more than a screen, as the effects of hundreds of groups do, is cut with a sentence.
    """
    whole = [name for name in summary.columns if str(name).startswith("ess")]
    shown = summary.head(_SCREEN_ROWS).rename(index=lambda label: shortened(str(label), 60))
    text = shown.to_string(
        float_format=_number, formatters={name: "{:.0f}".format for name in whole}
    )
    rest = len(summary) - len(shown)
    more = f"... and {rest} more rows: --json prints them all, and so does Fit.summary() in Python."
    return f"{text}\n{more}" if rest else text


def _number(value: float) -> str:
    return f"{value:.3f}" if value == 0 or 1e-3 <= abs(value) < 1e5 else f"{value:.2g}"
