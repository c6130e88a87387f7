"""Work on a stream in several processes: results in order, a bounded number on the way (§IV, at full size)."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from types import TracebackType
from typing import Final, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

AHEAD: Final = 3
"""Tasks on their way for every worker, the one it works on included."""


class PoolError(RuntimeError):
    """A worker process died."""


class Workers:
    """Processes that are started when there is something to do, and end with the context.

    Args:
        n: How many; 1 is this process itself.
    """

    def __init__(self, n: int) -> None:
        self.n = n
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def ordered(self, work: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
        """``map(work, tasks)``, in order; results do not depend on the number of workers.

        Args:
            work: A function that a new process can import, or a `functools.partial` of one.
            tasks: Read only as fast as they are worked on, so they may be endless.

        Raises:
            PoolError: If a worker died, most likely for want of memory.
        """
        if self.n <= 1:
            yield from map(work, tasks)
            return
        if self._pool is None:
            # Not forked: a fork of a process with threads, such as those of BLAS or of a progress bar, may hang.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.n, mp_context=context, initializer=_begin)
        waiting: deque[Future[Result]] = deque()
        try:
            for task in tasks:
                waiting.append(self._pool.submit(work, task))
                if len(waiting) >= self.n * AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise PoolError(
                "a worker process died, most likely for want of memory; use fewer --workers, or close other programs"
            ) from error


def batched(items: Iterable[Task], size: int) -> Iterator[list[Task]]:
    """Lists of so many items, the last one shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _begin() -> None:
    """Make a new process end when it should."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, who ends the pool
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


def _end_with_the_parent() -> None:
    # A worker holds both ends of the queue that it reads, so it would wait for a parent that was killed for ever.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
