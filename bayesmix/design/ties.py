"""Ties: targets with few distinct values, of which a density says little."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bayesmix.protocols import Array

_FEW = 20
"""Distinct values up to which a target is a list of values rather than a measurement."""
_OFTEN = 0.05
"""Share of the rows with one and the same value that a measurement does not have by chance."""
_REPEATED = 10
"""Rows with one value below which such a share may be chance."""


def notes(names: Sequence[str], values: Array | None) -> list[str]:
    """A sentence for each target (obs, output) that has few distinct values, or one too often.

    Examples
    --------
    >>> import numpy as np
    >>> notes(["quality"], np.repeat([[5.0], [6.0]], 50, axis=0))[0][:49]
    'quality has 2 distinct values in 100 rows, all wh'
    """
    if values is None:
        return []
    found = (_note(name, own) for name, own in zip(names, values.T, strict=True))
    return [note for note in found if note]


def _note(name: str, values: Array) -> str | None:
    distinct, counts = np.unique(values, return_counts=True)
    most = int(counts.argmax())
    if len(distinct) <= _FEW and len(values) >= 3 * len(distinct):
        whole = ", all whole numbers" if (distinct == distinct.round()).all() else ""
        return (
            f"{name} has {len(distinct)} distinct values in {len(values):,} rows{whole}: a density "
            "of them is a convention. Peaks at the values can be as narrow as floor lets them, and "
            "the NLL with them; judge such a fit by probabilities of the values, or take a model "
            "of counts or of categories."
        )
    if counts[most] >= _REPEATED and counts[most] >= _OFTEN * len(values):
        return (
            f"{counts[most]:,} of {len(values):,} rows have {name} = {distinct[most]:g}: a peak "
            "there can be as narrow as floor lets it, and the NLL says little about the other "
            "rows. Model those rows apart (a limit of the instrument, or none of the thing)."
        )
    return None
