"""Rows run, a killed run ends where an unbroken one does, and results say what they depend on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from geopix.ablation import results
from geopix.ablation.run import Bench, _facts, _known, row
from tests.tiny_ablation import ROWS, Tiny, plan_of


def silent(what: str, done: int, total: int) -> None:
    """Tell nothing."""


def numbers(bench: Bench, name: str) -> list[list[float]]:
    return row(bench, name, 0, silent).scores


def test_every_row_runs_once(tiny: Tiny, tmp_path: Path) -> None:
    kept = ("default", "dual_attention", "lisa", "shipped", "memory_off", "full_default")
    bench = tiny.bench(rows={name: ROWS[name] for name in kept})
    for name in bench.plan.rows:
        result = row(bench, name, 0, silent)
        assert len(result.scores) == 6
        assert all(0 <= iou <= 1 and shared <= union for iou, shared, union in result.scores)
        assert result.steps == {"shipped": 0, "memory_off": 0, "full_default": 2}.get(name, 4)
        assert (result.train_minutes > 0) == bool(result.steps)
    assert not any((tmp_path / "ablation" / "work").iterdir())
    assert not tiny.model.training

    def never(what: str, done: int, total: int) -> None:
        raise AssertionError(f"{what} was done again")

    for name in bench.plan.rows:
        row(bench, name, 0, never)
    images = [question.image_key for question in bench.on.flat]
    made = results.table(bench.plan, _known(bench, 1), images, _facts(bench, "tiny", images))
    assert [one["name"] for one in made["rows"]] == list(bench.plan.rows)
    told = {one["name"]: one.get("verdict") for one in made["rows"]}
    assert told["default"] is None
    assert told["lisa"] == "no difference shown"  # of one seed
    text = results.markdown(made)
    assert all(one["says"] in text for one in made["rows"])
    assert "teacher-forced" in text
    assert bench.model in text
    assert all(len(line) == len(results.HEADINGS) for line in results.cells(made))
    assert all(len(line) == len(results.SHORT) for line in results.short(made))


@pytest.mark.parametrize("last", [1, 2])
def test_a_killed_row_ends_where_an_unbroken_one_does(tiny: Tiny, tmp_path: Path, last: int) -> None:
    """Phase 0 has steps 1 and 2, phase 1 two more; a checkpoint follows every second step."""
    bench = tiny.bench()
    whole = numbers(bench, "two_stages")
    (tmp_path / "ablation" / "two_stages.0.json").unlink()
    seen = 0

    def killing(what: str, done: int, total: int) -> None:
        nonlocal seen
        if "training" in what:
            seen += 1
            if seen == last + 1:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        row(bench, "two_stages", 0, killing)
    assert numbers(bench, "two_stages") == whole


def test_a_result_of_other_settings_is_made_again(tiny: Tiny) -> None:
    bench = tiny.bench()
    first = row(bench, "capacity_none", 0, silent)
    longer = replace(bench, plan=plan_of(stage={**bench.plan.stage, "steps": 3}))
    second = row(longer, "capacity_none", 0, silent)
    assert (first.steps, second.steps) == (4, 3)
    assert first.key != second.key
    assert row(bench, "capacity_none", 1, silent).key != first.key
    renamed = replace(bench, plan=plan_of(rows={**ROWS, "capacity_none": {**ROWS["capacity_none"], "says": "other"}}))
    assert _known(renamed, 2)[0].seed == 1  # words change nothing; seed 0 was made with other settings


def test_a_damaged_result_is_made_again(tiny: Tiny, tmp_path: Path) -> None:
    bench = tiny.bench()
    whole = numbers(bench, "shipped")
    path = tmp_path / "ablation" / "shipped.0.json"
    path.write_text(path.read_text()[:40])
    assert numbers(bench, "shipped") == whole
    assert json.loads(path.read_text())["row"] == "shipped"


def test_rows_of_one_seed_draw_the_same_batches(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[str, list[Any]] = {}
    name = ""

    def train(model: Any, sampler: Any, stage: Any, folder: Path, report: Any, states: Any) -> None:
        batch = sampler.batch(1)
        assert states(batch).shape == (2, 2, 1 if name == "lisa" else 6, 48)
        drawn[name] = [batch.features, batch.coverage, batch.class_ids, states(batch)[:, :, :1]]
        folder.mkdir(parents=True)
        (folder / "metrics.jsonl").write_text('{"seconds": 1.0}\n')

    monkeypatch.setattr("geopix.ablation.run.train", train)
    bench = tiny.bench()
    for name in ("default", "lisa", "shared_projector"):
        row(bench, name, 5, silent)
    for one in ("lisa", "shared_projector"):
        assert all(torch.equal(a, b) for a, b in zip(drawn["default"], drawn[one], strict=True))
