"""fit() and load(): the only code that sees both a model and a method."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import inspect
import json
import os
import pkgutil
import time
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import xarray as xr

from bayesmix import __version__, optimizers, priors, specs
from bayesmix import rng as random
from bayesmix.calls import named
from bayesmix.compiled import pytensor_folder
from bayesmix.design import table
from bayesmix.errors import FitFileError, MissingCapability, SpecError, UnknownName, suggestion
from bayesmix.progress import reporter
from bayesmix.protocols import HasPrior, Method, Model
from bayesmix.result import Fit
from bayesmix.tree import build, function_space, order, storage, wholeness

_ENGINES = ("pymc", "pytensor", "nutpie", "numba", "torch", "numpy", "scipy", "xarray")


@named
def fit(
    model: Model,
    data: Any,
    *,
    method: str | Method = "auto",
    seed: int | None = None,
    progress: bool = True,
    cache: str | os.PathLike[str] | None = None,
) -> Fit:
    """Fit a model to data.

    Parameters
    ----------
    model
        A spec such as ``BinomialGLM("p(high, total) ~ sex + (sex | edu)")``.
    data
        A pandas data frame, an xarray Dataset or a mapping of equally long columns.
    method
        A method (``NUTS(draws=2000)``), its name (``"nuts"``), or ``"auto"``: the family's choice.
    seed
        A whole number; the same seed gives the same numbers. None draws one and stores it.
    progress
        Show a progress bar when someone is watching.
    cache
        A folder of fits: an equal fit (model, data, method, seed, versions) is loaded, not
        repeated.

    Returns
    -------
    Fit

    Raises
    ------
    DataError, FormulaError, SpecError, UnknownName
        Something given is out of range; the message says what and what to do.
    MissingCapability
        The method needs something that the family does not offer.
    NotConverged
        The method could not reach an answer.
    FitFileError
        The cache cannot be written; where the fit was made, the error holds it as ``fit``.

    Examples
    --------
    >>> import bayesmix as bm
    >>> model = bm.BinomialGLM("p(high, total) ~ sex + (1 | edu)")
    >>> found = bm.fit(model, bm.datasets.census(), method="mle", seed=1)
    >>> round(float(found.tree["estimate"]["sex"]), 3)
    1.372
    """
    chosen = _method(model, method)
    seed = random.check_seed(seed)
    if not isinstance(progress, bool):
        raise SpecError(f"progress must be True or False, got {progress!r}")
    design = model.design(data)
    build.check_names(model.dims(design), design)
    model.check_outcome(design)
    data_hash = table.hash_frame(design.columns)
    attrs = _attrs(model, chosen, seed, data_hash)
    stored = _cached(cache, attrs)
    if stored is not None and stored.exists():
        # a file that cannot be read is fitted again and replaced
        with contextlib.suppress(FitFileError):
            return load(stored)
    pytensor_folder.prepare()
    start = time.perf_counter()
    with reporter(progress) as report:
        posterior = order.aligned(
            chosen.run(model, design, seed=seed, progress=report), model, design
        )
    tree = build.build_tree(posterior, model, design)
    in_function_space = function_space.of(posterior, model, design)
    if in_function_space is not None:
        tree[function_space.GROUP] = xr.DataTree(in_function_space)
    tree.attrs.update(attrs, wall_seconds=time.perf_counter() - start)
    if isinstance(model, HasPrior) and issubclass(chosen.requires, HasPrior):
        tree.attrs["priors"] = json.dumps(model.prior_table(design))
    found = Fit(model, chosen, tree)
    found.__dict__["design"] = design
    if stored is not None:
        _store(found, stored)
    return found


@named
def load(path: str | os.PathLike[str]) -> Fit:
    """Read a fit that :meth:`Fit.save` wrote: model, method and tree, the same numbers.

    Raises
    ------
    FitFileError
        No file, a truncated or a foreign one, one of another format, or one whose parts do not
        belong together: draws of other sizes than the model's, data that were changed.
    """
    tree = storage.read(path)
    try:
        model, method = (_spec(tree, what, os.path.getsize(path)) for what in ("model", "method"))
    except Exception as error:
        raise FitFileError(f"{str(path)!r} names a spec that cannot be built: {error}") from error
    if not (isinstance(model, Model) and isinstance(method, Method)):
        raise FitFileError(f"{str(path)!r} does not name a model and a method; fit and save again")
    found = Fit(model, method, tree)
    try:
        found.__dict__["design"] = wholeness.check(tree, model)
    except wholeness.Broken as error:
        raise FitFileError(f"{str(path)!r} is not a whole fit: {error}; fit again") from error
    except Exception as error:
        raise FitFileError(
            f"{str(path)!r} is not a whole fit ({type(error).__name__}: {error}); fit again"
        ) from error
    return found


def _spec(tree: xr.DataTree, what: str, length: int) -> Any:
    """The model or the method that a file names, if it can have made a file of that length."""
    types = {**models(), **methods_by_class(), **_values(priors), **_values(optimizers)}
    found = specs.from_json(tree.attrs[what], types)
    wholeness.check_sizes(tree.attrs[what], length)
    return found


def _store(found: Fit, path: Path) -> None:
    """Save a fit into its cache; what took minutes to make is not lost with the disk."""
    try:
        found.save(path)
    except FitFileError as error:
        told = FitFileError(f"{error}; the fit itself is there, as this error's attribute 'fit'")
        told.fit = found
        raise told from error


@functools.cache
def models() -> dict[str, type[Model]]:
    """Every model family by class name: files of ``bayesmix/models``, or ``spec`` in folders."""
    return _discover("models", Model)


@functools.cache
def methods_by_class() -> dict[str, type[Method]]:
    """Every method by class name, found in ``bayesmix/inference``."""
    return _discover("inference", Method)


@named
def methods() -> dict[str, type[Method]]:
    """Every method by the name that ``fit(method=...)`` takes."""
    return {kind.name: kind for kind in methods_by_class().values()}


@named
def methods_for(model: Model) -> list[str]:
    """Names of the methods that can fit this model."""
    return sorted(name for name, kind in methods().items() if isinstance(model, kind.requires))


def _discover(room: str, kind: type) -> dict[str, type]:
    found: dict[str, type] = {}
    package = importlib.import_module(f"bayesmix.{room}")
    for entry in pkgutil.iter_modules(package.__path__):
        name = f"{entry.name}.spec" if entry.ispkg else entry.name
        module = importlib.import_module(f"bayesmix.{room}.{name}")
        for name, value in vars(module).items():
            own = inspect.isclass(value) and value.__module__ == module.__name__
            if own and issubclass(value, kind) and not inspect.isabstract(value):
                found[name] = value
    return dict(sorted(found.items()))


def _values(room: ModuleType) -> dict[str, type]:
    """The classes that a room defines: priors, optimisers."""
    return {
        name: value
        for name, value in vars(room).items()
        if inspect.isclass(value) and value.__module__ == room.__name__
    }


def _method(model: Any, method: Any) -> Method:
    if inspect.isclass(model) or not isinstance(model, Model):
        raise SpecError(
            "model must be a spec such as BinomialGLM('p(high, total) ~ sex'), got "
            f"{_short(model)}. Families: {', '.join(models())}"
        )
    if isinstance(method, str) and method.lower() == "auto":
        method = model.default_method
    if isinstance(method, str):
        if method.lower() not in methods():
            raise UnknownName(f"unknown method {method!r}: {suggestion(method, methods())}")
        method = methods()[method.lower()]()
    if not isinstance(method, Method):
        raise SpecError(
            "method must be a name or a method such as NUTS(draws=2000), got "
            f"{_short(method)}; 'auto' is {model.default_method!r} for this {type(model).__name__}"
        )
    _require(model, method)
    return method


def _short(value: object) -> str:
    """What was given, in a few words: a data frame would print as a page."""
    if inspect.isclass(value):
        return f"the class {value.__name__}; call it: {value.__name__}(...)"
    text = repr(value)
    return text if len(text) <= 60 else f"a {type(value).__name__}"


def _require(model: Model, method: Method) -> None:
    if isinstance(model, method.requires):
        return
    kinds = (kind for kind in type(model).__mro__ if "entry" in vars(kind) and kind is not Model)
    offered = ", ".join(kind.entry for kind in kinds) or "nothing that a method needs"
    possible = methods_for(model)
    hint = f"; try method={possible[0]!r}" if possible else ""
    raise MissingCapability(
        f"{type(method).__name__} needs {method.requires.entry}; "
        f"{type(model).__name__} offers {offered}{hint}"
    )


def _attrs(model: Model, method: Method, seed: int, data_hash: str) -> dict[str, Any]:
    return {
        "bayesmix_format": storage.FORMAT,
        "model": specs.to_json(model),
        "method": specs.to_json(method),
        "seed": seed,
        "versions": json.dumps({"bayesmix": __version__, **_engine_versions()}),
        "data_hash": data_hash,
    }


@functools.cache
def _engine_versions() -> dict[str, str]:
    return {name: version(name) for name in _ENGINES}


def _cached(cache: str | os.PathLike[str] | None, attrs: dict[str, Any]) -> Path | None:
    if cache is None:
        return None
    folder = storage.as_path(cache)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        usable = os.access(folder, os.W_OK)
    except OSError:
        usable = False
    if not usable:
        raise FitFileError(f"cache must be a folder that can be written; {str(folder)!r} is not")
    key = hashlib.sha256(json.dumps(attrs, sort_keys=True).encode()).hexdigest()
    return folder / f"{key[:32]}.nc"
