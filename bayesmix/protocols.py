"""The waist of the house: what a model offers, what a method needs, what passes between them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from bayesmix.calls import Named

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[Any]
Params = Mapping[str, Array]
"""Named parameters; every array carries one leading ``sample`` axis before its own dims."""
DATA = "data "
"""Prefix that keeps a ``pm.Data`` apart from a user's column of the same name."""
CASE_WEIGHT = "case_weight"
"""The array of a design that says how many cases each row stands for."""


@dataclass(frozen=True, eq=False)
class Design:
    """Data as one model sees it: the numbers in its equation, named and labelled.

    Parameters
    ----------
    arrays
        Every array that the equation reads, by name. ``pymc_model`` registers each one that it
        uses as ``pm.Data`` of the same name, with or without the prefix :data:`DATA`, so that new
        data never recompile.
    dims
        The named dims of each array; ``obs`` runs over rows.
    coords
        Labels of every dim but ``obs``.
    columns
        The columns of the user's data that were read, unchanged; they are stored with the fit.
    target
        Name of the observed variable, the first of several.
    state
        What the family needs to build a design for new rows; derived from ``columns``.
    targets
        Names of the observed variables where there may be several; empty means ``target`` alone.
    """

    arrays: Mapping[str, Array]
    dims: Mapping[str, tuple[str, ...]]
    coords: Mapping[str, tuple[Hashable, ...]]
    columns: pd.DataFrame
    target: str
    state: Any = field(default=None, repr=False)
    targets: tuple[str, ...] = ()

    @property
    def observed(self) -> tuple[str, ...]:
        """Names of all observed variables."""
        return self.targets or (self.target,)

    def rows(self, chosen: slice | Array) -> Design:
        """The same design for some of its rows."""
        arrays = {
            name: array[chosen] if self.dims[name][:1] == ("obs",) else array
            for name, array in self.arrays.items()
        }
        return replace(self, arrays=arrays, columns=self.columns.iloc[chosen])

    @property
    def n_obs(self) -> int:
        """Number of rows."""
        return len(self.columns)

    @property
    def case_weight(self) -> Array | None:
        """How many cases each row stands for (obs,); None where each is one."""
        return self.arrays.get(CASE_WEIGHT)

    @property
    def n_cases(self) -> float:
        """Number of rows, or the sum of their case weights."""
        return self.n_obs if self.case_weight is None else float(self.case_weight.sum())


class Model(Named, ABC):
    """A spec: frozen, hashable, JSON round trip; it holds no data and no state.

    ``data`` is a data frame, a mapping of columns or a :class:`Design` throughout.
    """

    default_method: ClassVar[str]
    entry: ClassVar[str] = "log_density"

    @abstractmethod
    def design(self, data: Any) -> Design:
        """Check the data and build the arrays of the equation; a Design passes through."""

    @abstractmethod
    def new_design(self, data: Any, trained: Design) -> Design:
        """The design of new rows, with the levels and transforms of the training data."""

    @abstractmethod
    def dims(self, design: Design) -> dict[str, tuple[str, ...]]:
        """The parameters that a fit reports, in order, each with its named dims."""

    @abstractmethod
    def log_density(self, params: Params, data: Any) -> Array:
        """Pointwise log-likelihood, NumPy: the executable equation. Shape (sample, obs)."""

    @abstractmethod
    def simulate(self, params: Params, data: Any, rng: np.random.Generator) -> dict[str, Array]:
        """One outcome for each sample and row, under the target's own name: (sample, obs)."""

    @abstractmethod
    def curves(self, params: Params, data: Any) -> dict[str, Array]:
        """The family's own functions of the predictors, such as a probability: (sample, obs)."""

    @abstractmethod
    def moments(self, params: Params, data: Any) -> tuple[Array, Array]:
        """Mean and variance of the target given the parameters, each (sample, obs)."""

    def complete(self, params: Params, design: Design, rng: np.random.Generator) -> Params:
        """Parameters for rows that training never saw (a new group: drawn from its population)."""
        del design, rng
        return params

    @abstractmethod
    def require_outcome(self, design: Design) -> None:
        """Raise a DataError unless the rows hold an outcome to be scored."""

    def check_outcome(self, design: Design) -> None:
        """Raise a DataError where no method could learn from this outcome; asked before each fit.

        :meth:`design` takes such an outcome, as the place of one that is to be simulated.
        """
        del design

    def notes(self, design: Design) -> list[str]:
        """Sentences about this data that a reader of the fit should know; none by default."""
        del design
        return []


