"""A ranking of models: a table, a verdict and notes, as text, as a page and for JSON."""

from __future__ import annotations

import html
import math
import textwrap
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import pandas as pd


class Ranking(ABC):
    """Models in order, the best first."""

    criterion: str
    table: pd.DataFrame
    notes: tuple[str, ...]

    @property
    def best(self) -> str:
        """Name of the model that ranks first."""
        return str(self.table.index[0])

    @property
    @abstractmethod
    def verdict(self) -> str:
        """One sentence."""

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings and lists for JSON; what is not finite becomes None."""
        rows = self.table.reset_index(names="model").to_dict("records")
        return {
            "criterion": self.criterion,
            "verdict": self.verdict,
            "table": [{str(k): _plain(v) for k, v in row.items()} for row in rows],
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        shown = self.table.to_string(float_format=lambda value: f"{value:.2f}")
        notes = [textwrap.fill(f"- {note}", 100, subsequent_indent="  ") for note in self.notes]
        return "\n".join([self.verdict, shown, *notes])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in self.notes)
        table = self.table.to_html(float_format=lambda value: f"{value:.2f}")
        return f"<p><b>{html.escape(self.verdict)}</b></p>{table}<ul>{notes}</ul>"


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value
    number = float(value)
    if not math.isfinite(number):
        return None
    return int(value) if isinstance(value, (int, np.integer)) else number
