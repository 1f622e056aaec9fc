"""Piecewise regression by hard assignment: every row belongs to exactly one line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from bayesmix.design import formula as formulas
from bayesmix.design import table as tables
from bayesmix.design.linear import Linear, orthonormal
from bayesmix.design.spread import require_rows, require_target
from bayesmix.design.targets import RegressionTarget, read_target
from bayesmix.errors import DataError, FormulaError, SpecError, listed
from bayesmix.mixtures import algebra, clusterwise
from bayesmix.mixtures.components import Gaussian
from bayesmix.protocols import Array, Design, DistributionFunction, HasComponents, HasEM, Params
from bayesmix.specs import check_count, check_number

_STARTS_PER_RUN = 20
"""Random starts behind each distinct solution that is handed out."""
_LOOKED_AT = 2000
_LEAST = 1e-12


@dataclass(frozen=True, eq=False)
class _State:
    target: RegressionTarget
    linear: Linear


@dataclass(frozen=True)
class PiecewiseRegression(HasEM, HasComponents):
    r"""Lines through rows that each belong to one of them: the hard twin of a mixture of experts.

    .. math:: \min_{\beta,\,z} \sum_i \big(y_i - x_i^\top\beta_{z_i}\big)^2,
              \quad z_i \in \{0, \dots, K-1\},

    by classification EM: each row to its nearest line, each line to its rows, until nothing moves.
    The sum of squares (``sse`` in ``fit_stats``) decides convergence and compares restarts. For
    densities and predictions the fit is read as the mixture whose classification likelihood it
    maximises: a weight for each piece, its share of the rows, and one scale, the root of SSE / n.
    Hard assignment overlooks that rows near a crossing may belong to either line, so the lines are
    biased away from one another; :class:`MixtureOfExperts` is not.

    Parameters
    ----------
    formula
        ``target ~ predictors``, numbers or categories.
    n_pieces
        K.
    pins
        Two values (low, high) of the first numeric predictor: rows below low stay in the first
        piece, rows above high in the last. None pins nothing.

    Raises
    ------
    SpecError, FormulaError
        Pins that are no pair low <= high; a formula with group effects.

    References
    ----------
    Spath (1979), doi:10.1007/BF02265317; Celeux & Govaert (1992),
    doi:10.1016/0167-9473(92)90042-E.

    Examples
    --------
    >>> import bayesmix as bm
    >>> model = PiecewiseRegression("target ~ x", n_pieces=3)
    >>> fit = bm.fit(model, bm.datasets.one_to_many(), seed=1)
    >>> round(float(fit.tree["fit_stats"]["sse"][-1]), 6)
    0.497309
    """

    formula: str = "target ~ x"
    n_pieces: int = 3
    pins: Any = None
    default_method: ClassVar[str] = "em"
    objective: ClassVar[str] = "sse"
    component: ClassVar[str] = "piece"

    def __post_init__(self) -> None:
        formulas.split(self.formula)
        check_count("PiecewiseRegression", "n_pieces", self.n_pieces)
        if self.pins is not None:
            if not isinstance(self.pins, (tuple, list)) or len(self.pins) != 2:
                raise SpecError(f"pins must be two numbers (low, high) or None, got {self.pins!r}")
            low, high = (check_number("PiecewiseRegression", "pins", v) for v in self.pins)
            if low > high:
                raise SpecError(f"pins must be (low, high) with low <= high, got {self.pins!r}")
            object.__setattr__(self, "pins", (low, high))

    def design(self, data: Any) -> Design:
        """Arrays ``y`` (obs) and ``X`` (obs, X_column), and ``pinned`` (obs): a piece, or -1."""
        if isinstance(data, Design):
            return data
        table = tables.frame(data)
        lhs, rhs = formulas.split(self.formula)
        target = read_target(lhs, "gaussian", table)
        target.require_name()
        predictors = tables.columns(table, formulas.variables(rhs))
        if target.name in predictors:
            raise FormulaError(f"the target {target.name!r} stands on both sides of the formula")
        linear = Linear.of("", self.component, rhs, predictors)
        taken = [name for name in linear.dims() if name in ("weight", "scale")]
        if taken:
            raise DataError(
                f"a piecewise regression has a parameter {listed(taken)} of its own; rename the "
                "predictor"
            )
        n = len(table)
        if self.n_pieces > n:
            raise DataError(f"{self.n_pieces} pieces need as many rows, got {n}; use fewer")
        orthonormal(linear.columns(n), linear.labels)
        columns = pd.concat([predictors, target.columns(table)], axis=1)
        return self._assemble(linear, target, target.values(table), columns)

    def new_design(self, data: Any, trained: Design) -> Design:
        """New rows; the target may be absent."""
        table = tables.frame(data)
        state: _State = trained.state
        names = [str(name) for name in trained.columns if name != state.target.name]
        predictors = tables.columns(table, names)
        values = state.target.new_values(table)
        return self._assemble(state.linear.new(predictors), state.target, values, predictors)

    def _assemble(
        self,
        linear: Linear,
        target: RegressionTarget,
        values: dict[str, Array],
        columns: pd.DataFrame,
    ) -> Design:
        n = len(columns)
        offset = None if linear.matrices is None else linear.matrices.offset
        arrays = {"X": linear.columns(n), "offset": np.zeros(n) if offset is None else offset}
        arrays |= {"pinned": self._pinned(linear, arrays["X"]), **values}
        dims = {name: ("obs", "X_column") if name == "X" else ("obs",) for name in arrays}
        coords: dict[str, tuple[Any, ...]] = {"piece": tuple(range(self.n_pieces))}
        coords |= {"X_column": linear.labels, **linear.coords()}
        return Design(arrays, dims, coords, columns, target.name, _State(target, linear))

    def _pinned(self, linear: Linear, x: Array) -> Array:
        """The piece that each row is held in, -1 where it is free."""
        free = np.full(len(x), -1)
        if self.pins is None:
            return free
        numeric = [t for t in linear.terms if t.scalar and t.name != "Intercept"]
        if not numeric:
            raise SpecError(f"pins need a numeric predictor, and {self.formula!r} has none")
        value = x[:, numeric[0].columns.start]
        free[value < self.pins[0]] = 0
        free[value > self.pins[1]] = self.n_pieces - 1
        return free

    def dims(self, design: Design) -> dict[str, tuple[str, ...]]:
        own = design.state.linear.dims()
        return {**own, "weight": (self.component,), "scale": ()}

    def check_outcome(self, design: Design) -> None:
        require_target(design.target, design.arrays["y"])

    def require_outcome(self, design: Design) -> None:
        if "y" not in design.arrays:
            design.state.target.refuse()

    # --- the executable equation ------------------------------------------------------------------

    def locs(self, params: Params, design: Design) -> Array:
        """Each line at each row, (sample, obs, piece)."""
        lead = (len(params["scale"]), self.n_pieces)
        coef = design.state.linear.gather(params, lead)
        loc = np.einsum("np,skp->snk", design.arrays["X"], coef, optimize=True)
        return loc + design.arrays["offset"][:, None]

    def _log_weights(self, params: Params, design: Design) -> Array:
        with np.errstate(divide="ignore"):
            log_weight = np.log(params["weight"])[:, None, :]
        held = design.arrays["pinned"]
        own = np.where(held[:, None] == np.arange(self.n_pieces), 0.0, -np.inf)
        return np.where((held >= 0)[None, :, None], own, log_weight)

    def log_parts(self, params: Params, data: Any) -> tuple[Array, Array]:
        design = self.design(data)
        rows = {"target": design.arrays["y"][:, None]}
        spread = np.log(np.maximum(params["scale"], _LEAST))[:, None, None]
        part = Gaussian(0.0).log_density(rows, self.locs(params, design), spread)
        return self._log_weights(params, design), part

    def log_density(self, params: Params, data: Any) -> Array:
        return algebra.log_density(*self.log_parts(params, data))

    def curves(self, params: Params, data: Any) -> dict[str, Array]:
        """``weight`` and ``loc``, each (sample, obs, piece)."""
        design = self.design(data)
        loc = self.locs(params, design)
        weight = np.exp(self._log_weights(params, design)) + np.zeros_like(loc)
        return {"weight": weight, "loc": loc}

    def moments(self, params: Params, data: Any) -> tuple[Array, Array]:
        curves = self.curves(params, data)
        variance = np.zeros_like(curves["loc"]) + params["scale"][:, None, None] ** 2
        return algebra.moments(curves["weight"], curves["loc"], variance)

    def cdf(self, params: Params, data: Any) -> DistributionFunction:
        curves = self.curves(params, data)
        spread = np.log(params["scale"])[:, None, None]

        def below(at: Array, rows: Array | slice = slice(None), *, above: bool = False) -> Array:
            function = Gaussian(0.0).sf if above else Gaussian(0.0).cdf
            each = function({}, at[:, None], curves["loc"][:, rows], spread)
            return (curves["weight"][:, rows] * each).sum(axis=2)

        return below

    def simulate(self, params: Params, data: Any, rng: np.random.Generator) -> dict[str, Array]:
        """One target and its ``component`` for each sample and row."""
        design = self.design(data)
        loc = self.locs(params, design)
        chosen = algebra.choose(rng, self._log_weights(params, design) + np.zeros_like(loc))
        own = np.take_along_axis(loc, chosen[..., None], 2)[..., 0]
        noise = params["scale"][:, None] * rng.standard_normal(own.shape)
        return {design.target: own + noise, "component": chosen}

    def relabel(self, params: Params, data: Any) -> tuple[Params, Array]:
        """Pieces by their line at the data's centre; pinned pieces stay where they are pinned."""
        design = self.design(data)
        n_samples = len(params["scale"])
        straight = np.tile(np.arange(self.n_pieces), (n_samples, 1))
        if self.pins is not None:
            return params, straight
        coef = design.state.linear.gather(params, (n_samples, self.n_pieces))
        order = np.argsort(coef @ design.arrays["X"].mean(axis=0), axis=1, kind="stable")
        dims = self.dims(design)
        return {
            name: np.take_along_axis(v, order.reshape(*order.shape, *[1] * (v.ndim - 2)), 1)
            if self.component in dims[name]
            else v
            for name, v in params.items()
        }, order

    def ordered(self, params: Params, data: Any) -> Params:
        return self.relabel(params, data)[0]

    # --- classification EM ------------------------------------------------------------------------

    def em_starts(self, data: Any, rng: np.random.Generator, count: int) -> list[Params]:
        """Distinct local optima, each the best of many random starts."""
        design = self.design(data)
        require_rows("this model", design.n_obs, self.n_free(design), "use fewer pieces")
        few = np.sort(rng.choice(design.n_obs, min(design.n_obs, _LOOKED_AT), replace=False))
        x, to_raw = orthonormal(design.arrays["X"], design.state.linear.labels)
        y = design.arrays["y"] - design.arrays["offset"]
        pinned = design.arrays["pinned"]
        total = _STARTS_PER_RUN * max(count, 1)
        starts = clusterwise.starts(rng, x[few], y[few], self.n_pieces, total)
        lines = clusterwise.descend(x[few], y[few], starts, pinned[few])
        return [
            self._named(lines.coef[i] @ to_raw.T, design) for i in lines.distinct(max(count, 1))
        ]

    def em_step(self, params: Params, data: Any) -> tuple[Params, float]:
        """Each row to its nearest line, each line to its rows; the SSE before the step."""
        design = self.design(data)
        x, to_raw = orthonormal(design.arrays["X"], design.state.linear.labels)
        y = design.arrays["y"] - design.arrays["offset"]
        raw = design.state.linear.gather(params, (self.n_pieces,))
        coef = np.linalg.solve(to_raw, raw.T).T[None]
        pinned = design.arrays["pinned"]
        before = float(clusterwise.assign(x, y, coef, pinned)[1].sum())
        after = clusterwise.descend(x, y, coef, pinned, max_iter=1)
        return self._named(after.coef[0] @ to_raw.T, design), before

    def n_free(self, design: Design) -> int:
        """Coefficients of every line, the shares and the scale."""
        return self.n_pieces * design.arrays["X"].shape[1] + self.n_pieces

    def _named(self, coef: Array, design: Design) -> dict[str, Array]:
        y = design.arrays["y"] - design.arrays["offset"]
        chosen, squares = clusterwise.assign(
            design.arrays["X"], y, coef[None], design.arrays["pinned"]
        )
        share = np.bincount(chosen[0], minlength=self.n_pieces) / design.n_obs
        scale = np.sqrt(squares.mean())
        return {
            **design.state.linear.scatter(coef),
            "weight": share,
            "scale": np.asarray(max(scale, _LEAST)),
        }
