"""A bench of the tiny model, folded as a shipped one is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from geopix.ablation.run import Bench, prepare
from tests.tiny_ablation import Tiny, asked, plan_of
from tests.tiny_model import tiny_geopix
from tests.tiny_store import tiny_store


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    model, dialogue = tiny_geopix()
    model.mask_predictor.fold()
    model.config.memory["folded"] = True
    store = tiny_store(tmp_path / "features" / "vhr", model)

    def bench(**changes: Any) -> Bench:
        return prepare(plan_of(**changes), model, dialogue, [store], asked(), tmp_path, lambda *_: None)

    return Tiny(model, dialogue, bench)