class HasPrior(Model):
    """Capability: a proper prior that can be evaluated and drawn from in NumPy."""

    entry: ClassVar[str] = "draw_prior"

    @abstractmethod
    def log_prior(self, params: Params, data: Any) -> Array:
        """Log prior density of the reported parameters. Shape (sample,)."""

    @abstractmethod
    def draw_prior(self, data: Any, rng: np.random.Generator, draws: int) -> dict[str, Array]:
        """Draws of the reported parameters from their prior."""

    def prior_table(self, design: Design) -> dict[str, str]:
        """The prior in force by parameter, or by entry of one: ``"Normal(0, 5.3)"``.

        In the units of the data: that of one coefficient, whatever the others are.
        """
        del design
        return {}


class HasPyMC(HasPrior):
    """Capability: the model in PyMC."""

    entry: ClassVar[str] = "pymc_model"

    @abstractmethod
    def pymc_model(self, data: Any) -> Any:
        """A ``pm.Model`` whose data are ``pm.Data`` named as in the design."""


class HasTorch(Model):
    """Capability: the likelihood in PyTorch, for maximum likelihood."""

    entry: ClassVar[str] = "torch_module"

    @abstractmethod
    def torch_module(self, data: Any) -> Any:
        """A ``Likelihood`` (:mod:`bayesmix.networks.likelihood`) with parameters at a start."""

    @abstractmethod
    def from_torch(self, module: Any, data: Any) -> tuple[dict[str, Array], dict[str, Array]]:
        """The reported parameters of a module, and standard errors of those that it predicts.

        The second mapping holds parameters that are not maximised over but predicted given the
        others (group deviations); errors of the rest are the method's business.
        """


