"""Files that look like fits and are not: each edits a copy of a good file in one place."""

from __future__ import annotations

import functools
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Edit = Callable[[h5py.File], None]
OTHER = "/etc/passwd"
"""A file of the machine that no fit may read."""
HUGE = 10**12
CASES: dict[str, tuple[Edit, str]] = {}
"""By name: what is done to the file, and words of the refusal."""


def case(name: str, words: str, edit: Edit | None = None) -> Any:
    """Enter an edit under a name; as a decorator where the edit is a function below."""

    def enter(given: Edit) -> Edit:
        assert name not in CASES, name
        CASES[name] = (given, words)
        return given

    return enter if edit is None else enter(edit)


def main_group(file: h5py.File) -> h5py.Group:
    """The group of the parameters."""
    return file["posterior" if "posterior" in file else "estimate"]


def parameter(file: h5py.File) -> str:
    """The path of the parameter with the most numbers, whose dims are not its own."""
    group = main_group(file)
    real = {name: item for name, item in group.items() if "CLASS" not in item.attrs}
    return f"{group.name}/{max(real, key=lambda name: (real[name].size, name))}"


def target(file: h5py.File) -> str:
    """The path of the observed variable."""
    group = file["observed_data"]
    return next(item.name for item in group.values() if "name" in item.attrs)


def replace(file: h5py.File, path: str, values: Any = None, **how: Any) -> h5py.Dataset:
    """Another array under that path, with the attributes of the one that was there."""
    old = dict(file[path].attrs)
    del file[path]
    new = file.create_dataset(path, data=values, **how)
    for name, value in old.items():
        if name not in ("DIMENSION_LIST", "REFERENCE_LIST", "_FillValue"):
            new.attrs[name] = value
    return new


def build(name: str, good: Path, folder: Path) -> Path:
    """The file of that case, made of a good one."""
    made = Path(shutil.copy(good, folder / f"{len(os.listdir(folder))}.nc"))
    with h5py.File(made, "r+") as file:
        CASES[name][0](file)
    for hook in AFTER.get(name, ()):
        hook(made)
    return made


AFTER: Mapping[str, list[Callable[[Path], None]]] = {}

# --- what HDF5 can do and a fit does not ---------------------------------------------------


@case("a group linked into itself", "under two names")
def _loop(file: h5py.File) -> None:
    file["posterior_"] = file["/"]


@case("two groups linked into each other", "under two names")
def _two(file: h5py.File) -> None:
    a, b = file.create_group("a"), file.create_group("b")
    a["b"], b["a"] = b, a


@case("an array under two names", "under two names")
def _twice(file: h5py.File) -> None:
    file["observed_data/again"] = file[target(file)]


@case("600 groups within each other", "nested more than 8 deep")
def _nested(file: h5py.File) -> None:
    group = file
    for _ in range(600):
        group = group.create_group("g")


@case("30,000 groups", "more than 20,000 groups")
def _many(file: h5py.File) -> None:
    group = file.create_group("many")
    for i in range(30_000):
        group.create_group(str(i))


for _name, _link in {
    "a link to itself": h5py.SoftLink("/loop"),
    "a link to a group": h5py.SoftLink("/observed_data"),
    "a link to nothing": h5py.SoftLink("/nowhere"),
    "a link to another file": h5py.ExternalLink(OTHER, "/"),
    "a link to this file": h5py.ExternalLink("0.nc", "/observed_data"),
}.items():

    @case(_name, "is a link; a fit has none")
    def _linked(file: h5py.File, link: Any = _link) -> None:
        file["loop"] = link

    @case(f"{_name}, in place of a group", "is a link; a fit has none")
    def _instead(file: h5py.File, link: Any = _link) -> None:
        del file["constant_data"]
        file["constant_data"] = link


@case("a parameter that is a link", "is a link; a fit has none")
def _soft_parameter(file: h5py.File) -> None:
    path = parameter(file)
    file.move(path, "/moved")
    file[path] = h5py.SoftLink("/moved")


@case("external storage", "does not lie in the file in one piece")
def _external(file: h5py.File) -> None:
    n = os.path.getsize(OTHER) // 8
    file.create_dataset("observed_data/lines", (n,), "<i8", external=[(OTHER, 0, n * 8)])


