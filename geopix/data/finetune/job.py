"""A fine-tuning job from the order to the model, each thing paid once (§IV-C).

What was sent is noted in a file after every step. Where a run is killed between the endpoint's doing and our noting,
the endpoint is asked what it has before anything is sent again: uploads are named by their content, and a job is known
by its upload.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final, Protocol, TypeVar

from geopix.data.finetune.endpoint import FinetuneError, NoAnswerError, State, identifier
from geopix.data.foreign.found import Watch, unwatched

T = TypeVar("T")

ENDED: Final = ("succeeded", "failed", "cancelled")
ATTEMPTS: Final = 5
PATIENCE_S: Final = 1800.0
"""How long the endpoint may be silent before watching is given up; the job does not depend on it."""


class Jobs(Protocol):
    """What `geopix.data.finetune.endpoint.Endpoint` does."""

    def uploaded(self, name: str, size: int) -> str | None:
        """The id of a file of this name and size that is there already."""

    def upload(self, path: Path, name: str, sent: Callable[[int], None]) -> str:
        """Send a file under a name; its id."""

    def jobs(self, file: str, model: str) -> list[str]:
        """Ids of the jobs that teach this model this file, and did not fail."""

    def create(self, file: str, model: str, epochs: int | None, suffix: str | None) -> str:
        """Start a job; its id."""

    def state(self, job: str) -> State:
        """How a job is."""


@dataclass(frozen=True, slots=True)
class Note:
    """What was ordered, where, and how far that came.

    Args:
        sha256: Of the examples, in hexadecimal.
        endpoint: Its address.
        model: What is to be taught.
        epochs: How often it sees every example, None for the endpoint's own choice.
        suffix: A word for the new model's name, or None.
        file, job: Their ids, "" until they exist.
        earlier: Ids of jobs that taught the same model the same examples, and are not this one.
    """

    sha256: str
    endpoint: str
    model: str
    epochs: int | None = None
    suffix: str | None = None
    file: str = ""
    job: str = ""
    earlier: tuple[str, ...] = ()

    @classmethod
    def read(cls, path: Path) -> Note | None:
        """The note in a file, or None where there is none that can be read."""
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            note = cls(**{**raw, "earlier": tuple(raw["earlier"])})
        except (OSError, LookupError, ValueError, TypeError, RecursionError):
            return None
        return note if all(isinstance(one, str) for one in (note.file, note.job, *note.earlier)) else None

    def write(self, path: Path) -> None:
        """Replace the file by this note, whole or not at all."""
        half = path.with_name(f".{path.name}.{os.getpid()}")
        half.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        half.replace(path)

    def ordered(self) -> Note:
        """The same before anything of it was done."""
        return replace(self, file="", job="", earlier=())


def start(
    endpoint: Jobs,
    path: Path,
    note_path: Path,
    order: Note,
    *,
    again: bool = False,
    pause_s: float = 2.0,
    watch: Watch = unwatched,
) -> tuple[str, bool]:
    """The job for an order: the one that was started before, or a new one.

    Args:
        endpoint: Where.
        path: The examples, checked.
        note_path: Where to note how far it came.
        order: What is wanted.
        again: Whether another job is started though there was one.
        pause_s: Seconds to wait after the first failure; doubled after every further one.
        watch: Told the bytes sent.

    Returns:
        Its id, and whether it was started now.

    Raises:
        FinetuneError: If the endpoint refuses, or can't be reached.
        OSError: If a file can't be read or written.
    """
    old = Note.read(note_path)
    note = order.ordered() if old is None or old.ordered() != order.ordered() else old
    if old is not None and old.job and (note is not old or again):
        note = replace(note, job="", earlier=(*old.earlier, old.job))
        note.write(note_path)  # before anything is sent: a kill must not bring the old job back
    if note.job:
        return identifier(note.job, "job"), False
    size = path.stat().st_size
    if not note.file:
        name = f"geopix-{order.sha256[:20]}.jsonl"
        file = _once(
            lambda: endpoint.uploaded(name, size),
            lambda: endpoint.upload(path, name, lambda sent: watch("sending", sent, size)),
            pause_s,
        )
        note = replace(note, file=file)
        note.write(note_path)
    made: list[str] = []

    def create() -> str:
        made.append(endpoint.create(note.file, note.model, note.epochs, note.suffix))
        return made[-1]

    job = _once(
        lambda: next((one for one in endpoint.jobs(note.file, note.model) if one not in note.earlier), None),
        create,
        pause_s,
    )
    replace(note, job=job).write(note_path)
    return job, bool(made)


def follow(
    endpoint: Jobs, job: str, told: Callable[[State], None], *, every_s: float = 10.0, patience_s: float = PATIENCE_S
) -> State:
    """Watch a job to its end.

    Args:
        endpoint: Where it runs.
        job: Its id.
        told: Hears every state.
        every_s: Seconds between two looks.
        patience_s: How long the endpoint may fail to answer.

    Raises:
        FinetuneError: If the endpoint has no such job, or is silent for too long.
    """
    state, answered = State(identifier(job, "job"), "not seen yet"), time.monotonic()
    while True:
        try:
            state = endpoint.state(job)
            answered = time.monotonic()
        except NoAnswerError as error:
            if time.monotonic() - answered > patience_s:
                raise
            state = replace(state, said=f"{error}; trying again")
        told(state)
        if state.status in ENDED:
            return state
        time.sleep(every_s)


def _once(find: Callable[[], T | None], make: Callable[[], T], pause_s: float) -> T:
    """What is there already, else what is made; after a failure that may have made it all the same, look again."""
    for attempt in range(ATTEMPTS):
        try:
            found = find()
            return make() if found is None else found
        except NoAnswerError:
            if attempt == ATTEMPTS - 1:
                raise
            time.sleep(pause_s * 2**attempt)
    raise FinetuneError("nothing was tried")
