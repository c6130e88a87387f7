"""A bench of the tiny model on windows of rectangles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from geopix.ablation.plan import Plan
from geopix.ablation.run import Bench
from geopix.data.mixture import all_of_a_class, facts_of, segment
from geopix.dialogue import Dialogue
from geopix.evaluate.vhr10 import Question
from geopix.model.geopix import GeoPixModel
from tests.tiny_store import WINDOWS

STAGE = {"steps": 4, "images": 2, "targets": 2, "warmup": 1, "checkpoint_every": 2, "learning_rate": 1e-3,
         "part_rates": {"language": 0, "multimodal_projector": 0}}  # fmt: skip
FULL = {"sources": {"vhr": 1}, "steps": 2, "images": 2, "targets": 4, "turns": 1, "lora_rank": 2, "lora_alpha": 4}
ROWS: dict[str, Any] = {
    "default": {"says": "default"},
    "capacity_none": {"says": "w/o", "design": {"fusion": "none"}},
    "attention": {"says": "attention", "design": {"fusion": "attention"}},
    "dual_attention": {"says": "dual", "design": {"fusion": "dual_attention"}, "slow": True},
    "shared_projector": {"says": "shared", "design": {"shared_projector": True}},
    "two_stages": {"says": "two", "phases": [{"share": 0.5, "settings": {"refine": False}}, {"share": 0.5}]},
    "lisa": {"says": "one token", "design": {"fusion": "none", "one_token": "coarse"}},
    "lisa_fine": {"says": "one token", "design": {"fusion": "none", "one_token": "fine"}},
    "shipped": {"says": "as it is", "trained": False, "against": "shipped"},
    "memory_off": {"says": "off", "trained": False, "test": "none", "against": "shipped"},
    "full_default": {"says": "both", "full": True, "against": "full_default", "slow": True},
}


def plan_of(**changes: Any) -> Plan:
    """A plan small enough for the tiny model."""
    given = {"windows": {"vhr": 4}, "dialogues": 2, "questions": {"segment": 1, "all": 1}, "validation": 6,
             "design": {"capacity": 4}, "stage": STAGE, "full": FULL, "rows": ROWS}  # fmt: skip
    return Plan.model_validate({**given, **changes})


def asked() -> list[Question]:
    """A referring question and one about a whole class for every window."""
    import numpy as np

    return [
        Question(kind, window, f"image {place}", asker(facts_of(window), np.random.default_rng(place)))
        for place, window in enumerate(WINDOWS)
        for kind, asker in (("referred", segment), ("all", all_of_a_class))
    ]


@dataclass
class Tiny:
    """The tiny model, folded as a shipped one is, and a bench of it."""

    model: GeoPixModel
    dialogue: Dialogue
    bench: Callable[..., Bench]
