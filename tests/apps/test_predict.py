"""Batches of requests: order, bad lines, restarts, interrupts."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from typer.testing import CliRunner, Result

from geopix.apps import jsonl
from geopix.apps.cli import app

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "answer.schema.json").read_text())
Write = Callable[[Sequence[Any]], Path]


def predict(requests: Path, answers: Path, *more: str) -> Result:
    result = CliRunner().invoke(app, ["predict", str(requests), "-o", str(answers), *more])
    assert "Traceback" not in result.output
    assert result.stdout == ""
    return result


def read(answers: Path) -> list[dict[str, Any]]:
    text = answers.read_text()
    assert text.endswith("\n") or not text
    values = [json.loads(line) for line in text.splitlines()]
    for value in values:
        jsonschema.validate(value, SCHEMA)
    return values


def good(count: int) -> list[dict[str, str]]:
    return [{"id": f"q{n}", "image": "field.png", "question": f"find {n}"} for n in range(count)]


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    return tmp_path / "answers.jsonl"


def test_answers_keep_the_order_in_batches(loads: Any, picture: Path, requests_file: Write, answers: Path) -> None:
    result = predict(requests_file(good(5)), answers, "--batch-size", "2")
    assert result.exit_code == 0, result.output
    assert "wrote 5 answers" in result.stderr
    values = read(answers)
    assert [value["id"] for value in values] == ["q0", "q1", "q2", "q3", "q4"]
    assert [value["text"].split(":")[0] for value in values] == [f"to find {n}" for n in range(5)]
    assert loads.guide.batches == [2, 2, 1]


def test_bad_lines_get_an_error_and_the_rest_go_on(
    loads: Any, picture: Path, requests_file: Write, answers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonl, "LONGEST_LINE", 200)
    fine = {"image": "field.png", "question": "find ships"}
    (picture.parent / "text.png").write_text("no picture")
    lines: list[tuple[Any, str | None, str | None]] = [
        (b"\xef\xbb\xbf" + json.dumps({"id": "first", **fine}).encode(), "first", None),
        (b"{", None, "line 2 is not a JSON object"),
        ([1], None, "line 3 is not a JSON object"),
        (b"\xff\xfe", None, "line 4 is not UTF-8"),
        (fine, None, '"id"'),
        ({"id": True, **fine}, None, '"id"'),
        ({"id": 7, **fine}, "7", None),
        ({"id": "x", **fine, "question": "y" * 300}, None, "longer than 200 bytes"),
        ({"id": "no image", "question": "find ships"}, "no image", '"image"'),
        ({"id": "no question", "image": "field.png"}, "no question", '"question"'),
        ({"id": "nul", **fine, "image": "\0"}, "nul", "not the path"),
        ({"id": "missing", **fine, "image": "nowhere.png"}, "missing", "nowhere.png"),
        ({"id": "text", **fine, "image": "text.png"}, "text", "text.png"),
        ({"id": "first", **fine}, "first", "was used in line 1"),
        ({"id": "empty question", **fine, "question": " "}, "empty question", "characters"),
        (b"[" * 150, None, "not a JSON object"),
        (b'{"id": ' + b"9" * 150 + b"}", "9" * 150, '"image"'),
        ({"id": "last", **fine}, "last", None),
    ]
    path = requests_file([line for line, _, _ in lines])
    path.write_bytes(path.read_bytes() + b"\n  \n")  # empty lines are no requests
    result = predict(path, answers)
    assert result.exit_code == 3, result.output
    values = read(answers)
    assert len(values) == len(lines)
    for value, (line, key, error) in zip(values, lines, strict=True):
        assert value["id"] == key, line
        assert (value["error"] is None) == (error is None), value
        assert error is None or error in value["error"]
    assert "with an error" in result.stderr


def test_one_bad_request_takes_no_other_down(loads: Any, picture: Path, requests_file: Write, answers: Path) -> None:
    lines = good(6)
    lines[1]["question"], lines[4]["question"] = "crash", "memory"
    assert predict(requests_file(lines), answers, "--batch-size", "6").exit_code == 3
    errors = [value["error"] for value in read(answers)]
    assert [error is None for error in errors] == [True, False, True, True, False, True]
    assert "unexpected RuntimeError: the fuse blew" in errors[1]
    assert "not enough memory" in errors[4]
    assert read(answers)[1]["size_hw"] == [40, 60]


def test_a_finished_file_says_so_without_loading(
    loads: Any, picture: Path, requests_file: Write, answers: Path
) -> None:
    requests = requests_file(good(3))
    predict(requests, answers)
    before = answers.read_bytes()
    loads.calls.clear()
    result = predict(requests, answers)
    assert (result.exit_code, loads.calls) == (0, [])
    assert "all 3 requests are already answered" in result.stderr
    assert answers.read_bytes() == before
    assert predict(requests, answers, "--overwrite").exit_code == 0
    assert loads.calls
    assert answers.read_bytes() == before


def test_exit_code_counts_errors_of_earlier_runs(
    loads: Any, picture: Path, requests_file: Write, answers: Path
) -> None:
    requests = requests_file([b"{", *good(3)])
    assert predict(requests, answers, "--batch-size", "2").exit_code == 3
    whole = answers.read_bytes().splitlines(keepends=True)
    answers.write_bytes(b"".join(whole[:2]))
    assert predict(requests, answers).exit_code == 3
    assert answers.read_bytes() == b"".join(whole)
    assert predict(requests, answers).exit_code == 3


@pytest.mark.parametrize("kept", [0, 1, 5, 9, 14, 60, 200])
def test_a_cut_off_last_line_is_made_again(
    kept: int, loads: Any, picture: Path, requests_file: Write, answers: Path
) -> None:
    requests = requests_file(good(4))
    predict(requests, answers)
    whole = answers.read_bytes()
    lines = whole.splitlines(keepends=True)
    answers.write_bytes(b"".join(lines[:2]) + lines[2][:kept])
    result = predict(requests, answers)
    assert result.exit_code == 0, result.output
    assert "going on after 2 of 4" in result.stderr
    assert answers.read_bytes() == whole


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"my diary", "not the start of an answer"),
        (b"my diary\n", "line 1 is not an answer"),
        (b'{"id": "q0"}\n', "line 1 is not an answer"),
        (b'{"id": "other", "error": null}\n', "answers 'other', but the request there is 'q0'"),
        (
            b'{"id": "q0", "error": null}\n{"id": "q1", "error": null}\n{"id": "q2"',
            "more lines than there are requests",
        ),
    ],
)
def test_a_file_of_something_else_is_left_alone(
    content: bytes, said: str, loads: Any, picture: Path, requests_file: Write, answers: Path
) -> None:
    answers.write_bytes(content)
    result = predict(requests_file(good(2)), answers)
    assert result.exit_code == 1
    assert len(result.stderr.strip().splitlines()) == 1
    assert said in result.stderr
    assert answers.read_bytes() == content
    assert loads.calls == []


def test_files_that_cannot_be_used(loads: Any, picture: Path, requests_file: Write, tmp_path: Path) -> None:
    requests = requests_file(good(1))
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n\n")
    for args, said in [
        ((tmp_path / "none.jsonl", tmp_path / "a.jsonl"), "none.jsonl"),
        ((tmp_path, tmp_path / "a.jsonl"), "is not a file"),
        ((empty, tmp_path / "a.jsonl"), "holds no requests"),
        ((requests, requests), "can't take the answers"),
        ((requests, tmp_path), "can't take the answers"),
        ((requests, tmp_path / "no" / "a.jsonl"), "mkdir -p"),
    ]:
        result = predict(*args, "--overwrite")
        assert result.exit_code == 1
        assert said in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1
    assert loads.calls == []
    assert requests.read_text().count("\n") == 1  # a request file is never written to
    assert predict(requests, tmp_path / "a.jsonl", "--batch-size", "0").exit_code == 2
    assert predict(requests, tmp_path / "a.jsonl", "--model", "no-such-model").exit_code == 1
    assert not (tmp_path / "a.jsonl").exists()


def test_an_interrupt_keeps_whole_batches_and_says_how_to_go_on(
    loads: Any, picture: Path, requests_file: Write, answers: Path
) -> None:
    lines = good(5)
    lines[3]["question"] = "interrupt"
    result = predict(requests_file(lines), answers, "--batch-size", "2", "--overwrite")
    assert result.exit_code == 130
    said = result.stderr.strip().splitlines()[-1]
    assert "2 of 5 answers" in said
    assert "run the same command again without --overwrite" in said
    assert [value["id"] for value in read(answers)] == ["q0", "q1"]


def test_a_full_disk_keeps_whole_batches(
    loads: Any, picture: Path, requests_file: Write, answers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = os.fsync, iter([True, False])

    def fsync(number: int) -> None:
        if not next(calls):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(number)

    monkeypatch.setattr("os.fsync", fsync)
    result = predict(requests_file(good(4)), answers, "--batch-size", "2")
    assert result.exit_code == 1
    assert "the disk is full" in result.stderr
    assert [value["id"] for value in read(answers)] == ["q0", "q1"]


def test_two_runs_never_write_one_file(loads: Any, picture: Path, requests_file: Write, answers: Path) -> None:
    other = jsonl.AnswerFile(answers, 0)
    result = predict(requests_file(good(2)), answers)
    other.close()
    assert result.exit_code == 1
    assert "another geopix predict" in result.stderr


def test_requests_are_read_one_at_a_time(tmp_path: Path, requests_file: Write) -> None:
    requests = jsonl.read_requests(requests_file(good(1000)))
    assert [next(requests).id, next(requests).id] == ["q0", "q1"]
    assert next(requests).image == tmp_path / "field.png"


def test_ctrl_c_in_a_real_process_and_going_on(
    start_cli: Callable[..., subprocess.Popen[str]], picture: Path, requests_file: Write, answers: Path
) -> None:
    lines = good(6)
    lines[4]["question"] = "slow"
    args = ("predict", requests_file(lines), "-o", answers, "--batch-size", "2")
    process = start_cli(*args)
    deadline = time.monotonic() + 60
    while not answers.exists() or answers.read_bytes().count(b"\n") < 4:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.2)  # well inside the third batch
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert "stopped with 4 of 6 answers" in said
    assert [value["id"] for value in read(answers)] == ["q0", "q1", "q2", "q3"]
    again = start_cli(*args, FAKE_IS_FAST="1")
    _, said = again.communicate(timeout=60)
    assert again.returncode == 0, said
    assert [value["id"] for value in read(answers)] == [f"q{n}" for n in range(6)]
