"""Worker processes: in order, not too far ahead, and gone with whoever started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from geopix.data.assembly.pool import AHEAD, Workers, batched

ROOT = Path(__file__).parents[3]


def square(number: int) -> int:
    time.sleep(0.01 * (number % 3))  # some overtake others
    return number * number


@pytest.mark.parametrize("n", [1, 2])
def test_results_come_in_order_and_tasks_are_not_read_ahead_without_end(n: int) -> None:
    taken = 0

    def tasks() -> Iterator[int]:
        nonlocal taken
        while True:  # endless
            yield taken
            taken += 1

    with Workers(n) as workers:
        for number, result in enumerate(workers.ordered(square, tasks())):
            assert result == number * number
            assert taken <= number + n * AHEAD
            if number == 20:
                break


def test_batches() -> None:
    assert list(batched(range(5), 2)) == [[0, 1], [2, 3], [4]]
    assert list(batched([], 2)) == []


SCRIPT = """
import signal
from geopix.data.assembly.pool import Workers
from tests.data.assembly.test_pool import told
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have handed down "ignore Ctrl-C"
if __name__ == "__main__":
    with Workers(2) as workers:
        for process in workers.ordered(told, range(1000)):
            print(process, flush=True)
"""


def told(number: int) -> int:
    time.sleep(0.2)
    return os.getpid()


def running(process: int) -> bool:
    try:
        os.kill(process, 0)
        told = Path(f"/proc/{process}/stat").read_text()
    except ProcessLookupError:
        return False
    except OSError:  # no such folder on this system, or gone meanwhile
        return not Path("/proc/self").exists()
    return told.rpartition(")")[2].split()[0] != "Z"  # ended, and only waits to be noticed


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_parent(tmp_path: Path, how: signal.Signals) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    parent = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert parent.stdout is not None
    with parent.stdout as lines:
        workers = {int(next(lines)) for _ in range(4)}
        parent.send_signal(how)
        parent.wait(timeout=90)
    assert parent.returncode != 0
    deadline = time.monotonic() + 20
    while any(map(running, workers)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(running, workers))