class HasGroups(HasTorch):
    """Capability: Gaussian group effects, integrated out of the likelihood; there may be none."""

    entry: ClassVar[str] = "grouped"

    @abstractmethod
    def grouped(self, data: Any) -> Any:
        """The data of the likelihood, a ``GroupedLogit`` (:mod:`bayesmix.marginal.likelihood`)."""

    @abstractmethod
    def population(self, marginal: Any, point: Array, design: Design) -> dict[str, Array]:
        """The reported parameters that the flat vector of a ``Marginal`` determines."""

    @abstractmethod
    def deviations(
        self, marginal: Any, point: Array, design: Design
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """Group effects predicted given the rest, and their conditional standard deviations."""


class HasNetwork(HasTorch):
    """Capability: a neural network, trained on standard units from random starts."""

    entry: ClassVar[str] = "trainable"

    @abstractmethod
    def trainable(self, data: Any, rows: Array | None = None) -> Any:
        """The network with its data, a ``Task`` (:mod:`bayesmix.networks.task`).

        ``rows`` are those that train; units are theirs, not those of rows held out.
        """

    @abstractmethod
    def named(self, full: Params, design: Design) -> dict[str, Array]:
        """The network's parameters in the shapes that a fit reports."""


class HasEM(Model):
    """Capability: expectation maximisation. Params here have no sample axis: one point."""

    entry: ClassVar[str] = "em_step"
    objective: ClassVar[str] = "log_likelihood"

    @abstractmethod
    def em_starts(self, data: Any, rng: np.random.Generator, count: int) -> list[Params]:
        """Up to ``count`` distinct rough solutions, most promising first."""

    def em_roots(self, params: Params, data: Any) -> dict[str, Array]:
        """A square root of the covariance at a maximum, as ``Posterior.roots``; none by default."""
        del params, data
        return {}

    def em_moves(self, params: Params, data: Any) -> list[Params]:
        """Solutions unlike ``params`` in one respect, to climb from; none by default."""
        del params, data
        return []

    def em_wider(self, params: Params, data: Any, rng: np.random.Generator) -> Params:
        """The best solution of a wider search than restarts are; ``params`` where none is better.

        For samplers, which cannot leave a lower maximum; none is made by default.
        """
        del data, rng
        return params

    @abstractmethod
    def em_step(self, params: Params, data: Any) -> tuple[Params, float]:
        """One E-step and M-step; returns new parameters and the objective before the step."""

    @abstractmethod
    def n_free(self, design: Design) -> int:
        """Number of free parameters, as BIC counts them."""

    def em_finish(self, params: Params, data: Any) -> tuple[Params, dict[str, Array], float]:
        """The stationary point near ``params``, standard errors there, and the largest gradient.

        Where EM itself ends at a stationary point, as by default, there is nothing to do.
        """
        del data
        return params, {}, 0.0


class HasModes(HasPyMC):
    """Capability: starting values where a posterior with several modes is highest."""

    entry: ClassVar[str] = "modes"

    @abstractmethod
    def modes(self, data: Any, rng: np.random.Generator) -> list[Params]:
        """Values of PyMC's free variables near the best modes known, best first, no sample axis."""


@dataclass(frozen=True)
class Guide:
    """A Gaussian without correlations over PyMC's free variables: means and spreads by name."""

    mean: dict[str, Array]
    spread: dict[str, Array]


class HasGuides(HasPyMC):
    """Capability: approximations to begin variational inference at, where others collapse."""

    entry: ClassVar[str] = "guides"

    @abstractmethod
    def guides(self, data: Any, rng: np.random.Generator) -> list[Guide]:
        """Rough Gaussian approximations; no sample axis."""


class DistributionFunction(Protocol):
    """Probability of a target of at most ``at``, for each sample."""

    def __call__(
        self, at: Array, rows: Array | slice = slice(None), *, above: bool = False
    ) -> Array:
        """Of values (value), each for one of the ``rows``, by default all: (sample, value).

        With ``above`` the probability of a larger target, with all its digits where that is small.
        """
        ...


class HasComponents(Model):
    """Capability: a mixture. Components run along the last axis."""

    entry: ClassVar[str] = "log_parts"
    component: ClassVar[str]

    @abstractmethod
    def log_parts(self, params: Params, data: Any) -> tuple[Array, Array]:
        """Log weights, and log densities of the target: each (sample, obs, component)."""

    @abstractmethod
    def cdf(self, params: Params, data: Any) -> DistributionFunction:
        """The target's distribution function; what depends on the rows alone is computed here."""

    @abstractmethod
    def relabel(self, params: Params, data: Any) -> tuple[Params, Array]:
        """Every sample in one order of components, and where each came from.

        The second value holds positions (sample, component) in the samples given.
        """

    @abstractmethod
    def ordered(self, params: Params, data: Any) -> Params:
        """Each sample's components in an order that is a function of that sample alone.

        Calibration compares true values with draws in this order: :meth:`relabel` looks at all
        samples at once, so that averages mean something, and that is no function of one.
        """


@dataclass(frozen=True)
class Posterior:
    """What a method hands back to the workflow.

    Parameters
    ----------
    params
        Reported parameters: leading axes (chain, draw) for draws, none for a point estimate.
    stats
        Sampler statistics by (chain, draw), or objectives by iteration, by name.
    stat_dims
        Dims of each entry of ``stats``.
    sampled
        True for draws (groups ``posterior`` and ``sample_stats``), False for a point
        (``estimate`` and ``fit_stats``).
    fit_stats
        Objective traces of an optimiser behind draws (ELBO), and scalars.
    errors
        Standard errors of a point estimate, under the parameters' names.
    roots
        A square root of the covariance of a point estimate, by parameter: its own axes and one of
        independent directions, so that ``estimate + root @ z`` with standard normal z are points
        that the data leave plausible.
    members
        True where several points lead with an axis ``member``, which then ``sampled`` excludes.
    """

    params: dict[str, Array]
    stats: dict[str, Array]
    stat_dims: Mapping[str, tuple[str, ...]]
    sampled: bool
    fit_stats: dict[str, Array] = field(default_factory=dict[str, Array])
    fit_stat_dims: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    errors: dict[str, Array] = field(default_factory=dict[str, Array])
    roots: dict[str, Array] = field(default_factory=dict[str, Array])
    attrs: dict[str, Any] = field(default_factory=dict[str, Any])
    members: bool = False


Report = Callable[[str, float], None]
"""Progress: a phase and the share of it that is done, in [0, 1]."""


class Method(Named, ABC):
    """A method: a frozen value with typed fields."""

    requires: ClassVar[type[Model]]
    name: ClassVar[str]

    @abstractmethod
    def run(self, model: Any, design: Design, *, seed: int, progress: Report) -> Posterior:
        """Fit ``model`` to ``design``; the same seed gives the same numbers."""


SAMPLE_DIMS = ("chain", "draw")