@case("external storage of the target", "does not lie in the file in one piece")
def _external_target(file: h5py.File) -> None:
    n = file[target(file)].size
    replace(file, target(file), shape=(n,), dtype="<i8", external=[(OTHER, 0, n * 8)])


@case("a virtual dataset of another file", "does not lie in the file in one piece")
def _virtual(file: h5py.File) -> None:
    shape = file[target(file)].shape
    layout = h5py.VirtualLayout(shape, "f8")
    layout[:] = h5py.VirtualSource("0.nc", target(file), shape)
    old = dict(file[target(file)].attrs)
    path = target(file)
    del file[path]
    new = file.create_virtual_dataset(path, layout)
    for name in ("_Netcdf4Coordinates", "position", "type", "name"):
        new.attrs[name] = old[name]


@case("50 kB that expand to 2.4 GB", "compressed or filtered")
def _bomb(file: h5py.File) -> None:
    made = file.create_dataset(
        "bomb", (300_000_000,), "f8", compression="gzip", chunks=(10_000_000,)
    )
    made[:10_000_000] = 0


@case("a compressed parameter", "compressed or filtered")
def _compressed(file: h5py.File) -> None:
    replace(file, parameter(file), file[parameter(file)][()], compression="gzip")


@case("checksums", "compressed or filtered")
def _checksums(file: h5py.File) -> None:
    replace(file, parameter(file), file[parameter(file)][()], fletcher32=True)


@case("chunks that were never written", "does not lie in the file in one piece")
def _chunks(file: h5py.File) -> None:
    file.create_dataset("void", (HUGE,), "f8", chunks=(1000,), fillvalue=1.0)


@case("8 TB that were never written", "should hold 8,000,000,000,000 bytes, and 0 are there")
def _unwritten(file: h5py.File) -> None:
    file.create_dataset("void", (HUGE,), "f8", fillvalue=1.0)


@case("a parameter of 8 TB", "should hold 8,000,000,000,000 bytes, and 0 are there")
def _vast(file: h5py.File) -> None:
    replace(file, parameter(file), shape=(HUGE,), dtype="f8")


@case("strings that were never written", "and 0 are there")
def _unwritten_text(file: h5py.File) -> None:
    file.create_dataset("void", (HUGE,), h5py.string_dtype())


@case("an array in its header", "does not lie in the file in one piece")
def _compact(file: h5py.File) -> None:
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_layout(h5py.h5d.COMPACT)
    space = h5py.h5s.create_simple((4,))
    h5py.h5d.create(file.id, b"small", h5py.h5t.NATIVE_DOUBLE, space, plan)


_KINDS: Mapping[str, Any] = {
    "compound": np.dtype([("a", "f8"), ("b", "i4")]),
    "opaque": np.dtype("V8"),
    "an enumeration": h5py.enum_dtype({"a": 0, "b": 1}),
    "truth": np.dtype(bool),
    "references": h5py.ref_dtype,
    "regions": h5py.regionref_dtype,
    "lists": h5py.vlen_dtype(np.dtype("i4")),
    "arrays": np.dtype(("f8", (3,))),
    "long doubles": np.dtype(np.longdouble),
    "complex": np.dtype(complex),
    "bytes of one length": np.dtype("S5"),
}
for _name, _kind in _KINDS.items():

    @case(f"{_name} as a variable", "holds neither real numbers nor text")
    def _typed(file: h5py.File, kind: Any = _kind) -> None:
        file.create_dataset("observed_data/odd", (4,), kind)

    @case(f"{_name} as an attribute", "holds neither real numbers nor text|hash is another|")
    def _typed_attribute(file: h5py.File, kind: Any = _kind) -> None:
        file.attrs.create("odd", np.zeros(2, kind) if kind != h5py.ref_dtype else file.ref)


@case("a parameter of complex numbers", "holds neither real numbers nor text")
def _complex(file: h5py.File) -> None:
    replace(file, parameter(file), file[parameter(file)][()].astype(complex))


@case("an empty array", "'odd' is empty")
def _null(file: h5py.File) -> None:
    file["odd"] = h5py.Empty("f8")


