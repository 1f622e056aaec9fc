r"""Regressor: any model of the package as an estimator of scikit-learn.

``predict`` is the mean :math:`\mathrm E(y \mid x)`, ``score`` the mean log predictive density
:math:`\frac1n \sum_i \log p(y_i \mid x_i)`, which rewards a right distribution where R squared sees
the mean alone. So cross-validation and searches over grids choose by it.
"""

from __future__ import annotations

from typing import Any, Self, cast

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from bayesmix import workflow
from bayesmix.models.experts.spec import MixtureOfExperts
from bayesmix.protocols import Array, Model

TARGET = "y"


class Regressor(RegressorMixin, BaseEstimator):
    """A model and a method with scikit-learn's ``fit``, ``predict`` and ``score``.

    Parameters
    ----------
    model
        A spec. The columns of X keep their names where X is a data frame, else they are ``x0``,
        ``x1``, ...; the target is the name that the model gives it. None is a straight line with
        Gaussian noise.
    method
        A method or its name; ``"auto"`` is the family's choice.
    seed
        A whole number; the same seed gives the same numbers.

    Attributes
    ----------
    fit_
        The :class:`bayesmix.Fit`.
    n_features_in_
        Columns of X.

    Examples
    --------
    >>> import bayesmix as bm
    >>> from sklearn.datasets import load_diabetes
    >>> x, y = load_diabetes(return_X_y=True)
    >>> round(bm.Regressor().fit(x[:300], y[:300]).score(x[300:], y[300:]), 1)
    -5.4
    """

    def __init__(self, model: Any = None, method: Any = "auto", seed: int = 0) -> None:
        self.model = model
        self.method = method
        self.seed = seed

    def fit(self, X: Any, y: Any) -> Self:
        """Fit the model to rows X (obs, column) and targets y (obs,)."""
        checks: dict[str, Any] = {"dtype": "numeric", "y_numeric": True, "ensure_min_samples": 2}
        rows, target = cast("Any", validate_data)(self, X, y, **checks)
        table = self._table(rows)
        model, method = self.model, self.method
        if model is None:
            model = self._line(table)
            method = "em" if method == "auto" else method
        name = _target(model)
        table = table.assign(**{name: np.asarray(target, dtype=float)})
        self.fit_ = workflow.fit(model, table, method=method, seed=self.seed, progress=False)
        return self

    def predict(self, X: Any) -> Array:
        """The mean of the target at each row."""
        check_is_fitted(self)
        table = self._table(cast("Any", validate_data)(self, X, dtype="numeric", reset=False))
        design, params = self.fit_.estimated(table)
        return self.fit_.model.moments(params, design)[0].mean(axis=0)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Mean log predictive density of y given X, weighted if weights are given."""
        check_is_fitted(self)
        checks: dict[str, Any] = {"dtype": "numeric", "y_numeric": True, "reset": False}
        rows, target = cast("Any", validate_data)(self, X, y, **checks)
        table = self._table(rows).assign(**{_target(self.fit_.model): target})
        density = self.fit_.log_density(table).to_numpy()
        return float(np.average(density, weights=sample_weight))

    def _table(self, rows: Array) -> pd.DataFrame:
        names = getattr(self, "feature_names_in_", None)
        names = [f"x{i}" for i in range(rows.shape[1])] if names is None else names
        return pd.DataFrame(np.asarray(rows, dtype=float), columns=list(names))

    def _line(self, table: pd.DataFrame) -> Model:
        """A straight line by the columns that vary and add something to those before."""
        own: list[str] = []
        centred = table - table.mean()
        for name in table.columns:
            wider = centred[[*own, name]].to_numpy()
            size = np.linalg.norm(wider, axis=0)
            if size[-1] > 0 and np.linalg.matrix_rank(wider / size, tol=1e-8) == len(own) + 1:
                own.append(str(name))
        sides = " + ".join(f"`{name}`" for name in own[: max(1, len(table) - 3)]) or "1"
        return MixtureOfExperts(f"{TARGET} ~ {sides}", n_experts=1, gate="1", scale="constant")

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn's checks need to know: the score is a log density, not R squared."""
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True
        return tags


def _target(model: Any) -> str:
    """The column that a model explains."""
    named = getattr(model, "target", None)
    if isinstance(named, tuple) and len(named) == 1:
        return str(named[0])
    return str(getattr(model, "formula", f"{TARGET} ~ 1")).split("~")[0].strip(" `")
