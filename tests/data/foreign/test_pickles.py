"""Pickles give up their data and nothing else: whatever names code, or asks for memory without end, is refused."""

from __future__ import annotations

import os
import pickle
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geopix.data.entries import EntryError
from geopix.data.foreign.pickles import read_pickle

RECORD = {
    "mask": {"size": [1024, 1024], "counts": "cRYf07fo04M3M2"},
    "bbox": np.array([714.0, 76.0, 726.0, 95.0]),
    "rbox": np.arange(8, dtype=">f4").reshape(4, 2),
    "columns": np.asfortranarray(np.arange(6, dtype=np.int16).reshape(2, 3)),
    "label": np.int64(9),
    "share": np.float32(0.5),
    "flags": np.array([True, False]),
    "none": np.zeros(0),
    "more": (1, None, True, "ü", -(2**70), [{}]),
}
PLAIN = {
    "mask": RECORD["mask"],
    "bbox": [714.0, 76.0, 726.0, 95.0],
    "rbox": [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0], [6.0, 7.0]],
    "columns": [[0, 1, 2], [3, 4, 5]],
    "label": 9,
    "share": 0.5,
    "flags": [True, False],
    "none": [],
    "more": RECORD["more"],
}


def written(folder: Path, raw: bytes) -> Path:
    (folder / "a.pkl").write_bytes(raw)
    return folder / "a.pkl"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_annotations_come_out_plain_in_every_protocol(tmp_path: Path, protocol: int) -> None:
    assert read_pickle(written(tmp_path, pickle.dumps([RECORD], protocol))) == [PLAIN]


def test_arrays_that_python_2_pickled_come_out_too(tmp_path: Path) -> None:
    raw = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I2\ntcnumpy\ndtype\n(S'i4'\nI0\n"
        b"I1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\nS'\\x01\\x00\\x00\\x00\\xff\\x00\\x00\\x00'\ntb."
    )
    assert read_pickle(written(tmp_path, raw)) == [1, 255]


