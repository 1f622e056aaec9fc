r"""Priors as frozen values: one equation each, in NumPy and in PyMC.

In a family of :class:`IndependentPriors` every entry of every free variable has its own. A
parameter with a prior of its own is a free variable as it is; one with a default prior is a linear
function of free variables in standard coordinates, which know no units, so that
:math:`\log p(\theta) = \log p(u) - \log\lvert\partial\theta/\partial u\rvert`, the last a constant.
"""

from __future__ import annotations

import ast
import importlib
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from bayesmix.calls import Named, named
from bayesmix.errors import SpecError, UnknownName, listed, suggestion
from bayesmix.errors import brief as shown
from bayesmix.protocols import Array, Design, HasPrior, Params
from bayesmix.specs import check_number

LOG_2PI = math.log(2 * math.pi)


def _pymc() -> Any:
    """PyMC, imported when a model is built and not before."""
    return importlib.import_module("pymc")


def _exact(value: float) -> Any:
    """A constant that PyTensor keeps in double precision; it narrows plain Python floats."""
    return np.float64(value)


class Prior(Named, ABC):
    """A univariate prior: ``log_density`` and ``draw`` in NumPy, ``pymc`` inside a PyMC model."""

    support_low: float = -math.inf

    @abstractmethod
    def log_density(self, x: Any) -> Array:
        """Normalised log density at ``x``, elementwise; -inf outside the support."""

    @abstractmethod
    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        """Independent draws of the given shape."""

    @abstractmethod
    def pymc(self, name: str, **kwargs: Any) -> Any:
        """The random variable of that name; call inside a ``pm.Model`` context."""


@dataclass(frozen=True)
class Normal(Prior):
    r"""Normal: :math:`-\frac12 z^2 - \log\sigma - \frac12\log 2\pi`, :math:`z=(x-\mu)/\sigma`.

    Parameters
    ----------
    loc, scale
        Mean and standard deviation, in the units of the parameter.

    Examples
    --------
    >>> round(float(Normal(0, 1).log_density(0.0)), 4)
    -0.9189
    """

    loc: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "loc", check_number("Normal", "loc", self.loc))
        scale = check_number("Normal", "scale", self.scale, low=0, strict=True)
        object.__setattr__(self, "scale", scale)

    def log_density(self, x: Any) -> Array:
        z = (np.asarray(x, dtype=float) - self.loc) / self.scale
        return -0.5 * z**2 - math.log(self.scale) - 0.5 * LOG_2PI

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        return rng.normal(self.loc, self.scale, shape)

    def pymc(self, name: str, **kwargs: Any) -> Any:
        return _pymc().Normal(name, _exact(self.loc), _exact(self.scale), **kwargs)


@dataclass(frozen=True)
class HalfCauchy(Prior):
    r"""Half-Cauchy prior on :math:`x \ge 0`, density :math:`2 / (\pi s (1 + (x/s)^2))`.

    Parameters
    ----------
    scale
        The median, in the units of the parameter.

    References
    ----------
    Gelman (2006), Bayesian Analysis 1(3), doi:10.1214/06-BA117A.
    """

    scale: float = 2.0
    support_low = 0.0

    def __post_init__(self) -> None:
        scale = check_number("HalfCauchy", "scale", self.scale, low=0, strict=True)
        object.__setattr__(self, "scale", scale)

    def log_density(self, x: Any) -> Array:
        x = np.asarray(x, dtype=float)
        inside = math.log(2 / math.pi / self.scale) - np.log1p((x / self.scale) ** 2)
        return np.where(x >= 0, inside, -np.inf)

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        return np.abs(self.scale * rng.standard_cauchy(shape))

    def pymc(self, name: str, **kwargs: Any) -> Any:
        return _pymc().HalfCauchy(name, _exact(self.scale), **kwargs)


@dataclass(frozen=True)
class HalfNormal(Prior):
    r"""Half-normal prior on :math:`x \ge 0`: a normal of scale ``scale`` folded at zero."""

    scale: float = 1.0
    support_low = 0.0

    def __post_init__(self) -> None:
        scale = check_number("HalfNormal", "scale", self.scale, low=0, strict=True)
        object.__setattr__(self, "scale", scale)

    def log_density(self, x: Any) -> Array:
        x = np.asarray(x, dtype=float)
        inside = math.log(2 / self.scale) - 0.5 * LOG_2PI - 0.5 * (x / self.scale) ** 2
        return np.where(x >= 0, inside, -np.inf)

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        return np.abs(rng.normal(0.0, self.scale, shape))

    def pymc(self, name: str, **kwargs: Any) -> Any:
        return _pymc().HalfNormal(name, _exact(self.scale), **kwargs)