@case("an empty attribute", "'seed' is empty")
def _null_attribute(file: h5py.File) -> None:
    file.attrs["seed"] = h5py.Empty("i8")


@case("a type of its own", "neither a group nor an array")
def _committed(file: h5py.File) -> None:
    file["kind"] = np.dtype("f8")


@case("3,000 attributes", "more than 256 attributes")
def _attributes(file: h5py.File) -> None:
    for i in range(3000):
        file["observed_data"].attrs[f"a{i}"] = i


@case("an attribute of 80 MB", "holds 10,000,000 values")
def _long_attribute(file: h5py.File) -> None:
    file.create_group("more", track_order=True).attrs["a"] = 1
    plan = file["more"].attrs
    plan.create("long", np.zeros(10_000_000))


@case("a dimension of text", "")
def _dimension(file: h5py.File) -> None:
    file[parameter(file)].attrs["_Netcdf4Coordinates"] = "text"


@case("dimensions that are not there", "are not those of its")
def _no_dimension(file: h5py.File) -> None:
    item = file[parameter(file)]
    item.attrs["_Netcdf4Coordinates"] = np.full(item.ndim, 999, np.int32)


@case("no dimensions", "are not those of its")
def _no_dimensions(file: h5py.File) -> None:
    del file[parameter(file)].attrs["_Netcdf4Coordinates"]


@case("two dimensions of one number", "two dimensions have the number 7")
def _same_number(file: h5py.File) -> None:
    for group in ("observed_data", "constant_data"):
        file[f"{group}/obs"].attrs["_Netcdf4Dimid"] = np.int32(7)


@case("strings that are all one long string", "would take")
def _shared(file: h5py.File) -> None:
    texts = np.array(["x" * 60_000] + ["y"] * 9_999, dtype=object)
    file.create_dataset("texts", data=texts, dtype=h5py.string_dtype())


def _point_at_first(path: Path) -> None:
    with h5py.File(path, "r") as file:
        start, size = file["texts"].id.get_offset(), file["texts"].id.get_storage_size()
    content = bytearray(path.read_bytes())
    content[start : start + size] = content[start : start + 16] * (size // 16)
    path.write_bytes(content)


@case("a heap of text without end", "the bookkeeping of its text is damaged")
def _endless(file: h5py.File) -> None:
    file.attrs["more"] = "text"


def _zero_heaps(path: Path) -> None:
    content = bytearray(path.read_bytes())
    at = content.find(b"GCOL") + 16
    content[at : at + 64] = bytes(64)
    path.write_bytes(content)


AFTER = {
    "a heap of text without end": [_zero_heaps],
    "strings that are all one long string": [_point_at_first],
}

# --- attributes of the fit ---

_VALUES: Mapping[str, Any] = {
    "a number": np.int64(-3),
    "a string": "nonsense",
    "an empty string": "",
    "not a number": np.nan,
    "a list": np.arange(3),
    "strings": np.array(["a", "b"], dtype=h5py.string_dtype()),
}
_ROOT: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "bayesmix_format": ("has format|not a fit of bayesmix", ()),
    "model": ("names a spec that cannot be built|does not name a model", ()),
    "method": ("names a spec that cannot be built|does not name a model", ()),
    "seed": ("its seed cannot repeat it", ()),
    "data_hash": ("their hash is another", ()),
    "wall_seconds": ("wall_seconds must be a number", ()),
    "engine": ("its engine must be", ()),
}


def _set(file: h5py.File, name: str, value: Any) -> None:
    del file.attrs[name]
    file.attrs[name] = value


for _name, (_words, _) in _ROOT.items():
    for _what, _value in _VALUES.items():
        case(f"{_name}: {_what}", _words, functools.partial(_set, name=_name, value=_value))

    @case(f"{_name}: missing", _words)
    def _missing(file: h5py.File, name: str = _name) -> None:
        del file.attrs[name]


def _edited(file: h5py.File, what: str, **fields: Any) -> None:
    """The spec with other fields."""
    _set(file, what, json.dumps({**json.loads(file.attrs[what]), **fields}))


