"""Tables of a fit: which rows to show, information criteria, and LaTeX."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from bayesmix.errors import MissingCapability, SpecError
from bayesmix.prediction import Fitted
from bayesmix.specs import check_choice, check_number

PARTS = ("all", "population", "groups")
FOLDED_FROM = 40
"""Effects of groups that fill a screen; more are folded into one line unless they are asked for."""
_ESCAPED = {"_": r"\_", "%": r"\%", "&": r"\&", "#": r"\#", "|": r"$\vert$", "~": r"$\sim$"}


def ends(prob: float) -> tuple[float, float]:
    """The two probabilities between which a central interval of this mass lies.

    Raises
    ------
    SpecError
        The mass is not in (0, 1).
    """
    mass = check_number("summary", "prob", prob, low=0, high=1, strict=True)
    return round((1 - mass) / 2, 12), round((1 + mass) / 2, 12)


def chosen(table: pd.DataFrame, only: str | None) -> pd.DataFrame:
    """The rows that were asked for; by default, the effects of many groups as one line.

    Raises
    ------
    SpecError
        ``only`` is not one of the parts.
    """
    of_groups = np.array([_is_of_group(label) for label in table.index], dtype=bool)
    if only is not None:
        check_choice("summary", "only", only, PARTS)
        keep = {"all": of_groups | True, "population": ~of_groups, "groups": of_groups}[only]
        return table[keep]
    if of_groups.sum() <= FOLDED_FROM:
        return table
    names = [label.rsplit("[", 1)[0] for label in table.index[of_groups]]
    lines = [f"{name}: {names.count(name)} groups, only='all'" for name in dict.fromkeys(names)]
    folded = pd.DataFrame(index=lines, columns=table.columns)
    folded = folded.astype({c: t for c, t in table.dtypes.items() if t.kind == "f"})
    return pd.concat([table[~of_groups], folded])


def _is_of_group(label: str) -> bool:
    """Whether a label is that of one group's effect, such as ``1|edu[HS Grad]``."""
    return "|" in label.split("[", 1)[0]


def information(fit: Fitted) -> pd.Series:
    r"""Log-likelihood, degrees of freedom, rows, AIC and BIC.

    .. math:: \mathrm{AIC} = 2k - 2\log L, \qquad \mathrm{BIC} = k\log n - 2\log L.

    Rows count as often as their case weights say.

    With group effects, L is the marginal likelihood and k counts the population's parameters.

    Raises
    ------
    MissingCapability
        The fit has no maximised likelihood.
    """
    attrs = fit.tree.attrs
    if attrs.get("objective") != "log_likelihood" or "n_parameters" not in attrs:
        raise MissingCapability(
            f"information() is of fits by maximum likelihood ('mle' or 'em'), and this one is by "
            f"{fit.method.name!r}; bm.compare() says which of several fits predicts best"
        )
    value = float(fit.tree["fit_stats"]["log_likelihood"].to_numpy()[-1])
    k, n = int(attrs["n_parameters"]), fit.design.n_cases
    entries = {"log_likelihood": value, "df": k, "n_obs": n}
    entries |= {"AIC": 2 * k - 2 * value, "BIC": k * math.log(n) - 2 * value}
    return pd.Series(entries, name="information")


def latex(table: pd.DataFrame, *, digits: int = 3, caption: str = "") -> str:
    r"""A table as LaTeX with the rules of the package booktabs; ``DataFrame.to_csv`` writes CSV.

    Examples
    --------
    >>> print(latex(pd.DataFrame({"mean": [1.25]}, ["sex"]), digits=2))
    \begin{tabular}{lr}
    \toprule
     & mean \\
    \midrule
    sex & 1.2 \\
    \bottomrule
    \end{tabular}
    """
    if not isinstance(table, pd.DataFrame):
        raise SpecError(f"latex() takes a data frame, got {type(table).__name__}")
    numeric = [kind.kind in "iuf" for kind in table.dtypes]
    columns = "l" + "".join("r" if one else "l" for one in numeric)
    body = [
        " & ".join([_escaped(label), *(_cell(value, digits) for value in row)]) + r" \\"
        for label, row in zip(table.index, table.itertuples(index=False), strict=True)
    ]
    head = " & ".join(["", *(_escaped(name) for name in table.columns)]) + r" \\"
    lines = [r"\toprule", head, r"\midrule", *body, r"\bottomrule"]
    tabular = [rf"\begin{{tabular}}{{{columns}}}", *lines, r"\end{tabular}"]
    if caption:
        tabular = [
            r"\begin{table}", rf"\caption{{{_escaped(caption)}}}", *tabular, r"\end{table}"
        ]  # fmt: skip
    return "\n".join(tabular)


def _cell(value: object, digits: int) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.{digits}g}"
    return _escaped(value)


def _escaped(text: object) -> str:
    return "".join(_ESCAPED.get(letter, letter) for letter in str(text))
