"""The batch API over a real connection: sent once, fetched once, whoever is killed in between."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from geopix.data.describe import batch as room
from geopix.data.describe.batch import Batch
from geopix.data.describe.endpoint import connect
from geopix.data.describe.money import Price, Purse
from geopix.data.describe.replies import Replies
from geopix.data.describe.run import Told, describe_set
from geopix.data.describe.settle import Wish
from geopix.data.describe.task import StopError
from geopix.data.entries import Entry, SetReader
from tests.data.describe.server import Script, serving
from tests.data.describe.sets import entries, make, truth
from tests.data.describe.test_endpoint import said, scripted


def run(tmp_path: Path, reader: SetReader, url: str, budget: float | None = None) -> tuple[Told, list[Entry], Replies]:
    replies = Replies(tmp_path / "replies")
    try:
        with connect(url, 0, 30.0) as client:
            purse = Purse(Price(0.5, 5.0), budget, replies.spent_usd)
            told = describe_set(reader, tmp_path / "out", Batch(client, "toy", replies, purse, pause_s=0.01), Wish())
    finally:
        replies.close()
    return told, list(SetReader(tmp_path / "out")), replies


def custom_ids(script: Script) -> list[str]:
    """Every question that was ever sent in a file."""
    files = (raw for name, raw in script.files.items() if not name.endswith("-out"))
    return [json.loads(line)["custom_id"] for raw in files for line in raw.splitlines()]


def test_rounds_until_everything_is_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MOST_QUESTIONS", 4)
    made = entries(10)
    reader = make(tmp_path / "set", made)
    script = scripted(made, {1: ["cut"], 3: ["swapped", "swapped"], 5: ["lost"], 7: ["foreign"]}, batch_polls=3)
    with serving(script) as url:
        told, result, replies = run(tmp_path, reader, url)
    assert said(result) == truth(made)
    assert told.unanswered == 0
    # Ten questions; again those of images 1, 3, 5 (the same one, for it was lost) and 7; once more that of image 3.
    assert [len(raw.splitlines()) for name, raw in script.files.items() if not name.endswith("-out")] == [4, 4, 2, 4, 1]
    assert max(Counter(script.answered).values()) == 1
    assert replies.spent_usd == pytest.approx(14 * 0.001)
    assert all(one["metadata"]["geopix"] for one in script.batches.values())


def test_what_is_lost_again_and_again_is_reported(tmp_path: Path) -> None:
    made = entries(2)
    reader = make(tmp_path / "set", made)
    script = scripted(made, {1: ["lost"] * 9})
    with serving(script) as url:
        told, result, _ = run(tmp_path, reader, url)
    assert said(result) == [truth(made)[0], {}]
    assert (told.unanswered, told.dropped) == (1, {"batch holds no answer": 2})


def test_the_budget_holds_back_what_is_not_sent_yet(tmp_path: Path) -> None:
    made = entries(10)
    reader = make(tmp_path / "set", made)
    script = scripted(made)
    with serving(script) as url, pytest.raises(StopError, match="budget"):
        run(tmp_path, reader, url, budget=0.002)
    assert not script.batches


def test_a_journal_of_another_kind_is_refused(tmp_path: Path) -> None:
    reader = make(tmp_path / "set", entries(1))
    (tmp_path / "replies.batches").write_text("no journal\n")
    with serving(Script({})) as url, pytest.raises(StopError, match="line 1 is no note about a batch"):
        run(tmp_path, reader, url)


def test_a_batch_whose_name_was_never_noted_is_found_by_its_mark(tmp_path: Path) -> None:
    made = entries(3)
    reader = make(tmp_path / "set", made)
    script = scripted(made, batch_polls=1)
    with serving(script) as url:
        run(tmp_path, reader, url)
        journal = tmp_path / "replies.batches"
        sending = journal.read_bytes().splitlines(keepends=True)[0]
        journal.write_bytes(sending + b'{"sent": "cut sho')  # killed right after the endpoint had taken it
        (tmp_path / "replies").unlink()
        for folder in (tmp_path / "out").iterdir():
            folder.unlink()
        _, result, _ = run(tmp_path, reader, url)
    assert said(result) == truth(made)
    assert len(script.batches) == 1


def test_a_process_killed_while_it_waits_finds_its_batch_again(tmp_path: Path) -> None:
    made = entries(6)
    make(tmp_path / "set", made)
    script = scripted(made, {2: ["cut"]}, batch_polls=10**9)
    command = [sys.executable, "-m", "geopix", "data", "describe", str(tmp_path / "set"), "-o", str(tmp_path / "out")]
    command += ["--by", "endpoint", "--model", "gpt-4o-mini", "--batch", "--poll", "0.05", "--budget", "1"]
    with serving(script) as url:
        command += ["--base-url", url]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not any(one["polls"] for one in script.batches.values()):
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        script.batch_polls = 2
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert said(list(SetReader(tmp_path / "out"))) == truth(made)
    assert len(script.batches) == 2  # the one that was waited for, and the one about the answer that was cut off
    assert max(Counter(custom_ids(script)).values()) == 1
    assert max(Counter(script.answered).values()) == 1