_SPECS: Mapping[str, str] = {
    "nested 100,000 deep": "[" * 100_000 + "]" * 100_000,
    "nested 900 deep": "[" * 900 + "]" * 900,
    "nested 100 deep": '{"type": "Normal", "loc": ' * 100 + "1" + "}" * 100,
    "2 MB long": json.dumps({"type": "MDN", "inputs": ["x" * 2_000_000]}),
    "a number of 10,000 digits": '{"type": "MDN", "n_components": ' + "9" * 10_000 + "}",
    "a class of Python": '{"type": "os.system", "command": "touch MARK"}',
    "a prior": '{"type": "Normal", "loc": 0.0, "scale": 1.0}',
    "nothing": "null",
    "infinite": '{"type": "Normal", "loc": Infinity, "scale": NaN}',
    "a list of numbers": "[1, 2, 3]",
}
for _what in ("model", "method"):
    for _name, _text in _SPECS.items():
        case(
            f"{_what}: {_name}",
            "names a spec that cannot be built|does not name a model and a method",
            functools.partial(_set, name=_what, value=_text),
        )

_SIZES = "it has sizes of|cannot be built"
for _field in ("n_components", "n_experts", "n_pieces"):
    for _n in (10**9, 10**18):
        case(
            f"{_n:.0e} {_field}",
            _SIZES,
            functools.partial(_edited, what="model", **{_field: _n}),  # type: ignore[arg-type]
        )
for _given in ([10**9], [10**6] * 2000):
    case(
        f"layers of {_given[0]:.0e} units",
        _SIZES,
        functools.partial(_edited, what="model", hidden=_given),  # type: ignore[arg-type]
    )
for _formula in (
    "p(high, total) ~ np.lib._npyio_impl.os.system('touch MARK')",
    "y ~ np.savetxt('MARK', [1])",
    "y ~ nothing",
    "y ~ 1",
    "p(high, total) ~ 1",
    "y ~ " + "(" * 3000 + "x" + ")" * 3000,
    "y ~ " + " + ".join(f"I(x + {i})" for i in range(2000)),
    "y ~ (" + " + ".join(f"I(x + {i})" for i in range(30)) + ") ** 30",
    "y ~ " + " * ".join(f"I(x + {i})" for i in range(30)),
    "y ~ I(x ** 9999999 ** 9999999)",
    "y ~ poly(x, 1000000)",
):
    case(
        f"formula: {_formula[:60]} ({len(_formula)})",
        "cannot be built|whole fit",
        functools.partial(_edited, what="model", formula=_formula),  # type: ignore[arg-type]
    )

# --- groups and parameters ---

for _group in ("observed_data", "constant_data"):

    @case(f"no {_group}", "is a netCDF file, but not a fit")
    def _without(file: h5py.File, name: str = _group) -> None:
        del file[name]


@case("no parameters", "neither draws nor an estimate")
def _no_group(file: h5py.File) -> None:
    del file[main_group(file).name]


@case("draws and an estimate", "neither draws nor an estimate, or both")
def _both(file: h5py.File) -> None:
    file.create_group("posterior" if "estimate" in file else "estimate")


@case("a parameter is missing", "its parameters are not those of its model")
def _lost(file: h5py.File) -> None:
    del file[parameter(file)]


@case("a parameter too many", "its parameters are not those of its model")
def _surplus(file: h5py.File) -> None:
    main_group(file).create_dataset("surplus", data=1.0)


def _values(file: h5py.File, change: Callable[[Any], Any]) -> None:
    replace(file, parameter(file), change(file[parameter(file)][()]))


def _spoilt(values: Any, with_: float) -> Any:
    values = values.copy()
    values.flat[-1] = with_
    return values


for _name, _change, _words in (
    ("text", lambda v: v.astype(str).astype(object), "is not a finite real number"),
    ("whole numbers", lambda v: v.astype(int), "is not a finite real number"),
    ("one NaN", lambda v: _spoilt(v, np.nan), "is not a finite real number"),
    ("one infinity", lambda v: _spoilt(v, np.inf), "is not a finite real number"),
    ("nothing but infinity", lambda v: v * np.inf, "is not a finite real number"),
    ("one value fewer", lambda v: v[..., :-1] if v.ndim else v[None], "are not those of its"),
    ("an axis more", lambda v: v[..., None], "are not those of its"),
    ("no values", lambda v: v[:0] if v.ndim else v[None], "are not those of its"),
):
    case(f"a parameter of {_name}", _words, functools.partial(_values, change=_change))


