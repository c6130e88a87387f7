"""geopix data finetune: nothing leaves before somebody said yes, and a killed run goes on; against a real server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer
from typer.testing import CliRunner, Result

from geopix.apps import finetune
from geopix.apps.cli import app
from geopix.data.finetune.examples import line
from tests.tiny_finetune import Endpoint, serving, state
from tests.tiny_review import pair, tiny_set

MODEL = ("--model", "gpt-4o-2024-08-06")


def run(*words: object) -> Result:
    result = CliRunner().invoke(app, ["data", "finetune", *map(str, words), "--every", "0.01"])
    assert "Traceback" not in result.output
    return result


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setenv("COLUMNS", "200")
    with serving() as endpoint:
        yield endpoint


@pytest.fixture
def path(tmp_path: Path) -> Path:
    tiny_set(tmp_path / "set", [pair(1)])
    text = line(pair(1), tmp_path / "set-pictures", ["the left ship", "the right ship"])
    (tmp_path / "e.jsonl").write_text(text * 10)
    return tmp_path / "e.jsonl"


def test_from_the_estimate_to_the_model(server: Endpoint, path: Path) -> None:
    server.states = [state("running", tokens=5), state("succeeded", "ft:gpt-4o:geopix", 1234)]
    result = run(path, *MODEL, "--base-url", server.url, "--yes", "--epochs", "2", "--suffix", "geopix")
    assert result.exit_code == 0, result.output
    rows = [row.split() for row in result.stdout.splitlines() if row.strip()]
    assert ["examples", "10"] in rows
    assert ["epochs", "2"] in rows
    assert rows[-1] == ["ft:gpt-4o:geopix"]
    assert "started ftjob-0" in result.stderr
    assert "1,234 trained tokens" in result.stderr
    assert server.jobs["ftjob-0"]["suffix"] == "geopix"
    note = json.loads(path.with_name("e.jsonl.job.json").read_text())
    assert (note["file"], note["job"]) == ("file-0", "ftjob-0")
    assert "secret" not in json.dumps(note)

    again = run(path, *MODEL, "--base-url", server.url, "--epochs", "2", "--suffix", "geopix")  # nothing to ask about
    assert again.exit_code == 0, again.output
    assert "was started before" in again.stderr
    assert (server.calls("POST /files"), server.calls("POST /fine_tuning/jobs")) == (1, 1)


def test_nothing_is_sent_without_a_yes(server: Endpoint, path: Path) -> None:
    for words, code, said in (
        (("--dry-run",), 0, ""),
        ((), 1, "add --yes"),
        (("--budget", "0.0001", "--yes"), 1, "more than the budget of 0.00; nothing was sent"),
        (("--model", "mine", "--budget", "5", "--yes"), 1, "the price of mine is not known"),
    ):
        result = run(path, *MODEL, "--base-url", server.url, *words)
        assert result.exit_code == code, result.output
        assert said in result.stderr
        assert "dollars, about" in result.stdout
    assert server.seen == []
    assert not path.with_name("e.jsonl.job.json").exists()


def test_the_estimate_counts_in_dollars(server: Endpoint, path: Path) -> None:
    result = run(path, "--model", "mine", "--price", "1000000", "--epochs", "1", "--dry-run", "--base-url", server.url)
    rows = {tuple(row.split()[:-1]): row.split()[-1] for row in result.stdout.splitlines() if row.strip()}
    tokens = rows["tokens", "trained,", "about"]
    assert rows["dollars,", "about"] == f"{tokens}.00"


def test_a_person_is_asked(server: Endpoint, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def no(what: str, err: bool) -> bool:
        asked.append(what)
        return False

    monkeypatch.setattr(finetune, "sys", SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True)))
    monkeypatch.setattr(typer, "confirm", no)
    result = run(path, *MODEL, "--base-url", server.url)
    assert result.exit_code == 1
    assert "nothing was sent" in result.stderr
    assert server.url in asked[0]
    assert "10 images" in asked[0]
    assert server.seen == []


def test_a_job_is_watched_by_its_id(server: Endpoint, path: Path) -> None:
    run(path, *MODEL, "--base-url", server.url, "--yes")
    result = run("--job", "ftjob-0", "--base-url", server.url)
    assert (result.exit_code, result.stdout) == (0, "ft:new\n")
    server.jobs["ftjob-0"]["states"] = [state("failed", error="bad\nline\x1b[31m")]
    result = run("--job", "ftjob-0", "--base-url", server.url)
    assert result.exit_code == 1
    assert "geopix: ftjob-0 failed: bad line[31m" in result.stderr
    server.jobs["ftjob-0"]["states"] = [state("cancelled")]
    assert "geopix: ftjob-0 cancelled" in run("--job", "ftjob-0", "--base-url", server.url).stderr


def test_bad_usage_is_one_sentence(server: Endpoint, path: Path) -> None:
    for words, said in (
        ((), "give the examples and --model"),
        ((path, "--job", "ftjob-0"), "give the examples and --model"),
        ((path,), "name the model to teach"),
        ((path.with_name("none.jsonl"), *MODEL), "there is no file"),
        (("--job", "../x", "--base-url", server.url), "is no id of a job"),
        ((path, *MODEL, "--base-url", "nowhere", "--yes"), "is no address"),
    ):
        result = run(*words)
        assert result.exit_code == 1
        assert said in result.stderr
        assert len([row for row in result.stderr.splitlines() if row.startswith("geopix: ")]) == 1
    assert server.seen == []


def waits(done: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not done():
        assert time.monotonic() < end, "nothing happened for a minute"
        time.sleep(0.02)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_ended_while_it_watches_goes_on(
    server: Endpoint, path: Path, start_cli: Callable[..., subprocess.Popen[str]], sent: signal.Signals
) -> None:
    server.states = [state("running")]
    words = ["data", "finetune", path, *MODEL, "--base-url", server.url, "--yes", "--every", "0.05"]
    process = start_cli(*words)
    waits(lambda: server.calls("GET /fine_tuning/jobs/ID") > 1)
    os.kill(process.pid, sent)
    _, complaint = process.communicate(timeout=60)
    if sent == signal.SIGINT:
        assert process.returncode == 130
        assert "the job goes on; watch it again with: geopix data finetune --job ftjob-0" in complaint
    server.jobs["ftjob-0"]["states"] = [state("succeeded", "ft:mine")]
    again = start_cli(*words)
    told, _ = again.communicate(timeout=60)
    assert again.returncode == 0
    assert told.splitlines()[-1] == "ft:mine"
    assert (len(server.files), len(server.jobs)) == (1, 1)


def test_a_run_that_is_killed_while_it_sends_sends_one_file(
    server: Endpoint, path: Path, start_cli: Callable[..., subprocess.Popen[str]]
) -> None:
    words = ["data", "finetune", path, *MODEL, "--base-url", server.url, "--yes", "--every", "0.05"]
    server.holds["POST /files"] = True  # the file has arrived; the answer waits
    process = start_cli(*words)
    waits(lambda: bool(server.files))
    process.kill()
    process.communicate(timeout=60)
    server.holds.clear()
    again = start_cli(*words)
    told, _ = again.communicate(timeout=60)
    assert again.returncode == 0
    assert told.splitlines()[-1] == "ft:new"
    assert (server.calls("POST /files"), len(server.files), len(server.jobs)) == (1, 1, 1)
