"""Kept states are the live ones, a killed reading goes on, and a damaged file is told."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from geopix.ablation import states as room
from geopix.ablation.states import CacheError, cached, jobs, key_of
from tests.tiny_ablation import Tiny, plan_of


def test_kept_states_are_the_live_ones(tiny: Tiny, tmp_path: Path) -> None:
    """Live: every dialogue on its own, image first, nothing packed and nothing padded."""
    bench = tiny.bench()
    store, live = bench.stores[0], []
    todo = jobs(bench.plan, bench.stores)
    assert len(todo) == 4
    with torch.no_grad():
        for job in todo:
            seen = tiny.model.see_features(store[job.place].features[None].float())
            for turn in job.turns:
                said = tiny.dialogue.encode([turn])
                hidden = tiny.model.language(tiny.model.language.embed(torch.tensor([said.ids]), seen.tokens))
                live.append(tiny.model.segmentation_embeddings(hidden, torch.tensor([said.groups]))[0])
    kept = bench.states
    assert torch.allclose(kept.states, torch.cat(live), atol=1e-6, rtol=0)
    assert kept.states.std() > 0.1
    told = [(job.place, target) for job in todo for turn in job.turns for target in turn.targets]
    assert list(zip(kept.place.tolist(), kept.target.tolist(), strict=True)) == told


def test_a_killed_reading_goes_on(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, plan = tiny.bench(), plan_of()
    todo = jobs(plan, whole.stores)
    monkeypatch.setattr(room, "IN_A_FILE", 1)
    seen: list[int] = []

    def watch(what: str, done: int, total: int) -> None:
        seen.append(done)
        assert total == 4
        if seen == [1, 2]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached(tiny.model, tiny.dialogue, whole.stores, todo, tmp_path / "kept", watch)
    assert len(list((tmp_path / "kept").iterdir())) == 1
    again = cached(tiny.model, tiny.dialogue, whole.stores, todo, tmp_path / "kept", watch)
    assert seen == [1, 2, 2, 3, 4]
    assert torch.allclose(again.states, whole.states.states, atol=1e-6, rtol=0)
    assert cached(tiny.model, tiny.dialogue, whole.stores, todo, tmp_path / "kept", watch).states.shape
    assert len(seen) == 5


def test_files_that_cannot_be_used_are_told(tiny: Tiny, tmp_path: Path) -> None:
    bench = tiny.bench()
    todo = jobs(bench.plan, bench.stores)
    (file,) = (tmp_path / "ablation" / "states").rglob("*.safetensors")
    with pytest.raises(CacheError, match="other targets"):
        cached(tiny.model, tiny.dialogue, bench.stores, todo[:2], file.parent, lambda *_: None)
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(CacheError, match="damaged"):
        cached(tiny.model, tiny.dialogue, bench.stores, todo, file.parent, lambda *_: None)


def test_wrong_settings_are_told(tiny: Tiny) -> None:
    with pytest.raises(CacheError, match="4 windows with objects, not 5"):
        tiny.bench(windows={"vhr": 5})
    with pytest.raises(CacheError, match="no kind 'poem'"):
        tiny.bench(questions={"poem": 1})


def test_a_cache_is_named_by_what_it_depends_on(tiny: Tiny) -> None:
    bench = tiny.bench()
    todo = jobs(bench.plan, bench.stores)
    name = key_of(todo, bench.stores, "model")
    assert name == key_of(jobs(bench.plan, bench.stores), bench.stores, "model")
    assert name != key_of(todo, bench.stores, "another")
    assert name != key_of(jobs(plan_of(seed=1), bench.stores), bench.stores, "model")