@dataclass(frozen=True)
class Exponential(Prior):
    r"""Exponential prior on :math:`x \ge 0` with mean ``scale``."""

    scale: float = 1.0
    support_low = 0.0

    def __post_init__(self) -> None:
        scale = check_number("Exponential", "scale", self.scale, low=0, strict=True)
        object.__setattr__(self, "scale", scale)

    def log_density(self, x: Any) -> Array:
        x = np.asarray(x, dtype=float)
        return np.where(x >= 0, -x / self.scale - math.log(self.scale), -np.inf)

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        return rng.exponential(self.scale, shape)

    def pymc(self, name: str, **kwargs: Any) -> Any:
        return _pymc().Exponential(name, scale=_exact(self.scale), **kwargs)


@dataclass(frozen=True)
class StudentT(Prior):
    r"""Student-t prior with ``df`` degrees of freedom, location ``loc`` and scale ``scale``."""

    df: float = 4.0
    loc: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "loc", check_number("StudentT", "loc", self.loc))
        for name in ("df", "scale"):
            value = check_number("StudentT", name, getattr(self, name), low=0, strict=True)
            object.__setattr__(self, name, value)

    def log_density(self, x: Any) -> Array:
        nu = self.df
        norm = math.lgamma((nu + 1) / 2) - math.lgamma(nu / 2) - 0.5 * math.log(nu * math.pi)
        z = (np.asarray(x, dtype=float) - self.loc) / self.scale
        return norm - math.log(self.scale) - (nu + 1) / 2 * np.log1p(z**2 / nu)

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        return self.loc + self.scale * rng.standard_t(self.df, shape)

    def pymc(self, name: str, **kwargs: Any) -> Any:
        return _pymc().StudentT(
            name, nu=_exact(self.df), mu=_exact(self.loc), sigma=_exact(self.scale), **kwargs
        )


@dataclass(frozen=True)
class LKJ(Named):
    r"""Prior on a correlation matrix, density proportional to :math:`\det(R)^{\eta-1}`.

    In a C-vine the partial correlations :math:`r_{jk}` (j < k, given the first j variables) are
    independent and :math:`(r_{jk} + 1)/2 \sim \mathrm{Beta}(b_j, b_j)` with
    :math:`b_j = \eta + (d - 2 - j)/2` for variables 0..d-1, which is how it is sampled here.

    Parameters
    ----------
    eta
        1 is uniform over correlation matrices; larger values favour small correlations.

    References
    ----------
    Lewandowski, Kurowicka & Joe (2009), doi:10.1016/j.jmva.2009.04.008.
    """

    eta: float = 2.0

    def __post_init__(self) -> None:
        eta = check_number("LKJ", "eta", self.eta, low=0, strict=True)
        object.__setattr__(self, "eta", eta)

    def shapes(self, n: int) -> Array:
        """Beta parameters of the n(n-1)/2 partial correlations, in the order of :func:`pairs`."""
        return np.array([self.eta + (n - 2 - j) / 2 for j, _ in pairs(n)])


def pairs(n: int) -> list[tuple[int, int]]:
    """Pairs (j, k), j < k, in the order in which partial correlations are stored."""
    return [(j, k) for j in range(n) for k in range(j + 1, n)]


def check_effect_prior(name: str, prior: object) -> None:
    """Raise a SpecError unless the parameter of that name, or kind, can take this prior."""
    if name.startswith("corr"):
        if not isinstance(prior, LKJ):
            raise SpecError(f"the prior of {name!r} must be an LKJ, got {shown(prior)}")
    elif not isinstance(prior, Prior):
        raise SpecError(
            f"the prior of {shown(name)} must be a prior such as Normal(0, 1), got {shown(prior)}"
        )
    elif name.startswith("sigma") and prior.support_low < 0:
        raise SpecError(
            f"the prior of {name!r} must live on [0, inf), such as HalfNormal(1), "
            f"got {shown(prior)}"
        )


LOC_KINDS = ("loc", "gate", "scale")
"""Kinds of coefficients in a mixture: of the experts' locs, of the gate, of the log scale."""
ALL = "all"
"""The name under which one prior is given to every parameter of a mixture."""
STANDARD = "standard "
"""Prefix of a free variable that stands for a parameter in standard coordinates."""


