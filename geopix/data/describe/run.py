"""A whole set described (§IV-C), image by image, several at once, in the set's order whoever answers first."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from geopix.data.describe.batch import Batch
from geopix.data.describe.settle import Settled, Wish, settle
from geopix.data.describe.task import Describer, PostponedError
from geopix.data.entries import Entry, SetReader
from geopix.data.writing import SetWriter

AHEAD = 4
"""Images under way for every one that is being asked about, so that a slow answer holds nobody up."""


@dataclass(slots=True)
class Told:
    """How a job went.

    Args:
        counts: What was kept, and how the answers fared.
        dropped: Reason -> objects left without a description.
        unanswered: Images for which an answer is missing.
    """

    counts: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    unanswered: int = 0


def describe_set(
    reader: SetReader,
    out: Path,
    describer: Describer,
    wish: Wish,
    *,
    concurrency: int = 1,
    overwrite: bool = False,
    step: str = "",
    watch: Callable[[int], None] = lambda done: None,
    hold_on: Callable[[int], None] = lambda n: None,
) -> Told:
    """Describe a set and write it, whole or not at all.

    Args:
        reader: The set.
        out: The new set's folder.
        describer: Who is asked.
        wish: How descriptions are wanted.
        concurrency: Images asked about at once.
        overwrite: Whether a set at ``out`` is replaced.
        step: What to note in the new set as the command that made it.
        watch: Told how many images are done.
        hold_on: Told how many images are still being asked about when the job ends early; they are waited for.

    Raises:
        EntryError: If the set is broken, or ``out`` is taken.
        StopError: If the job can't go on.
        OSError: If a file can't be read or written.
    """
    told = Told()
    with SetWriter(out, overwrite) as writer:
        if isinstance(describer, Batch):
            _by_batches(reader, describer, wish)
        with closing(_settled(reader, describer, wish, concurrency, hold_on)) as images:
            for done, settled in enumerate(images, start=1):
                writer.add(settled.entry)
                told.counts.update(settled.counts)
                told.dropped.update(settled.dropped)
                told.unanswered += settled.unanswered
                watch(done)
        skipped = Counter(reader.about.skipped) + Counter({f"not described: {k}": n for k, n in told.dropped.items()})
        about = replace(
            reader.about,
            images=str(reader.images.resolve()),
            counts={**reader.about.counts, **{f"describe: {k}": n for k, n in told.counts.items() if n}},
            skipped=dict(skipped),
            steps=(*reader.about.steps, step),
        )
        writer.finish(about)
    return told


def _settled(
    reader: SetReader, describer: Describer, wish: Wish, concurrency: int, hold_on: Callable[[int], None]
) -> Generator[Settled, None, None]:
    """Every image settled, in order; only so many are under way at once."""
    if concurrency == 1:
        for entry in reader:
            yield settle(entry, reader.images, describer, wish)
        return
    pool = ThreadPoolExecutor(concurrency, thread_name_prefix="describe")
    waiting: deque[Future[Settled]] = deque()
    entries = iter(reader)
    try:

        def send(entry: Entry) -> None:
            waiting.append(pool.submit(settle, entry, reader.images, describer, wish))

        for entry in islice(entries, AHEAD * concurrency):
            send(entry)
        while waiting:
            yield waiting[0].result()
            waiting.popleft()
            for entry in islice(entries, 1):
                send(entry)
    finally:  # what is being asked right now is waited for and kept: it is paid
        describer.stop()
        if running := sum(future.running() for future in waiting):
            hold_on(running)
        pool.shutdown(wait=True, cancel_futures=True)


def _by_batches(reader: SetReader, batch: Batch, wish: Wish) -> None:
    """Collect what is to be asked, send it, wait; again for what must be asked again."""
    for _ in range(wish.attempts):
        for entry in reader:
            try:
                settle(entry, reader.images, batch, wish)
            except PostponedError:
                continue
        if not batch.finish():
            break
    batch.close()
