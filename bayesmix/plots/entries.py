"""Which parameters a figure shows, and the arguments that every figure checks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from bayesmix import protocols
from bayesmix.errors import SpecError, UnknownName, brief, suggestion
from bayesmix.protocols import Array
from bayesmix.result import Fit
from bayesmix.tree import read
from bayesmix.tree.entries import labelled

Names = str | Sequence[str] | None


@dataclass(frozen=True)
class Entries:
    """Scalar entries of parameters.

    Parameters
    ----------
    labels
        Such as ``1|edu[Doctorate]``.
    owners
        The parameter that each belongs to, ``1|edu``.
    draws
        Shape (chain, draw, entry).
    """

    labels: list[str]
    owners: list[str]
    draws: Array

    def __iter__(self) -> Iterator[tuple[str, Array]]:
        """Label and draws (chain, draw) of each entry."""
        return zip(self.labels, self.draws.transpose(2, 0, 1), strict=True)

    def called(self, name: Any) -> list[int]:
        """Positions of the entries that a name stands for; none when nothing has that name."""
        pairs = zip(self.labels, self.owners, strict=True)
        return [i for i, pair in enumerate(pairs) if name in pair]

    def at(self, positions: Sequence[int]) -> Entries:
        """Some of the entries."""
        kept = list(positions)
        labels, owners = ([column[i] for i in kept] for column in (self.labels, self.owners))
        return Entries(labels, owners, self.draws[..., kept])


def select(fit: Any, names: Names, what: str, *, limit: int = 24) -> Entries:
    """The entries asked for, from the posterior of one fit.

    Parameters
    ----------
    names
        Parameters (``"1|edu"``) or single entries (``"1|edu[Doctorate]"``). None means the
        population's: everything but the deviations of groups.
    what
        The caller, for error messages.
    limit
        Most entries that the figure can hold.

    Raises
    ------
    NoDraws
        The fit is a point estimate.
    UnknownName
        A name that no parameter has.
    SpecError
        More entries than the figure can hold.
    """
    found = entries(read.require_draws(one(fit, what).tree, what), names)
    if len(found.labels) > limit:
        raise SpecError(
            f"{what} would draw {len(found.labels)} panels, {limit} fit on a page: choose some "
            f"with names={found.labels[:2]!r}"
        )
    return found


def wanted(names: Names) -> list[Any] | None:
    """The names asked for as a list; None for the population's."""
    if names is None:
        return None
    if not isinstance(names, Iterable):
        raise SpecError(f"names must be a parameter or a list of them, got {brief(names)}")
    listed_names = [names] if isinstance(names, str) else list(names)
    if not listed_names:
        raise SpecError("names must hold at least one parameter; leave it out for the population's")
    if not all(isinstance(name, str) for name in listed_names):
        raise SpecError(f"names must be strings, such as 'sex', got {brief(names)}")
    return listed_names


def everything(values: xr.Dataset) -> Entries:
    """Every distinct entry of a group of a tree."""
    labels, draws = labelled(values)
    owners = [str(name) for name in values.data_vars for _ in labelled(values[[name]])[0]]
    return Entries(labels, owners, draws)


def entries(values: xr.Dataset, names: Names) -> Entries:
    """The named entries of a group of a tree; each once, in the order of the names."""
    found, asked = everything(values), wanted(names)
    if asked is None:
        return found.at([i for i, owner in enumerate(found.owners) if "|" not in owner])
    chosen: dict[int, None] = {}
    for name in asked:
        hits = found.called(name)
        if not hits:
            raise UnknownName(f"no parameter is called {name!r}: {_hint(str(name), found)}")
        chosen |= dict.fromkeys(hits)
    return found.at(list(chosen))


def _hint(name: str, found: Entries) -> str:
    """The closest entries when an entry was asked for, else the closest parameters."""
    inside = [label for label in found.labels if label.startswith(f"{name.split('[')[0]}[")]
    return suggestion(name, inside if "[" in name and inside else dict.fromkeys(found.owners))


def one(fit: Any, what: str) -> Fit:
    """The fit, or an error that says what else was given."""
    if not isinstance(fit, Fit):
        raise SpecError(
            f"{what} needs a fit, as bayesmix.fit() returns it, got {type(fit).__name__}"
        )
    return fit


def several(fits: Any, what: str) -> dict[str, Fit]:
    """A mapping of names to fits; a single fit has no name."""
    if isinstance(fits, Fit):
        return {"": fits}
    good = isinstance(fits, Mapping) and fits and all(isinstance(f, Fit) for f in fits.values())
    if not good:
        raise SpecError(
            f"{what} needs a fit or a mapping such as {{'NUTS': fit, 'ADVI': other}}, "
            f"got {brief(fits)}"
        )
    return {str(name): fit for name, fit in fits.items()}


def divergent(fit: Fit, shape: tuple[int, int]) -> Array:
    """Which draws ended in a divergent transition, (chain, draw); none where it is not recorded."""
    stats = fit.tree.children.get("sample_stats")
    if stats is None or "diverging" not in stats.data_vars:
        return np.zeros(shape, dtype=bool)
    return stats["diverging"].transpose(*protocols.SAMPLE_DIMS).to_numpy().astype(bool)
