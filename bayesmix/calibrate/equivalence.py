"""Equivalence of a spec and a PyMC model written by hand: is it the same posterior?"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bayesmix import rng as random
from bayesmix.calibrate import arithmetic
from bayesmix.calls import named
from bayesmix.errors import DataError, MissingCapability, SpecError, UnknownName, listed, suggestion
from bayesmix.protocols import Array, Design, HasPrior
from bayesmix.specs import check_count

_RELATIVE, _ABSOLUTE = 1e-11, 1e-6
"""Rounding that is forgiven, of log densities: far below any difference between two models."""

_LEAST_DRAWS = 5
"""Fewer draws at which both densities are finite prove nothing."""


@dataclass(frozen=True)
class Equivalence:
    """Whether two log posteriors differ by one constant, and where they differ if not.

    Parameters
    ----------
    same
        Whether they are one posterior; it is also the truth value of the whole.
    constant
        The median difference of log densities, PyMC's minus the package's.
    spread
        The largest distance of a difference from that constant, in nats; 0 but for rounding where
        the posteriors are the same.
    parts
        Of ``"prior"`` and ``"likelihood"``, those that differ by more than a constant.
    variables
        Parameters, as the package names them, whose change alone changes the difference; the one
        that matters most comes first.
    draws
        At how many draws from the prior both densities were finite.
    """

    same: bool
    constant: float
    spread: float
    parts: tuple[str, ...]
    variables: tuple[str, ...]
    draws: int

    def __bool__(self) -> bool:
        return self.same

    def __str__(self) -> str:
        return textwrap.fill(self._sentence, 88)

    @property
    def _sentence(self) -> str:
        at = f"at {self.draws} draws from the prior"
        if self.same:
            return (
                f"The same posterior: the log densities differ by {self.constant:.6g} {at}, "
                f"give or take {self.spread:.1g}."
            )
        return (
            f"Another posterior: the log densities differ by no single constant (by up to "
            f"{self.spread:.3g} from {self.constant:.3g}) {at}. What differs is the "
            f"{' and the '.join(self.parts)}, most of all with {listed(self.variables)}."
        )

    def __repr__(self) -> str:
        return str(self)


@dataclass(frozen=True, eq=False)
class _Terms:
    """Log prior and log likelihood of the difference between the two models, each (sample,)."""

    prior: Array
    likelihood: Array

    @property
    def total(self) -> Array:
        return self.prior + self.likelihood


@named
def same_posterior(
    model: Any,
    data: Any,
    pymc_model: Any,
    names: Mapping[str, str] | None = None,
    draws: int = 50,
    seed: int = 0,
) -> Equivalence:
    r"""Whether a PyMC model written by hand has the posterior of a spec, up to a constant.

    Parameters :math:`\theta` are drawn from the spec's prior and carried to the variables
    :math:`T(\theta)` of the PyMC model. The posteriors are the same if

    .. math:: \log p_{\mathrm{PyMC}}(T(\theta), y) + \log|\det \partial T / \partial\theta|
              - \log p(\theta, y)

    is one number at all of them. Derivatives are exact (a complex step).

    Parameters
    ----------
    model, data
        A spec with a prior, and its data.
    pymc_model
        A ``pm.Model`` whose data are observed. Its variables without observations must be
        continuous; deterministic ones do not matter.
    names
        For each of its variables the value in terms of the spec's parameters:
        ``{"alpha": "1|edu + Intercept", "sigma": "sigma_edu[Intercept]"}``. Allowed are names,
        entries by label, numbers, ``+ - * /``, brackets, ``exp``, ``log``, ``sqrt`` and
        ``stack(first, second)``, which joins along a new last axis. A variable that is not
        mentioned has the name that it has in the spec.
    draws, seed
        How many draws from the prior, and the seed that gives them.

    Returns
    -------
    Equivalence
        ``bool(...)`` is the answer, ``str(...)`` says it in a sentence.

    Raises
    ------
    MissingCapability, SpecError, UnknownName, DataError
        The spec has no prior; not a PyMC model; a name that is not there, or an expression that
        does not fit its variable; no draw at which both densities are finite.

    References
    ----------
    Squire & Trapp (1998), doi:10.1137/S003614459631241X, on the complex step.

    Examples
    --------
    >>> import bayesmix as bm, pymc as pm
    >>> census = bm.datasets.census()
    >>> priors = {"Intercept": bm.Normal(0, 10), "sex": bm.Normal(0, 1)}
    >>> spec = bm.BinomialGLM("p(high, total) ~ sex", priors=priors)
    >>> with pm.Model() as by_hand:
    ...     a, b = pm.Normal("a", 0, 10), pm.Normal("b", 0, 1)
    ...     logit = a + b * census["sex"].to_numpy()
    ...     _ = pm.Binomial("high", n=census["total"], logit_p=logit, observed=census["high"])
    >>> bool(same_posterior(spec, census, by_hand, {"a": "Intercept", "b": "sex"}))
    True
    """
    if not isinstance(model, HasPrior):
        raise MissingCapability(
            f"same_posterior needs a spec with a prior; {type(model).__name__} has none"
        )
    check_count("same_posterior", "draws", draws, low=_LEAST_DRAWS)
    design = model.design(data)
    params = model.draw_prior(design, random.stream(random.check_seed(seed), "prior"), draws)
    pair = _Pair(model, design, _Handwritten.of(pymc_model), dict(names or {}))
    return _verdict(pair, {name: np.asarray(value) for name, value in params.items()})


def _verdict(pair: _Pair, params: dict[str, Array]) -> Equivalence:
    terms, size = pair.differences(params)
    finite = np.isfinite(terms.total) & np.isfinite(size)
    if finite.sum() < _LEAST_DRAWS:
        raise DataError(
            f"both densities are finite at {finite.sum()} of {len(finite)} draws from the prior; "
            "give narrower priors, the same in both models, or more draws"
        )
    differences = {
        "prior": terms.prior[finite],
        "likelihood": terms.likelihood[finite],
        "total": terms.total[finite],
    }
    away = {part: np.abs(d - np.median(d)) for part, d in differences.items()}
    differing = [part for part, d in away.items() if (d > _rounding(size[finite])).any()]
    same = "total" not in differing
    return Equivalence(
        same=same,
        constant=float(np.median(differences["total"])),
        spread=float(away["total"].max()),
        parts=() if same else tuple(part for part in differing if part != "total"),
        variables=() if same else pair.culprits(params, terms, size),
        draws=int(finite.sum()),
    )


def _rounding(size: Array) -> Array:
    """What log densities of a size may differ by and still be the same number."""
    return _ABSOLUTE + _RELATIVE * np.abs(size)


@dataclass(frozen=True, eq=False)
class _Handwritten:
    """A PyMC model without its transforms: shapes of its free variables, and two densities."""

    shapes: dict[str, tuple[int, ...]]
    prior: Any
    likelihood: Any

    @classmethod
    def of(cls, given: Any) -> _Handwritten:
        import pymc as pm
        from pymc.model.transform.conditioning import remove_value_transforms

        if not isinstance(given, pm.Model):
            raise SpecError(
                f"pymc_model must be a pm.Model, got a {type(given).__name__}; write "
                "'with pm.Model() as by_hand: ...' and give by_hand"
            )
        discrete = [value.name for value in given.discrete_value_vars]
        if discrete or not given.observed_RVs or not given.free_RVs:
            raise SpecError(
                "pymc_model must have observed variables and continuous free ones; "
                f"observed: {listed(v.name for v in given.observed_RVs)}, free: "
                f"{listed(v.name for v in given.free_RVs)}, of these discrete: {listed(discrete)}"
            )
        plain = remove_value_transforms(given)
        start = plain.initial_point()
        shapes = {v.name: np.shape(start[v.name]) for v in plain.value_vars}
        free = plain.compile_logp([*plain.free_RVs, *plain.potentials], jacobian=False)
        return cls(shapes, free, plain.compile_logp(plain.observed_RVs, jacobian=False))


@dataclass(frozen=True, eq=False)
class _Pair:
    """A spec and a PyMC model, and how the variables of the one follow from those of the other."""

    model: HasPrior
    design: Design
    handwritten: _Handwritten
    names: dict[str, str]

    def __post_init__(self) -> None:
        unknown = [name for name in self.names if name not in self.handwritten.shapes]
        if unknown:
            raise UnknownName(
                f"names: the PyMC model has no free variable {unknown[0]!r}: "
                f"{suggestion(unknown[0], self.handwritten.shapes)}"
            )

    def differences(self, params: dict[str, Array]) -> tuple[_Terms, Array]:
        """PyMC's log densities minus the package's, and the size of the package's total."""
        count = len(next(iter(params.values())))
        with np.errstate(all="ignore"):
            prior = np.asarray(self.model.log_prior(params, self.design), dtype=float)
            likelihood = self.model.log_density(params, self.design).sum(axis=1)
            theirs = np.array([self._theirs(params, sample) for sample in range(count)])
            terms = _Terms(theirs[:, 0] - prior, theirs[:, 1] - likelihood)
        return terms, prior + likelihood

    def _theirs(self, params: dict[str, Array], sample: int) -> tuple[float, float]:
        point = {name: value[sample] for name, value in params.items()}
        values = {name: np.real(value) for name, value in self._carried(point).items()}
        prior = float(self.handwritten.prior(values)) + self._log_jacobian(point)
        return prior, float(self.handwritten.likelihood(values))

    def _carried(self, point: dict[str, Array]) -> dict[str, Array]:
        """The PyMC model's variables at a point of the spec's."""
        dims, coords = self.model.dims(self.design), self.design.coords
        found = {}
        for name, shape in self.handwritten.shapes.items():
            text = self.names.get(name, name)
            value = arithmetic.value(text, point, dims, coords)
            if value.size != int(np.prod(shape)):
                raise SpecError(
                    f"names: {name!r} has shape {shape} in the PyMC model, and {text!r} has shape "
                    f"{value.shape}"
                )
            found[name] = value.reshape(shape)
        return found

    def _log_jacobian(self, point: dict[str, Array]) -> float:
        step = 1e-30
        columns = []
        for name, value in point.items():
            for entry in _free_entries(name, value):
                moved = np.array(value, dtype=complex)
                for place in entry:
                    moved[place] += 1j * step
                carried = self._carried({**point, name: moved})
                columns.append(
                    np.concatenate([np.imag(v).ravel() for v in carried.values()]) / step
                )
        matrix = np.array(columns).T
        if matrix.shape[0] != matrix.shape[1]:
            raise SpecError(
                f"the PyMC model has {matrix.shape[0]} free numbers and the spec has "
                f"{matrix.shape[1]}; give each variable of {listed(self.handwritten.shapes)} in "
                f"terms of {listed(point)}"
            )
        sign, value = np.linalg.slogdet(matrix)
        if sign == 0:
            raise SpecError(
                "names: two variables of the PyMC model are given the same value, or one does "
                f"not depend on any parameter; names were {self.names}"
            )
        return float(value)

    def culprits(self, params: dict[str, Array], terms: _Terms, size: Array) -> tuple[str, ...]:
        """Parameters that, taken from another draw, change the difference; the largest first."""
        moved = {}
        for name, value in params.items():
            changed, other = self.differences({**params, name: np.roll(value, 1, axis=0)})
            change = np.abs(changed.total - terms.total)
            usable = np.isfinite(change) & np.isfinite(size) & np.isfinite(other)
            beyond = change > _rounding(size) + _rounding(other)
            if (beyond & usable).any():
                moved[name] = float(np.median(change[usable]))
        return tuple(sorted(moved, key=lambda name: -moved[name]))


def _free_entries(name: str, value: Array) -> list[list[tuple[int, ...]]]:
    """Places of an array that move together: one each, of a correlation matrix a mirrored pair."""
    if name.startswith("corr_"):
        rows, columns = np.triu_indices(len(value), 1)
        return [[(int(i), int(j)), (int(j), int(i))] for i, j in zip(rows, columns, strict=True)]
    return [[place] for place in np.ndindex(value.shape)]
