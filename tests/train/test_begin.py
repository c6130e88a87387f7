"""One stage's adapter in the next: trained on or merged, and rebuilt to the bit along the chain."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from geopix.checkpoint import CheckpointError, merge_adapters, trained_tensors
from geopix.config import ConfigError, Stage
from geopix.dialogue import Dialogue
from geopix.model.geopix import GeoPixModel
from geopix.model.llm import add_lora
from geopix.train import adapters, checkpoints
from geopix.train.begin import RECORD, begin, build, left_behind
from geopix.train.checkpoints import Checkpoint
from tests.tiny_model import tiny_geopix

IDS = torch.arange(60)[None]


STILL = {"language": 0, "multimodal_projector": 0}


def stage(name: str, **settings: Any) -> Stage:
    given = {"name": name, "sources": {"a": 1}, "steps": 1, "lora_rank": 4, "lora_alpha": 8, "lora_dropout": 0}
    return Stage.model_validate({**given, **settings})


def fresh() -> tuple[GeoPixModel, Dialogue]:
    model, dialogue = tiny_geopix()
    model.language.llm.requires_grad_(False)
    return model, dialogue


def load(folder: Path, model: GeoPixModel) -> None:
    """What a checkpoint does: the trained tensors and no others."""
    tensors = load_file(folder / "trained.safetensors")
    assert not model.load_state_dict(tensors, strict=False).unexpected_keys


def finished(told: Stage, runs: Path, seed: int) -> GeoPixModel:
    """Begin a stage, change everything that it trains, and leave its folder as a run would."""
    model, dialogue = fresh()
    begin(told, model, dialogue, runs, load)
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, tensor in trained_tensors(model).items():
            if tensor.is_floating_point() and "running" not in name:
                tensor.add_(0.1 * torch.randn_like(tensor))
    (runs / told.name).mkdir(parents=True, exist_ok=True)
    (runs / told.name / RECORD).write_text(json.dumps({"stage": told.model_dump()}))
    trained = {name: tensor.clone() for name, tensor in trained_tensors(model).items()}  # the new rows are there twice
    save_file(trained, runs / told.name / "trained.safetensors")
    return model


def logits(model: GeoPixModel) -> Tensor:
    with torch.no_grad():
        language = model.eval().language
        ids = torch.cat([IDS, language.causal.get_input_embeddings().weight.shape[0] - 1 - IDS % 8], dim=1)
        said: Tensor = language.words(language(language.embed(ids)))
    return said


def begun(told: Stage, runs: Path) -> GeoPixModel:
    model, dialogue = fresh()
    begin(told, model, dialogue, runs, load)
    return model


def weights(model: GeoPixModel) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in model.state_dict().items() if "num_batches" not in name}


def test_a_merged_adapter_says_the_same_and_the_new_one_begins_as_identity(tmp_path: Path) -> None:
    one = finished(stage("one"), tmp_path, seed=1)
    two = begun(stage("two", start_from=["one"], adapter="merge", lora_rank=2), tmp_path)
    before, untouched = logits(one), logits(fresh()[0])
    assert (before - untouched).abs().max() > 0.1  # the adapter says something
    torch.testing.assert_close(logits(two), before, rtol=1e-4, atol=1e-4)
    llm: Any = two.language.llm
    assert adapters.factors(llm).rank == 2
    assert all(not tensor.any() for tensor in adapters.factors(llm).up.values())
    rows, before_rows = adapters.rows_of(llm), adapters.rows_of(cast(Any, one.language.llm))
    assert rows.keys() == before_rows.keys()
    assert all(torch.equal(rows[name], before_rows[name]) for name in rows)
    merge_adapters(two)
    torch.testing.assert_close(logits(two), before, rtol=1e-4, atol=1e-4)


def test_all_other_trained_parts_carry_over_and_the_base_stays_frozen(tmp_path: Path) -> None:
    one = finished(stage("one"), tmp_path, seed=1)
    two = begun(stage("two", start_from=["one"], adapter="merge", lora_rank=2), tmp_path)
    theirs = weights(one)
    for name, tensor in weights(two).items():
        if not name.startswith("language."):
            assert torch.equal(tensor, theirs[name]), name
    trains = {name for name, one in two.named_parameters() if one.requires_grad and name.startswith("language.")}
    assert len(trains) == 2 * 2 * 2 + 1
    assert all("lora_" in name or "trainable_tokens" in name for name in trains)


def test_a_merge_is_peft_s_own_to_rounding(tmp_path: Path) -> None:
    one = finished(stage("one"), tmp_path, seed=1)
    two = begun(stage("two", start_from=["one"], adapter="merge", lora_rank=2), tmp_path)
    merge_adapters(one)
    merge_adapters(two)
    theirs = weights(one)
    for name, tensor in weights(two).items():
        torch.testing.assert_close(tensor, theirs[name], rtol=1e-5, atol=1e-6)


def test_a_chain_is_rebuilt_to_the_bit(tmp_path: Path) -> None:
    finished(stage("one"), tmp_path, seed=1)
    second = stage("two", start_from=["one"], adapter="merge", lora_rank=2)
    two = finished(second, tmp_path, seed=2)
    restored = begun(second, tmp_path)  # a restart, which then loads its own checkpoint
    load(tmp_path / "two", restored)
    for name, tensor in weights(two).items():
        assert torch.equal(tensor, weights(restored)[name]), name
    on = begun(stage("three", start_from=["two"], lora_rank=2), tmp_path)  # goes on with the second adapter
    for name, tensor in weights(two).items():
        if "token_adapter" not in name:  # under the rows of new words, which are the adapter's, lie those of the start
            assert torch.equal(tensor, weights(on)[name]), name
    assert torch.equal(logits(on), logits(two))
    assert adapters.same(adapters.load(tmp_path / "three"), adapters.load(tmp_path / "two"))
    fourth = stage("four", start_from=["two"], adapter="merge", lora_rank=1)
    four = begun(fourth, tmp_path)
    torch.testing.assert_close(logits(four), logits(two), rtol=1e-4, atol=1e-4)
    assert [one.rank for one in adapters.load(tmp_path / "four")] == [4, 2]
    again = begun(fourth, tmp_path)
    for name, tensor in weights(four).items():
        assert torch.equal(tensor, weights(again)[name]), name


def test_all_adapters_as_one_around_the_untouched_model(tmp_path: Path) -> None:
    finished(stage("one"), tmp_path, seed=1)
    two = finished(stage("two", start_from=["one"], adapter="merge", lora_rank=2), tmp_path, seed=2)
    llm: Any = two.language.llm
    whole = adapters.joined([*adapters.load(tmp_path / "two"), adapters.factors(llm)])
    assert whole.rank == 6
    model, dialogue = fresh()
    joined = add_lora(model.language.causal, 6, 6, 0.0, dialogue.new_ids)
    adapters.put(joined, whole)
    with torch.no_grad():
        for name, rows in adapters.rows_of(joined).items():
            rows.copy_(adapters.rows_of(llm)[name])
    model.language.llm = joined
    torch.testing.assert_close(logits(model), logits(two), rtol=1e-4, atol=1e-4)


def test_what_does_not_fit_is_told(tmp_path: Path) -> None:
    finished(stage("one"), tmp_path, seed=1)
    (tmp_path / "old").mkdir()
    for settings, message in (
        ({"start_from": ["none"]}, "there is no finished stage 'none'"),
        ({"start_from": ["one"], "lora_rank": 2}, "lora_rank 2 and lora_alpha 8 are not one's 4 and 8"),
        ({"start_from": ["old"], "adapter": "merge"}, "merge needs a dialogue stage in start_from"),
        ({"start_from": ["old"], "language": "answers", "part_rates": STILL}, "name the stage of dialogues whose"),
        ({"start_from": ["one"], "language": "phrases"}, "one trained an adapter, which a stage of phrases lacks"),
    ):
        model, dialogue = fresh()
        with pytest.raises(ConfigError, match=message):
            begin(stage("two", **settings), model, dialogue, tmp_path, load)
    with pytest.raises(ConfigError, match="architecture: a model has no 'colour'"):
        build(stage("two", architecture={"colour": 3}), torch.device("cpu"))


def test_a_stage_that_was_trained_again_is_noticed(tmp_path: Path) -> None:
    finished(stage("one"), tmp_path, seed=1)
    second = stage("two", start_from=["one"], adapter="merge")
    begun(second, tmp_path)
    finished(stage("one"), tmp_path, seed=9)
    with pytest.raises(ConfigError, match="one was trained again since two began with it"):
        begun(second, tmp_path)


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    finished(stage("one"), tmp_path, seed=1)
    second = stage("two", start_from=["one"], adapter="merge")
    begun(second, tmp_path)
    path = tmp_path / "two" / adapters.MERGED
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match=r"merged.safetensors is damaged"):
        begun(second, tmp_path)


def left(runs: Path, name: str, before: tuple[str, ...], *trained: str) -> Stage:
    """A finished stage that holds these parameters."""
    told = stage(name, start_from=before)
    (runs / name).mkdir(parents=True)
    (runs / name / RECORD).write_text(json.dumps({"stage": told.model_dump()}))
    checkpoints.save(runs / name, Checkpoint(1, {one: torch.zeros(1) for one in trained}, {}), keep_last=1)
    return told


def test_what_no_stage_to_start_from_holds_is_told(tmp_path: Path) -> None:
    left(tmp_path, "far", (), "master.words.a", "whole.memory.bank.rows", "master.memory.bank.rows[3]", "mean.other.x")
    left(tmp_path, "near", ("far",), "master.masks.a")
    assert left_behind(stage("next", start_from=("far", "near")), tmp_path) == []
    [told] = left_behind(stage("next", start_from=("near",)), tmp_path)
    assert told.startswith("next: far trained memory.bank, words.a, which no stage in start_from holds")
    assert "name far there" in told


def test_the_nearest_stage_that_holds_a_part_is_the_one_to_name(tmp_path: Path) -> None:
    left(tmp_path, "first", (), "master.words.a", "master.old.a")
    left(tmp_path, "second", ("first",), "master.words.a")
    left(tmp_path, "third", ("second",), "master.masks.a")
    told = left_behind(stage("next", start_from=("third",)), tmp_path)
    assert [sentence.split(" trained ")[0] for sentence in told] == ["next: second", "next: first"]
    assert "first trained old.a, which" in told[1]


def test_a_stage_that_is_gone_or_damaged_is_passed_over(tmp_path: Path) -> None:
    left(tmp_path, "far", ("gone",), "master.words.a")
    (tmp_path / "far" / "checkpoint" / "00000001" / "optimizer.safetensors").write_bytes(b"torn")
    left(tmp_path, "near", ("far",), "master.masks.a")
    assert left_behind(stage("next", start_from=("near",)), tmp_path) == []
