"""The plan: what it refuses, which rows it runs, and what they train."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from geopix.ablation.plan import load
from geopix.config import ConfigError
from tests.tiny_ablation import ROWS, plan_of


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"design": {"fusion": "soup"}}, "rows.new: fusion"),
        ({"design": {"colour": 1}}, "rows.new: colour"),
        ({"against": "nothing"}, "no row 'nothing'"),
        ({"full": True}, "not trained in the same way"),
        ({"trained": False}, None),
        ({"trained": False, "design": {"fusion": "none"}}, "not trained has the model's design"),
        ({"full": True, "against": "full_default", "design": {"one_token": "fine"}}, "cached states"),
        ({"phases": [{"share": 0.5}]}, "do not add up"),
        ({"phases": [{"settings": {"stepz": 1}}]}, "rows.new: stepz"),
        ({"test": "guess"}, "rows.new.test"),
    ],
)
def test_rows_that_cannot_be(row: dict[str, Any], said: str | None, tmp_path: Path) -> None:
    plan = plan_of().model_dump(mode="json")
    plan["rows"]["new"] = {"says": "new", **row}
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump(plan))
    if said is None:
        load(path)
        return
    with pytest.raises(ConfigError, match=said):
        load(path)


def test_rows_bring_what_they_are_compared_with() -> None:
    plan = plan_of()
    assert plan.chosen([]) == [name for name, row in ROWS.items() if not row.get("slow")]
    assert plan.chosen(["memory_off", "lisa"]) == ["default", "lisa", "shipped", "memory_off"]
    with pytest.raises(ConfigError, match="no row 'lissa'"):
        plan.chosen(["lissa"])


def test_phases_share_the_steps() -> None:
    first, second = plan_of().stages_of("two_stages", seed=2)
    (whole,) = plan_of().stages_of("default", seed=2)
    assert (first.steps, second.steps, whole.steps) == (2, 2, 4)
    assert (first.refine, second.refine, whole.refine) == (False, True, True)
    assert (first.seed, second.seed, whole.seed) == (2, 1002, 2)
    assert plan_of().stages_of("full_default", seed=0)[0].language == "dialogue"


def test_the_shipped_plan_has_the_papers_rows() -> None:
    plan = load(Path(__file__).parents[2] / "configs" / "ablation.yaml")
    numbers = {row.paper for row in plan.rows.values() if row.table == "IX"}
    assert len(numbers) == 8  # four capacities and five fusions share one
    assert plan.rows["shared_projector"].paper == (74.65, 85.31)
    assert len(plan.chosen([])) > 15
