"""Every answer that was paid for, in a file that outlives the process (§IV-C): asked once, kept for good."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import asdict, dataclass
from pathlib import Path

from geopix.data.describe.task import StopError


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer.

    Args:
        id: Of the `geopix.data.describe.prompt.Request`.
        key: The entry's.
        model: Who answered.
        content: The answer as it came.
        finish: Why it ended, "stop" where it is whole.
        tokens_in, tokens_out: What was counted.
        usd: What it cost, None where no price is known.
    """

    id: str
    key: str
    model: str
    content: str
    finish: str = "stop"
    tokens_in: int = 0
    tokens_out: int = 0
    usd: float | None = None


class Replies:
    """A file of answers, one a line. A line cut short by a crash is forgotten.

    Args:
        path: Made where there is none; only one process may write to it.

    Raises:
        StopError: If another process writes to it, or it holds something else.
        OSError: If it can't be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.spent_usd = 0.0
        self.keys: set[str] = set()
        self._places: dict[str, int] = {}
        self._turn = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+b")
        try:
            _lock(self._file.fileno(), path)
            self._size = self._scan()
        except BaseException:
            self._file.close()
            raise

    def _scan(self) -> int:
        size = 0
        for line in self._file:
            if not line.endswith(b"\n"):
                break
            try:
                reply = _from_line(line)
            except (ValueError, TypeError) as error:
                raise StopError(f"{self.path} is no file of answers ({error}); name another with --replies") from error
            self._note(reply, size)
            size += len(line)
        self._file.truncate(size)
        return size

    def _note(self, reply: Reply, place: int) -> None:
        self._places[reply.id] = place
        self.keys.add(reply.key)
        self.spent_usd += reply.usd or 0.0

    def get(self, request_id: str) -> Reply | None:
        """The answer to a request, if it was ever given."""
        with self._turn:
            place = self._places.get(request_id)
            if place is None:
                return None
            self._file.seek(place)
            return _from_line(self._file.readline())

    def add(self, reply: Reply) -> None:
        """Keep an answer; it is on the disk when this returns.

        Raises:
            OSError: If it can't be written.
        """
        line = json.dumps(asdict(reply), ensure_ascii=True).encode("ascii") + b"\n"
        with self._turn:
            try:
                self._file.seek(self._size)
                self._file.write(line)
                self._file.flush()
                os.fsync(self._file.fileno())
            except BaseException:
                self._file.truncate(self._size)
                raise
            self._note(reply, self._size)
            self._size += len(line)

    def __len__(self) -> int:
        return len(self._places)

    def close(self) -> None:
        """Let other processes have the file; one without answers goes."""
        self._file.close()
        if not self._size:
            self.path.unlink(missing_ok=True)


def _from_line(line: bytes) -> Reply:
    raw = json.loads(line)
    if not isinstance(raw, dict):
        raise TypeError("a line is no JSON object")
    reply = Reply(**raw)
    if not all(isinstance(part, str) for part in (reply.id, reply.key, reply.model, reply.content)):
        raise TypeError("a line is no answer")
    if not isinstance(reply.usd, (int, float, type(None))) or (reply.usd or 0.0) < 0:
        raise TypeError("a price is no number")
    return reply


def _lock(descriptor: int, path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # no such locks on Windows
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StopError(f"{path} is being written by another process; wait for it to end") from None
    except OSError:  # a file system without locks
        return
