"""``geopix train --plan``: what it asks for, and what it prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from geopix.apps.cli import app
from geopix.train.costs import Costs
from geopix.train.plan import DeviceMemory, Part, Speed
from geopix.train.rehearsal import Plan

PLAN = Plan(
    "small",
    "nano",
    7200,
    1,
    2,
    [Part("language model", 7_000, 0, 14_000_000_000), Part("LoRA", 70, 70, 2_000_000)],
    [DeviceMemory("none", 2, 1_000_000, 2_000_000, 3_000_000, 4_000_000, 0)],
    [DeviceMemory("none", 2, 1_000_000, 2_000_000, 3_000_000, 1_000_000, 0)],
    Costs(10, 3, 4_000_000, 1_000_000),
    Speed(True, 2.0, 6.0, 90.0, 5e12, 0.25),
    ["windows are made up"],
)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    calls: list[Any] = []

    def rehearse(*given: Any, tell: Any) -> Plan:
        tell("the model")
        print("a library says hello on stdout")
        calls.append(given)
        return PLAN

    monkeypatch.setattr("geopix.train.rehearsal.rehearse", rehearse)
    return calls


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "stage.yaml"
    path.write_text("name: small\nsources: {vhr: 1.0}\nsteps: 3\n")
    return str(path)


def test_it_prints_parts_memory_speed_and_hours(asked: list[Any], config: str, tmp_path: Path) -> None:
    words = ["train", config, "steps=5", "--plan", "--runs", str(tmp_path), "--devices", "2", "--tflops", "3"]
    result = CliRunner().invoke(app, words, env={"COLUMNS": "160"})
    assert result.exit_code == 0, result.output
    [(stage, model, folder, devices, rate, _)] = asked
    assert (stage.steps, model, folder, devices, rate) == (5, "nano", tmp_path / "features", 2, 3e12)
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["language", "model", "7,000", "14.0", "GB"] in lines
    assert ["LoRA", "70", "70", "2", "MB"] in lines
    assert ["none", "kept", "1", "MB", "2", "MB", "3", "MB", "4", "MB", "0", "MB", "10", "MB"] in lines
    assert ["none", "recomputed", "1", "MB", "2", "MB", "3", "MB", "1", "MB", "0", "MB", "7", "MB"] in lines
    assert "a step takes 2.00 s; 3.00 questions, 45 tokens a second and device, 25%" in result.stdout
    assert "2 hours, 4 device-hours" in result.stdout
    assert "windows are made up" in result.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stage.yaml"]


def test_json_is_one_line_with_all_of_it(asked: list[Any], config: str) -> None:
    result = CliRunner().invoke(app, ["train", config, "--plan", "--json"])
    assert result.exit_code == 0, result.output
    [line] = result.stdout.splitlines()
    told = json.loads(line)
    assert told["memory"][0]["total"] == 10_000_000
    assert (told["hours"], told["device_hours"]) == (2.0, 4.0)
    assert told["speed"]["questions_per_s"] == 3.0
    assert asked[0][2] is None


def test_a_training_needs_its_folders_and_a_plan_a_settings_file(asked: list[Any], config: str) -> None:
    result = CliRunner().invoke(app, ["train", config])
    assert result.exit_code == 2
    assert "--data" in result.stderr
    result = CliRunner().invoke(app, ["train", "nowhere.yaml", "--plan"])
    assert result.exit_code == 1
    assert "there is no settings file nowhere.yaml" in result.stderr
    assert asked == []