class Calls:
    """Unpickles as the result of a call."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = (function, args)

    def __reduce__(self) -> Any:
        return self.call


def mark(folder: Path) -> str:
    return f"touch {folder / 'executed'}"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("nested", [False, True])
def test_no_pickle_executes_anything(tmp_path: Path, protocol: int, nested: bool) -> None:
    evil: Any = Calls(os.system, mark(tmp_path))
    if nested:
        evil = [{"mask": {}, "bbox": np.zeros(4), "category": evil}]
    path = written(tmp_path, pickle.dumps(evil, protocol))
    with pytest.raises(EntryError, match=r"would run code.*system"):
        read_pickle(path)
    assert not (tmp_path / "executed").exists()
    pickle.loads(path.read_bytes())  # the same file, read the usual way, does
    assert (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    "name",
    [
        "builtins eval", "builtins getattr", "builtins type", "posix system", "os system", "subprocess Popen",
        "numpy load", "numpy f2py", "numpy.testing._private.utils runstring", "numpy.core.multiarray fromfile",
        "numpy._core.multiarray ndarray.tofile", "numpy ndarray.tofile", "_codecs decode", "pickle loads",
        "geopix.data.foreign.pickles read_pickle", "copyreg _reconstructor", "operator attrgetter",
        "functools partial", "importlib import_module", "pathlib Path", "collections OrderedDict", "sys exit",
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", ["GLOBAL", "STACK_GLOBAL"])
def test_only_a_plain_array_is_named(tmp_path: Path, name: str, form: str) -> None:
    module, attribute = name.encode().split()
    if form == "GLOBAL":
        raw = b"c" + module + b"\n" + attribute + b"\n."
    else:
        raw = b"\x80\x04" + b"".join(b"\x8c" + bytes([len(word)]) + word for word in (module, attribute)) + b"\x93."
    with pytest.raises(EntryError, match="would run code"):
        read_pickle(written(tmp_path, raw))


NDARRAY = b"cnumpy\nndarray\n"


@pytest.mark.parametrize(
    "raw",
    [
        b"(cos\nsystem\nS'true'\no.",  # OBJ
        b"(S'true'\nios\nsystem\n.",  # INST
        NDARRAY + b")\x81.",  # NEWOBJ
        b"\x80\x04" + NDARRAY + b")}\x92.",  # NEWOBJ_EX
        b"\x80\x02\x82\x01.",  # EXT1
        b"Pos.system\n.",  # PERSID
        b"S'x'\nQ.",  # BINPERSID
        b"\x80\x05\x97.",  # NEXT_BUFFER
        b"\x80\x04\x8f(K\x01\x90.",  # a set
        NDARRAY + b"}S'__name__'\nS'x'\nsb.",  # BUILD: new attributes for what was named
        NDARRAY + b"N}S'_make'\nNs\x86b.",  # the same through slots
        b"I1\nI2\nR.",  # a call of a number
        b"}}I1\ns.",  # a dict as a key
        b"(((I1\nttI2\nd.",  # a tuple as a key
        b"\x80\x04]",  # ends too soon
        b"",
        b"not a pickle",
        b"\x80\x63.",  # a protocol of the future
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",  # bytes longer than any file
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f.",  # a frame longer than any file
        b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x7f.",  # a bytearray longer than any file
        b"(" * 50 + b".",
        b"L" + b"9" * 5000 + b"L\n.",  # a number too long to be read
    ],
)
def test_everything_else_that_pickles_can_do_is_refused(tmp_path: Path, raw: bytes) -> None:
    with pytest.raises(EntryError, match="pickle"):
        read_pickle(written(tmp_path, raw))


def array(shape: tuple[Any, ...], code: str, raw: Any) -> bytes:
    """A pickle of an array that says whatever shape and type it likes."""
    words = (pickle.dumps(part, 2)[2:-1] for part in (1, shape))
    kind = b"cnumpy\ndtype\n(S'" + code.encode() + b"'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntb"
    data = pickle.dumps(raw, 3)[2:-1]
    made = b"cnumpy.core.multiarray\n_reconstruct\n(" + NDARRAY + b"(I0\ntC\x01btR("
    return b"\x80\x03" + made + b"".join(words) + kind + b"I00\n" + data + b"tb."


def test_the_arrays_of_the_next_test_would_be_read_were_they_right(tmp_path: Path) -> None:
    assert read_pickle(written(tmp_path, array((2,), "i4", b"\1\0\0\0\2\0\0\0"))) == [1, 2]


@pytest.mark.parametrize(
    ("shape", "code", "raw"),
    [
        ((2**40,), "f8", b"\0" * 8),
        ((10**12, 0), "f8", b""),
        ((0, 10**12), "f8", b""),
        ((-1,), "f8", b"\0" * 8),
        ((1,) * 9, "f8", b"\0" * 8),
        ((1,), "O8", [1]),
        ((1,), "O", [1]),
        ((1,), "U1000000000", b""),
        ((1,), "V8", b"\0" * 8),
        ((1,), "i4,i4", b"\0" * 8),
        ((1,), "M8", b"\0" * 8),
        ((1,), "f8", [1.0]),
        (("a",), "f8", b"\0" * 8),
    ],
)
def test_an_array_is_as_large_as_its_bytes_and_holds_numbers(
    tmp_path: Path, shape: tuple[Any, ...], code: str, raw: Any
) -> None:
    with pytest.raises(EntryError, match="pickle"):
        read_pickle(written(tmp_path, array(shape, code, raw)))


def test_ten_bytes_do_not_fill_the_memory(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    path = written(tmp_path, b"\x80\x02]r\xff\xff\xff\x7f.")  # "remember this as number 2,147,483,647"
    assert read_pickle(path) == []
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB; as a table it takes 32 GB


def test_a_key_whose_hash_takes_forever_is_never_hashed(tmp_path: Path) -> None:
    doubled = b"I1\n" + b"2\x86" * 60  # ((1, 1), (1, 1)) and so on: 2**60 leaves in 120 bytes
    started = time.monotonic()
    with pytest.raises(EntryError, match="keys that are no text"):
        read_pickle(written(tmp_path, b"\x80\x02}" + doubled + b"I1\ns."))
    assert time.monotonic() - started < 5


def test_a_pickle_that_is_too_large_or_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(EntryError, match="too large"):
        read_pickle(written(tmp_path, pickle.dumps("x" * 1000)), largest=1000)
    with pytest.raises(EntryError, match="is missing"):
        read_pickle(tmp_path / "none.pkl")
