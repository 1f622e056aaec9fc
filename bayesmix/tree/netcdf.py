"""A netCDF file that nobody vouches for: measured first, then read as plain numbers and text.

Files of fits use a small part of what HDF5 can do: groups, contiguous arrays of numbers or text,
and short attributes. Everything else (links, filters, external storage, virtual datasets, types of
its own) is refused before it is followed, so that reading a file touches that file alone and takes
no more memory than the file is long, but for text, whose objects take a few times as much.
"""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from bayesmix.protocols import Array

if TYPE_CHECKING:
    import h5py

LARGEST = 64 << 30
"""Bytes of a file: 64 GiB, eight thousand million numbers."""
_OBJECTS = 20_000
"""Groups and variables in a file; each costs some tenths of a millisecond."""
_DEPTH = 8
"""Groups within groups; a fit has one level."""
_HARD = 0
"""What HDF5 calls a link to something in the same file (H5L_TYPE_HARD)."""
_LONG = 1 << 16
"""Values in one attribute."""
_ATTRIBUTES = 256
"""Attributes of one object; a column has six and a root some twenty."""
_HOLES = 32
"""A large file occupies at least this share of its length on disk, or it is mostly holes."""
_WIDE = 256 << 20
"""Bytes of text that are spread over cells of equal width; what is beyond stays as it is."""
_OWN = {
    "CLASS",
    "NAME",
    "DIMENSION_LIST",
    "REFERENCE_LIST",
    "_FillValue",
    "_NCProperties",
    "_Netcdf4Coordinates",
    "_Netcdf4Dimid",
    "_nc3_strict",
    "coordinates",
    "dtype",
}
"""Attributes by which netCDF and xarray say how to read a variable; not a user's."""
_REFERENCE = 16
"""Bytes that stand for a string in an array: its length, and where it lies."""
_HEAP = b"GCOL\x01\0\0\0"
"""How a heap of text begins: its signature and version."""
_NO_VARIABLE = "This is a netCDF dimension but not a netCDF variable"


class Unsafe(ValueError):
    """The file holds something that a fit does not hold; the message says what."""


def read(path: str | os.PathLike[str]) -> xr.DataTree:
    """The tree in a file, in memory; the file is closed.

    Raises
    ------
    Unsafe
        The file is too large, or holds what a fit does not hold.
    OSError, ValueError, ...
        The file is damaged: the libraries beneath say where, each in its own way.
    """
    import h5py

    _check_size(os.stat(path))
    _check_heaps(path)
    with h5py.File(path, "r") as file:
        return _Reader(file).tree()


def _check_size(found: os.stat_result) -> None:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if os.name == "posix" else 0
    most = min(LARGEST, memory or LARGEST)
    if found.st_size > most:
        raise Unsafe(f"it is {found.st_size:,} bytes long, more than the {most:,} that can be read")
    held = getattr(found, "st_blocks", found.st_size) * 512
    if found.st_size > _WIDE and held * _HOLES < found.st_size:
        raise Unsafe(f"it is {found.st_size:,} bytes long, of which {held:,} are there")


def _check_heaps(path: str | os.PathLike[str]) -> None:
    """Refuse heaps of text whose entries do not add up: HDF5 walks some of those for ever."""
    if not os.path.getsize(path):
        return
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        at = content.find(_HEAP)
        while at >= 0:
            _check_heap(content, at)
            at = content.find(_HEAP, at + 1)


def _check_heap(content: mmap.mmap, at: int) -> None:
    end = at + int.from_bytes(content[at + 8 : at + 16], "little")
    here = at + 16
    while end - here >= 16:
        used = any(content[here : here + 2])
        size = int.from_bytes(content[here + 8 : here + 16], "little")
        # an entry in use is padded to eight bytes; free room counts its own header
        step = 16 + (size + 7) // 8 * 8 if used else size
        if step < 16 or step > end - here or end > len(content):
            raise Unsafe("the bookkeeping of its text is damaged")
        here += step


