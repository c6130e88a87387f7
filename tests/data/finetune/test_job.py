"""Fine-tuning against a real HTTP server: whatever breaks, everything is sent once and the job is found again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from geopix.data.finetune import endpoint as room
from geopix.data.finetune import job as job_room
from geopix.data.finetune import limits
from geopix.data.finetune.endpoint import Endpoint, FinetuneError, NoAnswerError, State
from geopix.data.finetune.job import Note, follow, start
from tests import tiny_finetune
from tests.tiny_finetune import serving, state

CONTENT = b'{"messages": []}\n' * 30


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[tiny_finetune.Endpoint]:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    with serving() as endpoint:
        yield endpoint


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "e.jsonl").write_bytes(CONTENT)
    return tmp_path / "e.jsonl"


def order(url: str) -> Note:
    return Note("ab" * 32, url, "gpt-4o-2024-08-06")


def started(
    server: tiny_finetune.Endpoint, path: Path, what: Note | None = None, again: bool = False
) -> tuple[str, bool]:
    note = path.with_name("note.json")
    return start(Endpoint(server.url), path, note, what or order(server.url), again=again, pause_s=0.001)


def test_a_job_is_started_and_watched_to_its_end(server: tiny_finetune.Endpoint, path: Path) -> None:
    sent: list[int] = []
    what = replace(order(server.url), epochs=2, suffix="geopix")
    job, new = start(
        Endpoint(server.url), path, path.with_name("n"), what, watch=lambda _, done, total: sent.append(done)
    )
    assert (job, new) == ("ftjob-0", True)
    ((name, data),) = server.files.values()
    assert (name, data) == ("geopix-" + "ab" * 10 + ".jsonl", CONTENT)
    assert sent[-1] == len(CONTENT)
    asked = server.jobs["ftjob-0"]
    assert (asked["model"], asked["training_file"], asked["suffix"]) == ("gpt-4o-2024-08-06", "file-0", "geopix")
    assert asked["method"]["supervised"]["hyperparameters"] == {"n_epochs": 2}
    assert server.keys == {"Bearer secret"}
    told: list[State] = []
    asked["states"] = [state("queued"), state("running", tokens=7), state("succeeded", "ft:gpt-4o:x", 90)]
    end = follow(Endpoint(server.url), job, told.append, every_s=0)
    assert (end.status, end.model, end.trained_tokens) == ("succeeded", "ft:gpt-4o:x", 90)
    assert [one.status for one in told] == ["queued", "running", "succeeded"]
    assert told[1].said == "step 3 of 9"


def test_the_same_order_is_not_sent_again(server: tiny_finetune.Endpoint, path: Path) -> None:
    assert started(server, path) == ("ftjob-0", True)
    before = list(server.seen)
    assert started(server, path) == ("ftjob-0", False)
    assert server.seen == before


@pytest.mark.parametrize("step", ["POST /files", "POST /fine_tuning/jobs"])
@pytest.mark.parametrize("fault", ["cut", "done but cut", "500", "429", "503"])
def test_what_broke_is_looked_for_and_sent_once(
    server: tiny_finetune.Endpoint, path: Path, step: str, fault: str
) -> None:
    server.faults[step] = [fault]
    assert started(server, path)[0] == "ftjob-0"
    assert (len(server.files), len(server.jobs)) == (1, 1)
    assert server.calls(step) == (1 if fault == "done but cut" else 2)


def test_a_killed_run_goes_on_where_it_was(
    server: tiny_finetune.Endpoint, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, written = Note.write, 0

    def killed(self: Note, note: Path) -> None:
        nonlocal written
        written += 1
        if written in (1, 3):  # after the file has arrived and after the job was started, and before that is noted
            raise KeyboardInterrupt
        write(self, note)

    monkeypatch.setattr(Note, "write", killed)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            started(server, path)
    assert started(server, path) == ("ftjob-0", False)
    assert (server.calls("POST /files"), server.calls("POST /fine_tuning/jobs")) == (1, 1)


def test_another_job_is_started_only_when_asked_for(server: tiny_finetune.Endpoint, path: Path) -> None:
    assert started(server, path) == ("ftjob-0", True)
    assert started(server, path, again=True) == ("ftjob-1", True)
    assert started(server, path) == ("ftjob-1", False)
    more = replace(order(server.url), epochs=5)
    assert started(server, path, more) == ("ftjob-2", True)  # another order for the same examples
    assert len(server.files) == 1


def test_a_run_killed_while_starting_another_job_does_not_bring_back_the_old_one(
    server: tiny_finetune.Endpoint, path: Path
) -> None:
    started(server, path)
    server.faults["POST /fine_tuning/jobs"] = ["500"] * 5
    with pytest.raises(NoAnswerError):
        started(server, path, again=True)
    assert started(server, path) == ("ftjob-1", True)


def test_a_job_that_failed_does_not_count_as_started(server: tiny_finetune.Endpoint, path: Path) -> None:
    server.states = [state("failed", error="bad data")]
    started(server, path)
    path.with_name("note.json").unlink()
    server.states = [state("succeeded", "ft:new")]
    assert started(server, path) == ("ftjob-1", True)


def test_lists_of_many_pages_are_read_and_missing_ones_are_no_fault(server: tiny_finetune.Endpoint, path: Path) -> None:
    for number in range(5):
        server.files[f"file-x{number}"] = ("other.jsonl", b"x")
    server.files["file-mine"] = ("geopix-" + "ab" * 10 + ".jsonl", CONTENT)
    assert started(server, path) == ("ftjob-0", True)
    assert server.jobs["ftjob-0"]["training_file"] == "file-mine"
    assert server.calls("GET /files") == 3
    server.lists = False
    path.with_name("note.json").unlink()
    assert started(server, path) == ("ftjob-1", True)


def test_a_large_file_goes_up_in_parts(
    server: tiny_finetune.Endpoint, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LARGEST_AT_ONCE", 100)
    monkeypatch.setattr(room, "PART_BYTES", 200)
    assert started(server, path)[0] == "ftjob-0"
    assert server.files["file-0"] == ("geopix-" + "ab" * 10 + ".jsonl", CONTENT)
    assert server.calls("POST /uploads/ID/parts") == 3


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("400", r"did not start the job: status 400, .*fault 400"),
        ("401", "does not take the key in OPENAI_API_KEY"),
        ("html", "is no id of a job; is the endpoint's address right"),
        ('{"id": "../../files"}', "is no id of a job"),
        ('{"id": null}', "is no id of a job"),
    ],
)
def test_a_refusal_is_one_sentence(server: tiny_finetune.Endpoint, path: Path, fault: str, said: str) -> None:
    server.faults["POST /fine_tuning/jobs"] = [fault]
    with pytest.raises(FinetuneError, match=said) as caught:
        started(server, path)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)
    assert server.calls("POST /fine_tuning/jobs") == 1


def test_an_empty_purse_is_not_asked_again(server: tiny_finetune.Endpoint, path: Path) -> None:
    server.faults["POST /fine_tuning/jobs"] = ["429 insufficient_quota"] * 9
    with pytest.raises(FinetuneError, match="status 429"):
        started(server, path)
    assert server.calls("POST /fine_tuning/jobs") == 1


def test_nobody_at_the_address(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_room, "ATTEMPTS", 1)
    with serving() as gone:
        pass
    with pytest.raises(NoAnswerError, match=r"can't be reached; is its address right\?"):
        start(Endpoint(gone.url), path, path.with_name("n"), order(gone.url), pause_s=0.001)


def test_watching_outlasts_silence(server: tiny_finetune.Endpoint, path: Path) -> None:
    job, _ = started(server, path)
    look = "GET /fine_tuning/jobs/ID"
    server.faults[look] = ["500", "cut", "429", "500", "500", "500", None, "503", "503", "503"]
    told: list[State] = []
    assert follow(Endpoint(server.url), job, told.append, every_s=0).status == "succeeded"
    assert any("trying again" in one.said for one in told)
    server.faults[look] = ["500"] * 50
    with pytest.raises(NoAnswerError):
        follow(Endpoint(server.url), job, told.append, every_s=0, patience_s=0)


def test_a_job_that_fails_says_why(server: tiny_finetune.Endpoint, path: Path) -> None:
    server.states = [state("running"), state("failed", error="line 3 is unsafe")]
    job, _ = started(server, path)
    end = follow(Endpoint(server.url), job, lambda told: None, every_s=0)
    assert (end.status, end.said) == ("failed", "line 3 is unsafe")


def test_jobs_that_are_not_there_or_no_ids(server: tiny_finetune.Endpoint) -> None:
    with pytest.raises(FinetuneError, match="did not tell how the job is: status 404"):
        follow(Endpoint(server.url), "ftjob-9", lambda told: None)
    for bad in ("", "../files", "a b", "a/b", "a" * 300, "\x1b[31m"):
        with pytest.raises(FinetuneError, match="is no id of a job"):
            follow(Endpoint(server.url), bad, lambda told: None)
    server.faults["GET /fine_tuning/jobs/ID"] = ["html", '{"status": 7}']
    with pytest.raises(FinetuneError, match="answers something that is no job"):
        follow(Endpoint(server.url), "ftjob-9", lambda told: None)


def test_a_note_that_is_broken_or_of_another_order_is_not_used(server: tiny_finetune.Endpoint, path: Path) -> None:
    note = path.with_name("note.json")
    for text in ("", "{", "[1]", '{"sha256": 1}', "\x00" * 9):
        note.write_text(text)
        assert Note.read(note) is None
    assert started(server, path)[1]
    other = replace(order(server.url), sha256="cd" * 32)
    assert started(server, path, other) == ("ftjob-1", True)
    assert len(server.files) == 2


def test_without_a_key_or_the_package_nothing_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(FinetuneError, match=r"there is no key: put it into .* OPENAI_API_KEY"):
        Endpoint()
    with pytest.raises(FinetuneError, match="'ftp://x' is no address"):
        Endpoint("ftp://x")
    assert Endpoint("http://127.0.0.1:9/v1").address == "http://127.0.0.1:9/v1/"
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(FinetuneError, match=r"pip install 'geopix\[describe\]'"):
        Endpoint("http://127.0.0.1:9/v1")
