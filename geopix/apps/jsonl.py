"""The lines of a request file and of an answer file, read and written safely (batches of §III-A's questions)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from geopix.records import Answer

LONGEST_LINE = 1_000_000
"""Bytes of a request line that are read; a longer one is answered with an error."""


class RequestsError(ValueError):
    """A request or answer file that can't be used as a whole."""


@dataclass(frozen=True, slots=True)
class Request:
    """One line of the request file: what is asked, or why it can't be (``error``)."""

    line: int
    id: str | None
    image: Path | None = None
    question: str = ""
    error: str | None = None


def read_requests(path: Path) -> Iterator[Request]:
    """The requests of a file in order, one at a time; empty lines are skipped, bad ones carry an ``error``.

    Only the ids are remembered, to tell when one is used twice.

    Raises:
        OSError: If the file can't be read.
    """
    seen: dict[str, int] = {}
    with path.open("rb") as file:
        for number, raw in enumerate(_lines(file), start=1):
            if raw is not None and not raw.strip(b"\xef\xbb\xbf \t\r\n"):
                continue
            request = _parse(raw, number, path.parent)
            if request.id is not None and request.error is None and request.id in seen:
                first = seen[request.id]
                yield Request(number, request.id, error=f"line {number}: id {request.id!r} was used in line {first}")
                continue
            if request.id is not None:
                seen.setdefault(request.id, number)
            yield request


def _lines(file: BinaryIO) -> Iterator[bytes | None]:
    """The lines of a file; None for one that is too long, which is never held whole."""
    while raw := file.readline(LONGEST_LINE + 1):
        if len(raw) <= LONGEST_LINE:
            yield raw
            continue
        while raw and not raw.endswith(b"\n"):
            raw = file.readline(LONGEST_LINE)
        yield None


def _parse(raw: bytes | None, line: int, folder: Path) -> Request:
    if raw is None:
        return Request(line, None, error=f"line {line} is longer than {LONGEST_LINE:,} bytes")
    try:
        value = json.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return Request(line, None, error=f"line {line} is not UTF-8 text")
    except (json.JSONDecodeError, RecursionError, ValueError):
        value = None
    if not isinstance(value, dict):
        return Request(line, None, error=f'line {line} is not a JSON object like {{"id", "image", "question"}}')
    key = value.get("id")
    if isinstance(key, int) and not isinstance(key, bool):
        key = str(key)  # row numbers are common ids; answers hold them as text
    if not isinstance(key, str) or not key:
        return Request(line, None, error=f'line {line} has no "id" that is a text or a whole number')
    for name in ("image", "question"):
        if not isinstance(value.get(name), str):
            return Request(line, key, error=f'line {line} has no "{name}" that is a text')
    if not value["image"] or "\0" in value["image"]:
        return Request(line, key, error=f'line {line}: "image" is not the path of a file')
    return Request(line, key, folder / value["image"], value["question"])


def encode(answer: Answer) -> bytes:
    """One answer as one line of JSON in ASCII, with its line end."""
    return json.dumps(answer.to_json(), allow_nan=False).encode("ascii") + b"\n"


@dataclass
class Progress:
    """How far an answer file has come: complete answers, those with an error among them, and their size in bytes."""

    done: int = 0
    errors: int = 0
    size: int = 0


def check_answers(path: Path, requests: Iterator[Request]) -> Progress:
    """How much of a request file an answer file already answers.

    A last line without an end was cut short by a crash or a full disk: it is not counted, and not in ``size``.

    Raises:
        RequestsError: If the file holds anything but the answers to these requests, in order.
        OSError: If it can't be read.
    """
    progress = Progress()
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            request = next(requests, None)
            if request is None:
                raise RequestsError(f"{path} holds more lines than there are requests; {_elsewhere()}")
            if not raw.endswith(b"\n"):
                start = json.dumps({"id": request.id})[:-1].encode("ascii")
                if not (raw.startswith(start) or start.startswith(raw)):
                    raise RequestsError(f"{path}: line {number} is not the start of an answer; {_elsewhere()}")
                return progress
            answer = _object(raw)
            if answer is None or "id" not in answer or "error" not in answer:
                raise RequestsError(f"{path}: line {number} is not an answer; {_elsewhere()}")
            if answer["id"] != request.id:
                raise RequestsError(
                    f"{path}: line {number} answers {answer['id']!r}, but the request there is {request.id!r}, "
                    f"so it belongs to other requests; {_elsewhere()}"
                )
            progress.done += 1
            progress.errors += answer["error"] is not None
            progress.size += len(raw)
    return progress


def _object(raw: bytes) -> dict[str, object] | None:
    try:
        value = json.loads(raw)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _elsewhere() -> str:
    return "give another -o, or --overwrite to replace it"


class AnswerFile:
    """An answer file that grows by whole batches: each is on the disk, or none of it.

    Args:
        path: The file; made if there is none.
        size: Bytes to keep; what follows is a line cut short, and goes.

    Raises:
        RequestsError: If another run is writing to the file.
        OSError: If it can't be opened for writing.
    """

    def __init__(self, path: Path, size: int) -> None:
        self._file = FileIO(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+")
        try:
            _lock(self._file, path)
            self._file.truncate(size)
        except BaseException:
            self._file.close()
            raise
        self._size = size

    def append(self, lines: bytes) -> None:
        """Write complete lines and wait until the disk has them; undone if interrupted or if the disk is full.

        Raises:
            OSError: If they can't be written.
        """
        try:
            self._file.seek(self._size)
            left = memoryview(lines)
            while left:
                left = left[self._file.write(left) :]
            os.fsync(self._file.fileno())
        except BaseException:
            self._file.truncate(self._size)
            raise
        self._size += len(lines)

    def close(self) -> None:
        """Close the file and let other runs have it."""
        self._file.close()


def _lock(file: FileIO, path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # no such locks on Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RequestsError(f"{path} is being written by another geopix predict; wait for it to end") from None
    except OSError:  # a file system without locks
        return