@case("labels of a dimension changed", "are not those of its data")
def _labels(file: h5py.File) -> None:
    group = main_group(file)
    scale = next(item for item in group.values() if "CLASS" in item.attrs)
    values = scale[()]
    replace(file, scale.name, values[::-1] if len(values) > 1 else values + 1)


@case("statistics of text", "which is not a number")
def _text_stats(file: h5py.File) -> None:
    group = file["sample_stats" if "sample_stats" in file else "fit_stats"]
    group.create_dataset("odd", data="text", dtype=h5py.string_dtype())


@case("no statistics", "")
def _no_stats(file: h5py.File) -> None:
    del file["sample_stats" if "sample_stats" in file else "fit_stats"]


# --- data ---


def _column(file: h5py.File, **attrs: Any) -> None:
    held = file[target(file)].attrs
    for name, value in attrs.items():
        if name in held:
            del held[name]
        if value is not None:
            held[name] = value


_COLUMN = "of its data|not a whole fit|not a fit of bayesmix"
for _name in ("position", "name"):
    for _what, _value in {**_VALUES, "missing": None, "99": np.int64(99)}.items():
        case(
            f"{_name} of a column: {_what}",
            f"{_COLUMN}|hash is another|",
            functools.partial(_column, **{_name: _value}),
        )
for _what, _text in {
    "not JSON": "{",
    "nested": "[" * 100_000,
    "an object": "{}",
    "lists": "[[1], [2]]",
    "equal": '["a", "a"]',
    "of one spelling": '[1, "1"]',
    "none": "[]",
    "infinite": "[NaN, Infinity]",
}.items():
    case(
        f"levels of a column: {_what}",
        f"{_COLUMN}|hash is another",
        functools.partial(_column, levels=_text, ordered=np.int64(0)),
    )


def _data(file: h5py.File, change: Callable[[Any], Any]) -> None:
    replace(file, target(file), change(file[target(file)][()]))


for _name, _change, _words in (
    ("changed", lambda v: _spoilt(v, v.flat[0]), "their hash is another"),
    ("in another order", lambda v: v[::-1], "their hash is another"),
    ("of another type", lambda v: v.astype("f4"), "their hash is another|cannot be those"),
    ("of text", lambda v: v.astype(str).astype(object), "hash is another|cannot be those"),
    ("missing", lambda v: v * np.nan, "missing values"),
    ("of infinities", lambda v: v + np.inf, "cannot be those of its model"),
    ("of fewer rows", lambda v: v[:-1], "are not those of its"),
):
    case(f"data {_name}", _words, functools.partial(_data, change=_change))


@case("another column", "not a whole fit")
def _another(file: h5py.File) -> None:
    old = file[target(file)]
    new = file.create_dataset("constant_data/odd", data=old[()])
    new.attrs.update({"position": 9, "type": "f8", "name": "odd"})
    new.attrs["_Netcdf4Coordinates"] = file["constant_data/obs"].attrs["_Netcdf4Coordinates"]


# --- accidents ---


def accidents(good: list[Path], folder: Path, count: int, seed: int) -> Iterator[Path]:
    """Copies with bytes flipped, cut, zeroed or moved, as bad disks and transfers leave them."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        content = np.frombuffer(good[i % len(good)].read_bytes(), np.uint8).copy()
        kind, where = i // len(good) % 6, rng.integers(0, len(content), 2)
        if kind < 3:
            at = rng.integers(0, len(content) if kind else 3000, [1, 1, 8][kind])
            content[at] ^= 1 << rng.integers(0, 8, len(at)).astype(np.uint8)
        elif kind == 3:
            content = content[: where[0]]
        elif kind == 4:
            content[where[0] : where[0] + 64] = 0
        else:
            block = content[where[0] : where[0] + 64].copy()
            content[where[1] : where[1] + len(block)] = block[: len(content) - where[1]]
        made = folder / f"accident-{i}.nc"
        made.write_bytes(content.tobytes())
        yield made