def pairs_of(given: Any) -> dict[str, Any]:
    """Priors by name out of a mapping or of pairs.

    Raises
    ------
    SpecError
        Neither, or a name that is not a string.
    """
    try:
        mapping = isinstance(given, Mapping)
        pairs: dict[Any, Any] = dict(cast("Any", given).items() if mapping else given)
    except (TypeError, ValueError):
        what = shown(cast("object", given))
        raise SpecError(
            f"priors must be a mapping such as {{'x': Normal(0, 1)}}, got {what}"
        ) from None
    for name, prior in pairs.items():
        if not isinstance(name, str):
            raise SpecError(
                f"the prior of {shown(name)} must be a prior such as Normal(0, 1), by the name "
                f"of a parameter; got {shown(prior)}"
            )
    return pairs


def named_priors(given: Any) -> tuple[tuple[str, Prior], ...]:
    """Priors by name, however they were given, in order of their names; one alone is for all."""
    pairs = pairs_of({ALL: given} if isinstance(given, Prior) else given)
    for name, prior in pairs.items():
        if not isinstance(prior, Prior):
            raise SpecError(
                f"the prior of {name!r} must be a prior such as Normal(0, 1), got {shown(prior)}"
            )
    return tuple(sorted(pairs.items()))


def worded(prior: Prior) -> str:
    """``HalfCauchy(2)`` rather than ``HalfCauchy(scale=2.0)``."""
    values = ", ".join(f"{value:g}" for value in vars(prior).values())
    return f"{type(prior).__name__}({values})"


def kind_of(name: str) -> str:
    """The kind of one coefficient of a mixture of experts."""
    return next((k for k in ("gate", "scale") if name.startswith(f"{k}_")), "loc")


def given_prior(name: str, kind: str, given: Mapping[str, Prior]) -> Prior | None:
    """The prior given for one parameter of a mixture: its own, its kind's, or that for all."""
    return given.get(name) or given.get(kind) or given.get(ALL)


KINDS: dict[str, type[Prior] | type[LKJ]] = {
    kind.__name__: kind for kind in (Normal, HalfCauchy, HalfNormal, Exponential, StudentT, LKJ)
}


@named
def from_text(text: Any) -> Prior | LKJ:
    """A prior as it is typed, without evaluating anything but numbers.

    Raises
    ------
    SpecError, UnknownName
        The text is no prior, or one of a kind that does not exist.

    Examples
    --------
    >>> from_text("Normal(0, scale=2.5)")
    Normal(loc=0.0, scale=2.5)
    """
    wrong = f"{shown(text)} is not a prior; write one such as Normal(0, 1). Kinds: {listed(KINDS)}"
    if not isinstance(text, str):
        raise SpecError(wrong)
    try:
        call = ast.parse(text.strip(), mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            raise SpecError(wrong)
        given = [ast.literal_eval(node) for node in call.args]
        named = {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise SpecError(wrong) from error
    if call.func.id not in KINDS:
        raise UnknownName(f"unknown prior {call.func.id!r}: {suggestion(call.func.id, KINDS)}")
    try:
        return KINDS[call.func.id](*given, **named)
    except TypeError as error:
        raise SpecError(f"{text!r} does not fit {call.func.id}: {error}") from error


class IndependentPriors(HasPrior):
    """The prior of a family whose free variables each have their own."""

    @abstractmethod
    def prior(self, name: str) -> Prior:
        """The prior of each entry of one parameter, in standard units where none was given."""

    @abstractmethod
    def is_given(self, name: str) -> bool:
        """Whether the parameter has a prior of its own, in the units of the data."""

    @abstractmethod
    def reported(self, free: Params, design: Design) -> dict[str, Array]:
        """The reported parameters from free variables; any leading axes."""

    @abstractmethod
    def free(self, params: Params, design: Design) -> dict[str, Array]:
        """The free variables from reported parameters; any leading axes."""

    @abstractmethod
    def log_volume(self, design: Design) -> float:
        """log |d reported / d free|, a constant."""

    def free_name(self, name: str) -> str:
        """The free variable behind a parameter."""
        return name if self.is_given(name) else STANDARD + name

    def log_prior(self, params: Params, data: Any) -> Array:
        design = self.design(data)
        free = self.free(params, design)
        total = np.full(len(next(iter(params.values()))), -self.log_volume(design))
        for name in self.dims(design):
            density = self.prior(name).log_density(free[self.free_name(name)])
            total += density.reshape(len(total), -1).sum(axis=1)
        return total

    def draw_prior(self, data: Any, rng: np.random.Generator, draws: int) -> dict[str, Array]:
        design = self.design(data)
        free = {
            self.free_name(name): self.prior(name).draw(
                rng, (draws, *(len(design.coords[d]) for d in dims))
            )
            for name, dims in self.dims(design).items()
        }
        return self.reported(free, design)
