"""The census by one model, from data to figures: ``python -m bayesmix.cli.demo --out DIR``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bayesmix.cli.app import errors_in_one_line
from bayesmix.errors import FitFileError
from bayesmix.priors import LKJ, HalfCauchy, Normal

if TYPE_CHECKING:
    from rich.console import Console

    from bayesmix.diagnostics.diagnosis import Diagnosis
    from bayesmix.result import Fit

FORMULA = "p(high, total) ~ sex + (sex | edu)"
PRIORS = {
    "Intercept": Normal(0, 10),
    "slope": Normal(0, 1),
    "sigma": HalfCauchy(2),
    "corr": LKJ(2),
}
"""The book's, in log-odds: sex is 0 or 1, so a slope is the difference between men and women."""
NAMES = {"sex": {0: "female", 1: "male"}}
WOMEN = 86
QUESTION = (
    "32,561 people of the 1994 US census are counted by seven levels of education and by sex. How "
    "does the chance to earn more than 50,000 dollars a year depend on the two?"
)
MODEL = (
    "high of total people earn above 50K; sex is 0 for women and 1 for men. The level of the "
    "log-odds and the effect of sex both vary with education, around a population's mean."
)
LABELS = (
    "Intercept and sex are the population's, in log-odds. 1|edu[...] and sex|edu[...] are what a "
    "level of education adds to them; sigma_edu is how much levels differ, and corr_edu how the "
    "two go together."
)


@dataclass(frozen=True)
class Picture:
    """One figure of the demo: its file, what it shows, and the call that draws it."""

    file: str
    shows: str
    draw: Callable[[Fit], Any]


@dataclass(frozen=True)
class Answers:
    """What the fit says on the two questions.

    Parameters
    ----------
    share
        Share of posterior draws in which p(Bachelors) > p(Prof School), both of men.
    bachelors, prof_school
        Posterior means of the two probabilities.
    mean, sd, low, high
        Of the number of women above 50K among 86 with a doctorate: posterior predictive mean,
        standard deviation and 90 % interval, in people.
    observed
        The same number in the data.
    """

    share: float
    bachelors: float
    prof_school: float
    mean: float
    sd: float
    low: float
    high: float
    observed: int


def pictures() -> tuple[Picture, ...]:
    """Every figure that suits a fit of the census by NUTS."""
    from bayesmix import plots

    def validation(fit: Fit) -> Any:
        return plots.posterior_validation(fit, by=["edu", "sex"], labels=NAMES)

    return (
        Picture("posterior_validation", "observed shares beside the predicted ones", validation),
        Picture(
            "effect_by_group",
            "men against women at each level: log-odds and probability",
            lambda fit: plots.effect_by_group(fit, effect="sex", labels=NAMES),
        ),
        Picture(
            "shrinkage",
            "how far each level's log-odds move towards the population",
            lambda fit: plots.shrinkage(fit, labels=NAMES),
        ),
        Picture(
            "shrinkage_sex",
            "the same for the effect of sex, where data say less",
            lambda fit: plots.shrinkage(fit, effect="sex", labels=NAMES),
        ),
        Picture("forest", "means and intervals of the parameters", plots.forest),
        Picture("prior_posterior", "what the data added to the priors", plots.prior_posterior),
        Picture("pair", "parameters against each other, with divergences", plots.pair),
        Picture("trace", "draws of each chain, and whether the chains agree", plots.trace),
        Picture("autocorrelation", "how fast a chain forgets", plots.autocorrelation),
        Picture("geweke", "whether chains had settled when they were kept", plots.geweke),
        Picture("energy", "whether the sampler reached all energies", plots.energy),
    )


