"""The No-U-Turn sampler: nutpie on cached native code, or PyMC's own."""

from __future__ import annotations

import importlib
import itertools
import sys
import types
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from bayesmix import interrupts, protocols
from bayesmix import rng as random
from bayesmix.chains import independence
from bayesmix.compiled.density import Target, target
from bayesmix.errors import NotConverged
from bayesmix.maxima.modes import Mode, best_mode
from bayesmix.protocols import Array, Design, HasModes, HasPyMC, Method, Posterior, Report
from bayesmix.specs import check_choice, check_count, check_number

_STATS = {
    "diverging": "diverging",
    "energy": "energy",
    "depth": "tree_depth",
    "n_steps": "n_steps",
    "step_size": "step_size",
    "logp": "lp",
    "mean_tree_accept": "acceptance_rate",
}


@dataclass(frozen=True)
class NUTS(Method):
    r"""No-U-Turn sampling of the posterior.

    Where a family knows that its posterior has several modes, as mixtures do, every chain starts
    near the highest one that a search from many starts has found; elsewhere chains start from the
    prior's centre with jitter. Chains of a mixture that do not agree, or that diverge, are a pilot
    run: independence chains with a proposal placed by it take their place where they agree better
    (:mod:`bayesmix.chains.independence`); ``sample_stats`` then has no trajectories.

    Parameters
    ----------
    draws, tune, chains
        Kept draws and warm-up draws of each chain, and the number of chains.
    target_accept
        Aimed acceptance rate in (0, 1); higher means smaller steps and fewer divergences.
    max_treedepth
        A trajectory has at most ``2**max_treedepth`` steps.
    sampler
        ``"nutpie"`` (compiled code cached across processes) or ``"pymc"``.
    adaptation
        Of nutpie's metric: ``"low_rank"``, ``"diag"`` or ``"draw_diag"``. None takes the first, or
        ``"diag"`` where a family finds coordinates in which its posterior is nearly standard.
    cores
        Chains run at a time; None takes what the machine has.

    References
    ----------
    Hoffman & Gelman (2014), JMLR 15:1593; Seyboldt et al. (2025), nutpie's low-rank metric.

    Examples
    --------
    >>> NUTS(draws=2000, chains=2).chains
    2
    """

    draws: int = 1000
    tune: int = 600
    chains: int = 4
    target_accept: float = 0.85
    max_treedepth: int = 10
    sampler: str = "nutpie"
    adaptation: str | None = None
    cores: int | None = None
    requires: ClassVar[type] = HasPyMC
    name: ClassVar[str] = "nuts"

    def __post_init__(self) -> None:
        for field in ("draws", "chains", "max_treedepth"):
            check_count("NUTS", field, getattr(self, field))
        check_count("NUTS", "tune", self.tune, low=50)
        if self.cores is not None:
            check_count("NUTS", "cores", self.cores)
        accept = check_number(
            "NUTS", "target_accept", self.target_accept, low=0, high=1, strict=True
        )
        object.__setattr__(self, "target_accept", accept)
        check_choice("NUTS", "sampler", self.sampler, ("nutpie", "pymc"))
        if self.adaptation is not None:
            check_choice("NUTS", "adaptation", self.adaptation, ("low_rank", "diag", "draw_diag"))

    def run(self, model: HasPyMC, design: Design, *, seed: int, progress: Report) -> Posterior:
        """Draw from the posterior; the same seed gives the same draws."""
        generator = random.stream(seed, "nuts")
        run = self._nutpie if self.sampler == "nutpie" else self._pymc
        params, stats = run(model, design, generator, progress)
        dims = dict.fromkeys(stats, protocols.SAMPLE_DIMS)
        attrs = {"engine": "mcmc", "max_treedepth": self.max_treedepth}
        return Posterior(params, stats, dims, sampled=True, attrs=attrs)

    def _nutpie(
        self, model: HasPyMC, design: Design, generator: np.random.Generator, progress: Report
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        progress("compile", 0.0)
        density = target(model, design, standard=True)
        mode = best_mode(model, design, density, generator)
        nutpie = _nutpie_without_arviz()
        progress("sample", 0.0)
        total = self.chains * (self.draws + self.tune)

        def report(chains: list[Any]) -> None:
            progress("sample", sum(chain.finished_draws for chain in chains) / total)

        sampling = nutpie.sample(
            _compiled(density, generator, mode),
            draws=self.draws,
            tune=self.tune,
            chains=self.chains,
            cores=self.cores,
            seed=random.integer(generator),
            adaptation=self.adaptation or ("diag" if density.standard else "low_rank"),
            target_accept=self.target_accept,
            maxdepth=self.max_treedepth,
            progress_bar=False,
            progress_callback=report,
            return_raw_trace=True,
            blocking=False,
        )
        trace = _finished(sampling)
        progress("sample", 1.0)
        params, stats = _read(trace, density, self.draws)
        return independence.mixed(model, design, density, params, stats, generator)

    def _near_mode(
        self, model: HasModes, design: Design, generator: np.random.Generator
    ) -> list[dict[str, Array]] | None:
        """A start near the highest mode for each chain, by name."""
        density = target(model, design)
        mode = best_mode(model, design, density, generator)
        if mode is None:
            return None
        points = np.stack([mode.near(generator) for _ in range(self.chains)])
        named = density.expand(points)
        return [{k: v[i] for k, v in named.items()} for i in range(self.chains)]

    def _pymc(
        self, model: HasPyMC, design: Design, generator: np.random.Generator, progress: Report
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        import pymc as pm

        progress("compile", 0.0)
        starts: Any = None
        if isinstance(model, HasModes):
            starts = self._near_mode(model, design, generator)
        counts, total = itertools.count(1), self.chains * (self.draws + self.tune)
        with interrupts.heeded() as proceed, model.pymc_model(design):

            def after_draw(**_: Any) -> None:
                proceed()
                if (drawn := next(counts)) % 100 == 0:
                    progress("sample", drawn / total)

            tree = pm.sample(
                initvals=starts,
                draws=self.draws,
                tune=self.tune,
                chains=self.chains,
                cores=self.cores,
                random_seed=random.integer(generator),
                nuts_sampler="pymc",
                nuts={"target_accept": self.target_accept, "max_treedepth": self.max_treedepth},
                progressbar=False,
                compute_convergence_checks=False,
                callback=after_draw,
            )
        progress("sample", 1.0)
        posterior, found = tree["posterior"], tree["sample_stats"]
        params = {name: posterior[name].to_numpy() for name in model.dims(design)}
        return params, {
            name: found[name].to_numpy() for name in _STATS.values() if name in found.data_vars
        }


def _finished(sampling: Any) -> Any:
    """Wait for the chains; an interrupt stops them and is raised, never a short trace."""
    try:
        return sampling.wait()
    except KeyboardInterrupt:
        sampling.cancel()
        raise
    except RuntimeError as error:
        raise NotConverged(
            f"the sampler could not go on: {error}. Check the data for extreme values, "
            "or give narrower priors"
        ) from error


@contextmanager
def _deferred(name: str) -> Generator[None]:
    """Let a library's ``import name`` succeed now and load the module at first use."""
    if name in sys.modules:
        yield
        return

    class Deferred(types.ModuleType):
        def __getattr__(self, attribute: str) -> Any:
            return getattr(importlib.import_module(name), attribute)

    sys.modules[name] = Deferred(name)
    try:
        yield
    finally:
        sys.modules.pop(name, None)


def _nutpie_without_arviz() -> Any:
    """nutpie imports all of ArviZ (2 s) for a conversion that is not used here."""
    with _deferred("arviz"):
        import nutpie
    return nutpie


def _compiled(density: Target, generator: np.random.Generator, mode: Mode | None) -> Any:
    """The target as nutpie's own compiled model, around callbacks that are already linked."""
    from nutpie.compile_pymc import CompiledPyMCModel

    base = random.integer(generator)

    def start(seed: int) -> Array:
        own = np.random.default_rng([base, seed])
        if mode is not None:
            return mode.near(own)
        return density.initial + own.uniform(-1, 1, density.n_dim)

    names = [name for name, _ in density.outputs]
    density_code: Any = density.density
    expansion_code: Any = density.expansion
    return CompiledPyMCModel(
        dims={},
        compiled_logp_func=density_code,
        compiled_expand_func=expansion_code,
        initial_point_func=start,
        shared_data={},
        shared_var_keys={},
        user_data=density.table,
        n_expanded=density.n_expanded,
        shape_info=(names, [], [list(shape) for _, shape in density.outputs]),
        logp_func=None,
        expand_func=None,
        _n_dim=density.n_dim,
        _shapes=dict(density.outputs),
        _coords={},
    )


def _read(trace: Any, density: Target, draws: int) -> tuple[dict[str, Array], dict[str, Array]]:
    """Kept draws and statistics out of nutpie's Arrow batches, one a chain."""
    batches, statistics = trace.get_arrow_trace()
    flat = density.reported({
        name: np.concatenate([_column(batch, name, draws, shape) for batch in batches])
        for name, shape in density.outputs
    })  # fmt: skip
    params = {k: v.reshape(len(batches), draws, *v.shape[1:]) for k, v in flat.items()}
    stats = {
        ours: np.stack([_column(batch, theirs, draws, ()) for batch in statistics])
        for theirs, ours in _STATS.items()
    }
    return params, stats


def _column(batch: Any, name: str, draws: int, shape: tuple[int, ...]) -> Array:
    import pyarrow

    column = pyarrow.array(batch.column(name)).slice(batch.num_rows - draws)
    if shape:
        column = column.flatten()
    return column.to_numpy(zero_copy_only=False).reshape(draws, *shape)
