"""``geopix data describe`` and ``check``: tables, money before anything is sent, sentences for what can't be done."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from geopix.apps.cli import app
from geopix.data.entries import SetReader
from tests.data.describe.server import Script, serving
from tests.data.describe.sets import entries, make, truth

runner = CliRunner(env={"COLUMNS": "160"})


@pytest.fixture(autouse=True)
def _localhost_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "for tests")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def made(tmp_path: Path) -> Path:
    make(tmp_path / "set", entries(6))
    return tmp_path / "set"


def run(*args: object) -> Any:
    return runner.invoke(app, ["data", *map(str, args)])


def fails(*args: object, code: int = 1) -> str:
    result = run(*args)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("geopix: ")]
    return str(line)


def test_geometry_needs_nothing_but_the_set(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run("describe", made, "-o", out)
    assert result.exit_code == 0, result.output
    assert ["described", "14"] in [line.split() for line in result.stdout.splitlines()]
    assert SetReader(out).about.steps[-1] == f"geopix data describe {made} -o {out} --by geometry"
    assert all(one.descriptions and one.arrangement for entry in SetReader(out) for one in entry.objects)
    assert "exists" in fails("describe", made, "-o", out)
    assert run("describe", made, "-o", out, "--overwrite", "--wordings", "4").exit_code == 0
    assert not list(tmp_path.glob("*.replies"))


def test_the_rates_are_printed_and_findings_written(made: Path, tmp_path: Path) -> None:
    said = tmp_path / "answers.jsonl"
    right = truth(entries(6))
    right[1][0] = "the ship"
    right[2][1] = "the leftmost ship"
    lines = [
        {"key": f"toy/{k:03}", "content": {"descriptions": [{"index": i, "description": w} for i, w in mine.items()]}}
        for k, mine in enumerate(right)
    ]
    said.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert run("describe", made, "-o", tmp_path / "out", "--by", "replay", "--replies", said).exit_code == 3
    kept = SetReader(tmp_path / "out")
    assert sum(len(one.descriptions) for entry in kept for one in entry.objects) == 12

    raw = (tmp_path / "out" / "entries.jsonl").read_text()
    (tmp_path / "out" / "entries.jsonl").write_text(raw.replace("the rightmost ship", "the ship", 1))
    findings = tmp_path / "findings.jsonl"
    result = run("check", tmp_path / "out", "-o", findings)
    assert result.exit_code == 0, result.output
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["ship", "isolated", "10", "9", "(90.0", "%)", "1", "(10.0", "%)", "0", "0"] in rows
    assert "objects without a description: 2" in result.stdout
    (finding,) = [json.loads(line) for line in findings.read_text().splitlines()]
    assert (finding["outcome"], finding["description"]) == ("ambiguous", "the ship")
    assert "exists" in fails("check", tmp_path / "out", "-o", findings)
    result = run("check", tmp_path / "out", "--json")
    assert json.loads(result.stdout)["unique"] == 11


def test_what_it_costs_is_told_before_anybody_is_asked(made: Path, tmp_path: Path) -> None:
    result = run("describe", made, "-o", tmp_path / "out", "--by", "endpoint", "--estimate")
    assert result.exit_code == 0
    assert "6 images to ask about" in result.stderr
    assert "some $0.0" in result.stderr
    assert "gpt-4o's price of June 2025" in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pictures", "set"]
    result = run("describe", made, "-o", tmp_path / "out", "--by", "endpoint", "--model", "toy", "--estimate")
    assert "at a price that nobody told (--price)" in result.stderr


def test_an_endpoint_with_money_told_at_the_end(made: Path, tmp_path: Path) -> None:
    script = Script({})
    script.expect(entries(6), truth(entries(6)))
    with serving(script) as url:
        args = ["describe", made, "-o", tmp_path / "out", "--by", "endpoint", "--model", "toy", "--base-url", url]
        result = run(*args, "--price", "1,10", "--budget", "1")
        assert result.exit_code == 0, result.output
        assert "6 answers, $0.0120 spent in all" in result.stderr
        assert "0 images to ask about" in run(*args, "--price", "1,10", "--overwrite").stderr
        script.faults = {key: ["400"] * 9 for key in list(script.answers)[:1]}
        result = run(*args, "--overwrite", "--replies", tmp_path / "other")
        assert result.exit_code == 3
        assert "1 images had no answer; run again with --overwrite" in result.stderr
    assert len(script.answered) == 6 + 5


def test_what_can_not_be_done_is_one_sentence(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    assert "is no set" in fails("describe", tmp_path / "none", "-o", out)
    assert "is no set" in fails("check", tmp_path / "none")
    assert "name it with --replies" in fails("describe", made, "-o", out, "--by", "replay")
    assert "no such file" in fails("describe", made, "-o", out, "--by", "replay", "--replies", tmp_path / "none")
    endpoint = ["describe", made, "-o", out, "--by", "endpoint"]
    assert "give --price IN,OUT" in fails(*endpoint, "--model", "toy", "--budget", "5")
    assert run(*endpoint, "--price", "cheap").exit_code == 2
    assert run(*endpoint, "--price", "-1,5").exit_code == 2
    assert run("describe", made, "-o", out, "--by", "magic").exit_code == 2
    assert "OPENAI_API_KEY" in run(*endpoint, "--base-url", "http://127.0.0.1:9/v1", "--help").output
    monkeypatch.delenv("OPENAI_API_KEY")
    assert "OPENAI_API_KEY" in fails(*endpoint)
    monkeypatch.setitem(sys.modules, "openai", None)
    assert "pip install 'geopix[describe]'" in fails(*endpoint)
    assert not out.exists()


def test_ctrl_c_waits_for_what_is_paid_and_says_how_to_go_on(
    start_cli: Callable[..., subprocess.Popen[str]], made: Path, tmp_path: Path
) -> None:
    made_entries = entries(6)
    script = Script({}, hold_after=2)
    script.expect(made_entries, truth(made_entries))
    command = ["data", "describe", made, "-o", tmp_path / "out", "--by", "endpoint", "--model", "toy"]
    with serving(script) as url:
        process = start_cli(*command, "--concurrency", "2", "--retries", "0", "--base-url", url)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and (len(script.asked) < 4 or script.busy < 2):
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        heard = iter(process.stderr.readline, "")
        assert any("waiting for answers about 2 images" in line for line in heard)
        script.let_go.set()
        _, told = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "2 answers are kept in" in told
    assert not (tmp_path / "out").exists()
    assert len(script.asked) == 4
