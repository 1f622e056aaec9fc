"""From runs to spreads, ratios and the printed table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

Runs = Mapping[str, Sequence[Mapping[str, Any]]]
Spread = dict[str, float]

MEASURES = ("wall", "ess_bulk", "ess_tail", "rhat", "divergences", "ess_per_second")
RATIOS = ("wall", "ess_per_second")
OURS = "bayesmix"
EXTRAS = ("import", "second_fit", "maximum_likelihood")


def spread(values: Sequence[float]) -> Spread:
    """Median, least and greatest."""
    return {"median": median(values), "min": min(values), "max": max(values)}


def ratio(ours: Sequence[float], peer: Sequence[float]) -> Spread:
    """Ours over the peer's, round by round, so that a slow minute of the machine cancels."""
    return spread([x / y for x, y in zip(ours, peer, strict=True)])


def column(runs: Sequence[Mapping[str, Any]], measure: str) -> list[float]:
    """One measure over the rounds."""
    return [float(run[measure]) for run in runs]


def summarise(runs: Runs) -> dict[str, dict[str, Any]]:
    """Each contestant's spreads, and the ratios of ours to it."""
    table: dict[str, dict[str, Any]] = {}
    for name, own in runs.items():
        table[name] = {m: spread(column(own, m)) for m in MEASURES}
        if OURS in runs and name != OURS:
            table[name]["ours_over_peer"] = {
                m: ratio(column(runs[OURS], m), column(own, m)) for m in RATIOS
            }
    return table


def best_peer(table: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The peer with the highest median ESS per second."""
    peers = [name for name in table if name != OURS]
    return max(peers, key=lambda n: table[n]["ess_per_second"]["median"], default=None)


def render(
    table: Mapping[str, Mapping[str, Any]], failures: Mapping[str, str], notes: Mapping[str, str]
) -> str:
    """The table as text: contestants in their order, then those not measured, then the notes."""
    head = (
        "contestant",
        "wall s",
        "bulk ESS",
        "tail ESS",
        "R-hat",
        "div.",
        "ESS/s",
        "ours/peer wall",
        "ours/peer ESS/s",
    )
    rows = [head, *(row(name, own) for name, own in table.items())]
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(r, widths, strict=True)).rstrip()
        for r in rows
    ]
    lines += [f"{name}: absent ({reason})" for name, reason in failures.items()]
    lines += [f"note, {name}: {note}" for name, note in notes.items() if note]
    return "\n".join(lines)


def row(name: str, own: Mapping[str, Any]) -> tuple[str, ...]:
    """One contestant's cells."""
    ratios = own.get("ours_over_peer", {})
    return (
        name,
        cell(own["wall"], ".2f"),
        cell(own["ess_bulk"], ".0f"),
        cell(own["ess_tail"], ".0f"),
        cell(own["rhat"], ".3f"),
        cell(own["divergences"], ".0f"),
        cell(own["ess_per_second"], ".1f"),
        *(cell(ratios[m], ".2f") if ratios else "-" for m in RATIOS),
    )


def cell(values: Spread, form: str) -> str:
    """``median (min-max)``."""
    return f"{values['median']:{form}} ({values['min']:{form}}-{values['max']:{form}})"


def render_extras(report: Mapping[str, Any]) -> list[str]:
    """Import, second fit and maximum likelihood, a line each; an absent one with its reason."""
    lines = [
        *seconds("import bayesmix (goal 0.25)", report["import"], "seconds"),
        *seconds("second fit, new data (goal 0.5)", report["second_fit"], "second"),
        *seconds("second fit, diagnosed", report["second_fit"], "second_diagnosed"),
    ]
    likelihood = report["maximum_likelihood"]
    for name in ("bayesmix-mle", "lme4"):
        lines += seconds(f"maximum likelihood, {name}", likelihood.get(name, {}), "wall")
    if "ours_minus_lme4" in likelihood:
        worst = max(map(abs, likelihood["ours_minus_lme4"].values()))
        times = cell(likelihood["ours_over_lme4_wall"], ".2f")
        lines.append(f"bayesmix-mle over lme4: {times} in wall time; estimates within {worst:.1e}")
    absent = [report[part].get("absent", {}) for part in EXTRAS]
    lines += [f"{name}: absent ({why})" for part in absent for name, why in part.items()]
    return lines


def seconds(what: str, part: Mapping[str, Any], key: str) -> list[str]:
    """One line of a spread of seconds; none where it was not measured."""
    return [f"{what}: {cell(part[key], '.3f')} s"] if key in part else []
