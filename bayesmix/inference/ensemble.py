"""Ensembles: one point method run several times, its results mixed with equal weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from bayesmix import rng as random
from bayesmix.errors import NotConverged, SpecError
from bayesmix.inference.mle import MLE
from bayesmix.networks.recipe import fit_members
from bayesmix.protocols import Array, Design, HasNetwork, HasTorch, Method, Posterior, Report
from bayesmix.specs import check_count


@dataclass(frozen=True)
class Ensemble(Method):
    r"""Members that differ in their random starts and, if wanted, in the rows that they see.

    .. math:: p(y \mid x) = \frac1M \sum_{m=1}^M p_m(y \mid x)

    is the predictive distribution: members stand where draws do elsewhere, and ``log_density``,
    ``sample`` and ``predict`` average over them. Networks are trained side by side; how long and
    how strictly, rows held out decide once for all members.

    Parameters
    ----------
    method
        A method that gives a point: ``MLE(...)``, ``EM(...)``, ``MAP(...)``.
    members
        M.
    bootstrap
        Give every member as many rows as there are, drawn with replacement. Without it, a method
        that starts alike every time gives M equal members.

    Raises
    ------
    SpecError
        The method is itself an ensemble, or gives draws.

    References
    ----------
    Lakshminarayanan, Pritzel & Blundell (2017), arXiv:1612.01474.

    Examples
    --------
    >>> Ensemble(MLE(), members=5).members
    5
    """

    method: Any = field(default_factory=MLE)
    members: int = 5
    bootstrap: bool = False
    requires: ClassVar[type] = HasTorch
    name: ClassVar[str] = "ensemble"

    def __post_init__(self) -> None:
        if not isinstance(self.method, Method) or isinstance(self.method, Ensemble):
            raise SpecError(f"Ensemble: method must be one such as MLE(), got {self.method!r}")
        # what an ensemble needs of a model is what its method needs
        object.__setattr__(self, "requires", self.method.requires)
        check_count("Ensemble", "members", self.members, low=2)
        if not isinstance(self.bootstrap, bool):
            raise SpecError(f"Ensemble: bootstrap must be True or False, got {self.bootstrap!r}")

    def run(self, model: Any, design: Design, *, seed: int, progress: Report) -> Posterior:
        """Run every member."""
        rows = [self._rows(design, seed, i) for i in range(self.members)]
        if isinstance(model, HasNetwork) and isinstance(self.method, MLE):
            return fit_members(self.method.recipe, model, design, rows, seed, progress)
        found = [self._one(model, design, rows[i], seed, i, progress) for i in range(self.members)]
        names = [name for name in found[0].stats if np.ndim(found[0].stats[name]) == 0]
        stats = {name: np.stack([one.stats[name] for one in found]) for name in names}
        objective = str(found[0].attrs.get("objective", ""))
        if objective in found[0].stats:
            stats[f"final_{objective}"] = np.array([one.stats[objective][-1] for one in found])
        attrs = {"engine": "point", "objective": objective}
        params = {k: np.stack([one.params[k] for one in found]) for k in found[0].params}
        dims = dict.fromkeys(stats, ("member",))
        return Posterior(params, stats, dims, sampled=False, attrs=attrs, members=True)

    def _rows(self, design: Design, seed: int, member: int) -> Array | None:
        if not self.bootstrap:
            return None
        chosen = random.stream(seed, f"bootstrap {member}").integers(
            design.n_obs, size=design.n_obs
        )
        return np.sort(chosen)

    def _one(
        self, model: Any, design: Design, rows: Array | None, seed: int, i: int, progress: Report
    ) -> Posterior:
        """One member, on its rows, with a seed of its own."""
        own = design if rows is None else design.rows(rows)
        try:
            found = self.method.run(
                model, own, seed=random.integer(random.stream(seed, f"member {i}")),
                progress=lambda phase, share: progress("ensemble", (i + share) / self.members),
            )  # fmt: skip
        except NotConverged as error:
            raise NotConverged(f"member {i} of the ensemble: {error}") from error
        if found.sampled:
            raise SpecError(
                f"Ensemble: {type(self.method).__name__} gives draws, which are many members "
                "already; use a method that gives a point, such as MLE()"
            )
        return found