@dataclass
class _Reader:
    """One walk over an open file: what is there, what it takes, and then the values."""

    file: h5py.File
    groups: dict[str, h5py.Group] = field(default_factory=dict[str, Any])
    arrays: dict[str, dict[str, h5py.Dataset]] = field(default_factory=dict[str, Any])
    seen: set[int] = field(default_factory=set[int])
    dims: dict[int, tuple[str, int]] = field(default_factory=dict[int, tuple[str, int]])
    taken: int = 0
    spread: int = 0

    def __post_init__(self) -> None:
        plan = self.file.id.get_create_plist()
        if plan.get_userblock() or plan.get_sizes() != (8, 8):
            raise Unsafe("its HDF5 layout is not the one that Fit.save writes")
        self.length = self.file.id.get_filesize()
        # the descriptor that HDF5 reads, whatever happens to the name meanwhile
        self.handle = int(self.file.id.get_vfd_handle())

    def tree(self) -> xr.DataTree:
        self._walk()
        for group in self.arrays.values():
            for name, array in group.items():
                self._measure(name, array)
                self._note_dim(name, array)
        found = {path: self._dataset(path) for path in self.groups}
        tree: xr.DataTree = xr.DataTree.from_dict(found)
        return tree

    def _walk(self) -> None:
        """Find every group and array; nothing that a link leads out of the file or in a circle."""
        todo: list[tuple[str, h5py.Group, int]] = [("/", self.file["/"], 0)]  # type: ignore[list-item]
        while todo:
            path, group, depth = todo.pop(0)
            self._meet(group, path)
            self.groups[path], self.arrays[path] = group, {}
            for name in _names(group):
                inside = self._child(group, name, path)
                if hasattr(inside, "shape"):
                    self._meet(inside, f"{path}{name}")
                    self.arrays[path][name] = inside
                elif depth == _DEPTH:
                    raise Unsafe(f"its groups are nested more than {_DEPTH} deep")
                else:
                    todo.append((f"{path}{name}/", inside, depth + 1))

    def _child(self, group: h5py.Group, name: str, path: str) -> Any:
        import h5py

        if group.id.links.get_info(name.encode()).type != _HARD:
            raise Unsafe(f"{path}{name} is a link; a fit has none")
        inside = h5py.h5o.open(group.id, name.encode())  # type: ignore[attr-defined]
        if isinstance(inside, h5py.h5g.GroupID):
            return h5py.Group(inside)
        if isinstance(inside, h5py.h5d.DatasetID):
            return h5py.Dataset(inside)
        raise Unsafe(f"{path}{name} is neither a group nor an array")

    def _meet(self, item: Any, path: str) -> None:
        import h5py

        address = int(h5py.h5o.get_info(item.id).addr)  # type: ignore[attr-defined]
        if address in self.seen:
            raise Unsafe(f"{path} is in the file under two names")
        self.seen.add(address)
        if len(self.seen) > _OBJECTS:
            raise Unsafe(f"it holds more than {_OBJECTS:,} groups and variables")

    def _take(self, name: str, size: int) -> None:
        """Count bytes that will be read; no more are there than the file is long."""
        self.taken += size
        if self.taken > self.length:
            raise Unsafe(
                f"{name!r} would take {size:,} bytes, and the file is {self.length:,} bytes long"
            )

    def _measure(self, name: str, array: h5py.Dataset) -> None:
        """Refuse what is not a plain array that lies in this file, before any of it is read."""
        import h5py

        kind, plan = array.id.get_type(), array.id.get_create_plist()
        texts = _is_text(name, kind)
        if array.id.get_space().get_simple_extent_type() == h5py.h5s.NULL:
            raise Unsafe(f"{name!r} is empty")
        if plan.get_nfilters():
            raise Unsafe(f"{name!r} is compressed or filtered; a fit stores plain numbers")
        count = math.prod(array.id.shape)
        if count == 0 or self._is_bare(array):
            return
        if plan.get_layout() != h5py.h5d.CONTIGUOUS or plan.get_external_count():
            raise Unsafe(f"{name!r} does not lie in the file in one piece")
        start, size = array.id.get_offset(), count * (_REFERENCE if texts else kind.get_size())
        stored = array.id.get_storage_size()
        if start is None or stored != size or start + size > self.length:
            raise Unsafe(f"{name!r} should hold {size:,} bytes, and {stored:,} are there")
        self._take(name, size)
        if texts:
            self._take(name, self._text_length(start, size))

    def _text_length(self, start: int, size: int) -> int:
        """Bytes of the text behind an array of references, each of which begins with a length."""
        raw = np.empty(size, np.uint8)
        with open(os.dup(self.handle), "rb", buffering=0) as file:
            file.seek(start)
            if file.readinto(raw.data) != size:
                raise Unsafe("it is cut short")
        return int(raw.view(np.uint32).reshape(-1, 4)[:, 0].sum(dtype=np.uint64))

    def _note_dim(self, name: str, array: h5py.Dataset) -> None:
        if array.id.rank == 1 and (number := self._own(array, "_Netcdf4Dimid")) is not None:
            if self._own(array, "CLASS") is None:
                return
            if int(number) in self.dims:
                raise Unsafe(f"two dimensions have the number {int(number)}")
            self.dims[int(number)] = (name, array.id.shape[0])

    def _dims_of(self, name: str, array: h5py.Dataset) -> tuple[str, ...]:
        if array.id.rank == 0:
            return ()
        numbers = np.atleast_1d(self._own(array, "_Netcdf4Coordinates", -1))
        found = [self.dims.get(int(number), ("", -1)) for number in numbers]
        if tuple(size for _, size in found) != array.id.shape:
            raise Unsafe(f"the dimensions of {name!r} are not those of its {array.id.shape} values")
        return tuple(dim for dim, _ in found)

    def _dataset(self, path: str) -> xr.Dataset:
        arrays = {k: a for k, a in self.arrays[path].items() if not self._is_bare(a)}
        values = {
            name: (self._dims_of(name, array), self._values(name, array), self._attributes(array))
            for name, array in arrays.items()
        }
        named = [str(self._own(a, "coordinates", "")).split() for a in arrays.values()]
        named.append(str(self._own(self.groups[path], "coordinates", "")).split())
        coords = {name for name in values if values[name][0] == (name,)}
        coords |= {name for names in named for name in names if name in values}
        found = xr.Dataset(
            {name: value for name, value in values.items() if name not in coords},
            {name: value for name, value in values.items() if name in coords},
            self._attributes(self.groups[path]),
        )
        return found

    def _values(self, name: str, array: h5py.Dataset) -> Array:
        import h5py

        if array.id.get_type().get_class() != h5py.h5t.STRING:
            values = np.asarray(array[()])
            values = values.astype(values.dtype.newbyteorder("="), copy=False)
            return _truth(name, values) if self._own(array, "dtype") == "bool" else values
        texts = np.asarray(array.asstr()[()], dtype=object)
        width = max(map(len, texts.ravel()), default=0)
        self.spread += 4 * width * texts.size
        return texts.astype(str) if self.spread <= _WIDE + 8 * self.length else texts

    def _is_bare(self, array: h5py.Dataset) -> bool:
        """A dimension without labels: only its size means something."""
        return str(self._own(array, "NAME", "")).startswith(_NO_VARIABLE)

    def _own(self, item: Any, name: str, otherwise: Any = None) -> Any:
        """One of netCDF's own attributes, by which the file says how to read a variable."""
        import h5py

        if not h5py.h5a.exists(item.id, name.encode()):
            return otherwise
        kind = h5py.h5a.open(item.id, name.encode()).get_type()
        if kind.get_class() != h5py.h5t.STRING or kind.is_variable_str():
            return self._attribute(item, name)
        if kind.get_size() > _LONG:
            raise Unsafe(f"the attribute {name!r} is too long")
        return bytes(item.attrs[name]).decode()

    def _attributes(self, item: Any) -> dict[str, Any]:
        """A user's attributes, and those that bayesmix keeps with a fit."""
        import h5py

        if h5py.h5a.get_num_attrs(item.id) > _ATTRIBUTES:
            raise Unsafe(f"{item.name} has more than {_ATTRIBUTES} attributes")
        found = {name: self._attribute(item, name) for name in item.attrs if name not in _OWN}
        for name, value in found.items():
            texts = value if isinstance(value, list | tuple | np.ndarray) else [value]
            self._take(name, sum(len(text) for text in texts if isinstance(text, str)))
        return found

    def _attribute(self, item: Any, name: str) -> Any:
        import h5py

        found = h5py.h5a.open(item.id, name.encode())
        if found.get_space().get_simple_extent_type() == h5py.h5s.NULL:
            raise Unsafe(f"the attribute {name!r} is empty")
        texts, count = _is_text(name, found.get_type()), math.prod(found.shape)
        # an attribute does not say how long its strings are: each at most as long as the file
        if count > _LONG or (texts and count > 1 and count * self.length > _WIDE):
            raise Unsafe(f"the attribute {name!r} holds {count:,} values")
        value = item.attrs[name]
        if isinstance(value, np.ndarray) and texts:
            value = value.astype(str)
        return value[0] if np.shape(value) == (1,) else value


