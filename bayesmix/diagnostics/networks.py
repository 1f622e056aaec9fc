"""Networks on rows that they were not trained on, beside those that they were, and a line."""

from __future__ import annotations

import xarray as xr

from bayesmix.diagnostics.finding import Finding, Level

LOSS = 0.05
"""Nats per row that a network may lose to a straight line on rows held out, by chance."""
GAP = 1.0
"""Nats per row between rows trained on and rows held out that a reader should know of."""


def check_held_out(tree: xr.DataTree) -> Finding | None:
    """Does a network know rows that it has not seen, better than a straight line does?"""
    if not tree.attrs.get("network") or "fit_stats" not in tree.children:
        return None
    stats = {str(k): float(v.mean()) for k, v in tree["fit_stats"].data_vars.items()}
    if "validation_nll" not in stats:
        message = (
            "No rows were held out, so nothing says whether this network has learned the noise. "
            "Use the default method, or give the optimiser a share for `validation`."
        )
        return Finding("held_out", "warn", float("nan"), float("nan"), "", message)
    held, line, train = (stats[k] for k in ("validation_nll", "line_nll", "train_nll"))
    found = (
        f"On rows held out the NLL per row is {held:.3f}, on the rows trained on {train:.3f}; a "
        f"straight line with Gaussian noise has {line:.3f} on rows held out"
    )
    level, advice = _judged(held, line, train)
    return Finding("held_out", level, held, line, "", f"{found}{advice}")


def _judged(held: float, line: float, train: float) -> tuple[Level, str]:
    if not held <= line + LOSS:
        return "fail", (
            ": the network loses, so it has learned the noise of its own rows. Use the default "
            "method, which stops on rows held out, fewer `hidden` units, or more weight decay."
        )
    if held == line:
        return "pass", ": no network did better, so the fit is that line."
    if held > line:
        return "warn", ": the network gains nothing over the line."
    if held - train > GAP:
        return "warn", (
            ". It knows its own rows much better than new ones: quote the NLL of rows held out, "
            "and try more weight decay or more rows."
        )
    return "pass", "."