def answers(fit: Fit) -> Answers:
    """Ask the fit the two questions; every number is over draws, none is of means.

    Examples
    --------
    >>> import bayesmix as bm
    >>> fit = bm.fit(bm.BinomialGLM(FORMULA, PRIORS), bm.datasets.census(), seed=1)
    >>> round(answers(fit).share, 1)
    0.8
    """
    men = {"sex": [1, 1], "edu": ["Bachelors", "Prof School"]}
    probability = fit.curves(men)["probability"].to_numpy()
    women = {"sex": [0], "edu": ["Doctorate"], "total": [WOMEN]}
    above = fit.sample(women)["high"]
    low, high = above.quantile([0.05, 0.95]).to_numpy()
    group = (fit.data["edu"] == "Doctorate") & (fit.data["sex"] == 0)
    return Answers(
        share=float((probability[:, 0] > probability[:, 1]).mean()),
        bachelors=float(probability[:, 0].mean()),
        prof_school=float(probability[:, 1].mean()),
        mean=float(above.mean()),
        sd=float(above.std(ddof=1)),
        low=float(low),
        high=float(high),
        observed=int(fit.data.loc[group, "high"].sum()),
    )


@dataclass
class _Clock:
    """Seconds of each stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start


def main(
    out: Annotated[Path, typer.Option(help="Folder for the figures and the fit.")] = Path(
        "build/demo"
    ),
    seed: Annotated[int, typer.Option(help="The same seed gives the same numbers.")] = 1,
    draws: Annotated[int | None, typer.Option(help="Draws of each chain.")] = None,
) -> None:
    """Fit the census with varying slopes by NUTS, say what it means, and draw every figure."""
    from rich.console import Console

    with errors_in_one_line():
        _run(out, seed, draws, Console(highlight=False))


def _run(out: Path, seed: int, draws: int | None, console: Console) -> None:
    clock = _Clock()
    _make_folder(out)
    _print_model(console)
    with clock.stage("load libraries and data"):
        import bayesmix as bm

        model, data = bm.BinomialGLM(FORMULA, PRIORS), bm.datasets.census()
        method = bm.NUTS() if draws is None else bm.NUTS(draws=draws)
    with clock.stage("fit"):
        fit, compiled = _fitted(model, data, method, seed)
    with clock.stage("summarise and diagnose"):
        table, diagnosis = fit.summary(), fit.diagnose()
    _print_summary(console, table, fit)
    _print_diagnosis(console, diagnosis)
    with clock.stage("answer the questions"):
        found = answers(fit)
    _print_answers(console, found)
    with clock.stage("write the fit"):
        written = [(fit.save(out / "census.nc"), "the fit: bayesmix.load reads it back")]
    with clock.stage("draw the figures"):
        written += _drawn(fit, out)
    _print_files(console, out, written)
    _print_times(console, clock, compiled)


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FitFileError(f"cannot write into {str(out)!r}: {error.strerror or error}") from error


def _fitted(model: Any, data: Any, method: Any, seed: int) -> tuple[Fit, bool]:
    """The fit, and whether it had to compile."""
    from bayesmix import workflow
    from bayesmix.compiled import cache

    before = len(cache.entries())
    fit = workflow.fit(model, data, method=method, seed=seed)
    return fit, len(cache.entries()) > before or cache.problem() is not None


def _drawn(fit: Fit, out: Path) -> list[tuple[Path, str]]:
    from bayesmix.progress import reporter

    written, todo = [], pictures()
    with reporter(True) as report:
        for i, picture in enumerate(todo):
            report("figures", i / len(todo))
            written.append((_saved(picture, fit, out), picture.shows))
        report("figures", 1.0)
    return written


def _saved(picture: Picture, fit: Fit, out: Path) -> Path:
    path = out / f"{picture.file}.png"
    try:
        picture.draw(fit).savefig(path, dpi=200)
    except OSError as error:
        raise FitFileError(f"cannot write {str(path)!r}: {error.strerror or error}") from error
    return path


def _print_model(console: Console) -> None:
    _rule(console, "Sex, education and income")
    console.print(QUESTION)
    console.print(f"\n  [bold]{FORMULA}[/bold]\n")
    console.print(MODEL + "\n", style="dim")


def _rule(console: Console, title: str) -> None:
    console.print()
    console.rule(f"[bold]{title}", align="left")


def _plain_table(*columns: tuple[str, Any]) -> Any:
    from rich.table import Table

    headed = any(header for header, _ in columns)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=headed)
    for header, justify in columns:
        table.add_column(header, justify=justify, header_style="bold", no_wrap=bool(header))
    return table


def _print_summary(console: Console, summary: Any, fit: Fit) -> None:
    _rule(console, "What the parameters are")
    numbers = {"mean": ".3f", "sd": ".3f", "q5": ".3f", "q95": ".3f", "ess_bulk": ",.0f"}
    numbers["rhat"] = ".3f"
    heads = ("mean", "sd", "5 %", "95 %", "ESS", "R-hat")
    table = _plain_table(("parameter", "left"), *((head, "right") for head in heads))
    for label, row in summary.iterrows():
        cells = [format(row[name], style) for name, style in numbers.items()]
        table.add_row(str(label).replace("[", r"\["), *cells)
    console.print(table)
    sizes = fit.tree["posterior"].sizes
    drawn = f"{sizes['chain']} chains of {sizes['draw']:,} draws, seed {fit.seed}."
    console.print("\n" + LABELS.replace("[", r"\["), drawn, style="dim")


def _print_diagnosis(console: Console, diagnosis: Diagnosis) -> None:
    _rule(console, "Can the draws be believed?")
    console.print(diagnosis.verdict, style="bold green" if diagnosis.ok else "bold red")
    colours = {"pass": "green", "warn": "yellow", "fail": "red"}
    table = _plain_table(("", "left"), ("", "left"))
    for finding in diagnosis.findings:
        level = f"[{colours[finding.level]}]{finding.level}[/]"
        table.add_row(level, finding.message.replace("[", r"\["))
    for note in diagnosis.notes:
        table.add_row("note", note.replace("[", r"\["))
    console.print(table)


def _print_answers(console: Console, found: Answers) -> None:
    from rich.padding import Padding

    _rule(console, "Two questions")
    for question, answer in (
        (
            "Are men with a Bachelor's degree more likely to earn above 50K than men with a "
            "professional-school degree?",
            f"[bold]With probability {found.share:.3f}[/bold], the share of posterior draws in "
            f"which they are. The chances themselves are {100 * found.bachelors:.1f} % and "
            f"{100 * found.prof_school:.1f} %.",
        ),
        (
            f"How many of {WOMEN} women with a doctorate earn above 50K?",
            f"[bold]About {found.mean:.1f}[/bold] (sd {found.sd:.1f}), and {found.low:.0f} to "
            f"{found.high:.0f} with probability 0.9. In the data {found.observed} do.",
        ),
    ):
        console.print(question)
        console.print(Padding(answer, (0, 0, 1, 2)))


def _print_files(console: Console, out: Path, written: list[tuple[Path, str]]) -> None:
    _rule(console, f"Files in {out}")
    table = _plain_table(("", "left"), ("", "left"))
    for path, shows in written:
        table.add_row(path.name, shows)
    console.print(table)


def _print_times(console: Console, clock: _Clock, compiled: bool) -> None:
    from bayesmix.compiled import cache

    _rule(console, "Time")
    table = _plain_table(("", "left"), ("", "right"))
    for name, seconds in clock.seconds.items():
        table.add_row(name, f"{seconds:.1f} s")
    table.add_row("[bold]in all[/bold]", f"[bold]{sum(clock.seconds.values()):.1f} s[/bold]")
    console.print(table)
    if problem := cache.problem():
        console.print(f"\n{problem}.", style="dim")
        return
    text = (
        "The model was compiled in this run, which takes some seconds of the fit. The next fit of "
        "it, in any process and to any data of these shapes, finds the code in"
        if compiled
        else "Nothing had to be compiled: the code of an earlier run was found in"
    )
    console.print(f"\n{text} {cache.folder()}.", style="dim")


if __name__ == "__main__":
    typer.run(main)