def _names(group: h5py.Group) -> Iterator[str]:
    """Names in a group, in the order in which they were made where the file keeps it."""
    import h5py

    kept = group.id.get_create_plist().get_link_creation_order() & h5py.h5p.CRT_ORDER_TRACKED
    order = h5py.h5.INDEX_CRT_ORDER if kept else h5py.h5.INDEX_NAME
    found: list[bytes] = []

    def note(name: bytes) -> bool | None:
        found.append(name)
        return True if len(found) > _OBJECTS else None

    group.id.links.iterate(note, idx_type=order)
    if len(found) > _OBJECTS:
        raise Unsafe(f"it holds more than {_OBJECTS:,} groups and variables")
    return (name.decode() for name in found)


def _is_text(name: str, kind: Any) -> bool:
    """Whether a type is text of any length; if not, it is a number of at most eight bytes."""
    import h5py

    if kind.get_class() == h5py.h5t.STRING and kind.is_variable_str():
        return True
    if kind.get_class() not in (h5py.h5t.INTEGER, h5py.h5t.FLOAT) or kind.get_size() > 8:
        raise Unsafe(f"{name!r} holds neither real numbers nor text")
    return False


def _truth(name: str, values: Array) -> Array:
    if values.dtype.kind not in "iu" or not np.isin(values, (0, 1)).all():
        raise Unsafe(f"{name!r} should be true or false throughout, and is not")
    return values.astype(bool)
