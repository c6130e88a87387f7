"""Pickles without their power: text, numbers, lists, dicts, and NumPy's arrays as lists (§IV-A: SAMRS comes as such).

A pickle is a program. This reader runs the part of the language that builds plain data and knows no other: what a
pickle may name is a short table of stand-ins of ours, none of which is NumPy's own, so nothing of a hostile file is
ever called, and no array is as large as a file says instead of as its bytes are. It is Python's own slower unpickler,
for the fast one lets a file of ten bytes fill the memory (https://github.com/python/cpython/issues/115952).
"""

from __future__ import annotations

import io
import math
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from geopix.data.entries import EntryError
from geopix.data.foreign.found import MALFORMED, required

LARGEST = 8_000_000
"""Bytes of a pickle that are read, unless a caller knows better: a byte may become fifty in memory."""

_TYPE = re.compile(r"[<>|=]?([biuf][1248])")
_REFUSED = (
    pickle.INST, pickle.OBJ, pickle.NEWOBJ, pickle.NEWOBJ_EX, pickle.EXT1, pickle.EXT2, pickle.EXT4, pickle.PERSID,
    pickle.BINPERSID, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER, pickle.EMPTY_SET, pickle.ADDITEMS, pickle.FROZENSET,
)  # fmt: skip


def read_pickle(path: Path, largest: int = LARGEST) -> Any:
    """The data in a pickle; arrays and their scalars are lists and numbers.

    Raises:
        EntryError: If it is missing, too large, broken, or holds anything else.
        OSError: If it can't be read.
    """
    with required(path).open("rb") as file:
        raw = file.read(largest + 1)
    if len(raw) > largest:
        raise EntryError("pickle too large", f"{path}, more than {largest:,} bytes")
    try:
        return _Reader(io.BytesIO(raw), encoding="latin-1").load()
    except EntryError as error:
        raise EntryError(error.reason, f"{path}: {error.detail}") from error
    except (*MALFORMED, pickle.UnpicklingError, EOFError, MemoryError) as error:
        raise EntryError("pickle broken", f"{path} ({type(error).__name__} {str(error)[:100]})") from error


class _StandIn:
    """What a pickle gets when it names a function: something to call that makes plain data."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., Any]) -> None:
        self._make = make

    def __call__(self, *args: Any) -> Any:
        return self._make(*args)

    def __setstate__(self, state: Any) -> None:
        raise EntryError("pickle that would change code")


class _Type:
    """A NumPy number type: its code such as "f8", and its byte order."""

    __slots__ = ("code", "order")

    def __init__(self, code: Any, *_: Any) -> None:
        found = _TYPE.fullmatch(code) if isinstance(code, str) else None
        if found is None:
            raise EntryError("pickle with an array of no numbers", repr(code)[:60])
        self.code, self.order = found.group(1), "="

    def __setstate__(self, state: Any) -> None:
        order = state[1]
        if order not in ("<", ">", "|", "="):
            raise ValueError("no byte order")
        self.order = order

    def values(self, raw: Any, shape: Any, fortran: Any) -> list[Any]:
        """Nested lists of the numbers in a buffer."""
        sides = tuple(int(side) for side in shape)
        raw = raw.encode("latin-1") if isinstance(raw, str) else raw  # as Python 2 wrote it
        flat = np.frombuffer(raw, np.dtype(self.order.replace("|", "=") + self.code))
        if len(sides) > 8 or math.prod(sides) != flat.size or (flat.size == 0 and len(sides) > 1):
            raise ValueError(f"{flat.size} numbers do not fill an array of {sides}")
        return list(flat.reshape(sides, order="F" if fortran else "C").tolist()) if sides else [flat[0].item()]


class _Array(list[Any]):
    """A NumPy array to be, filled by the state that follows it in the pickle."""

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, raw = state
        self[:] = kind.values(raw, shape, fortran)


def _frombuffer(raw: Any, kind: Any, shape: Any, order: Any) -> list[Any]:
    return list(kind.values(raw, shape, order == "F"))


def _scalar(kind: Any, raw: Any) -> Any:
    return kind.values(raw, (1,), False)[0]


def _encode(words: Any, encoding: Any) -> bytes:  # how old protocols write bytes
    if encoding != "latin1" or not isinstance(words, str):
        raise ValueError("bytes in an unknown encoding")
    return words.encode("latin-1")


_NAMES: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("multiarray", "_reconstruct"): lambda kind, shape, code: _Array(),
    ("multiarray", "scalar"): _scalar,
    ("numeric", "_frombuffer"): _frombuffer,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): lambda: b"",
}


_LOADERS: dict[int, Callable[..., None]] = dict(pickle._Unpickler.dispatch)


class _Reader(pickle._Unpickler):
    """Python's unpickler with the table above for names, plain keys only, and without the opcodes it does not need."""

    stack: list[Any]
    dispatch: ClassVar[dict[int, Callable[..., None]]] = {
        code: load for code, load in _LOADERS.items() if bytes([code]) not in _REFUSED
    }

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in of a name.

        Raises:
            EntryError: If a plain array would not name it.
        """
        known = _NAMES.get((re.sub(r"^numpy\._?core\.", "", module), name))
        if known is None:
            raise EntryError("pickle that would run code", f"it names {module}.{name}"[:120])
        return _StandIn(known)

    def _plain_keys(self, keys: list[Any]) -> None:
        # The hash of nested tuples takes time without end, and annotations have no such keys.
        if any(type(key) not in (str, int) for key in keys):
            raise EntryError("pickle with keys that are no text")

    def load_setitem(self) -> None:
        self._plain_keys(self.stack[-2:-1])
        _LOADERS[pickle.SETITEM[0]](self)

    def load_setitems(self) -> None:
        self._plain_keys(self.stack[::2])
        _LOADERS[pickle.SETITEMS[0]](self)

    def load_dict(self) -> None:
        self._plain_keys(self.stack[::2])
        _LOADERS[pickle.DICT[0]](self)

    dispatch[pickle.SETITEM[0]] = load_setitem
    dispatch[pickle.SETITEMS[0]] = load_setitems
    dispatch[pickle.DICT[0]] = load_dict
