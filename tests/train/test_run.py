"""Whole stages from their settings: the paper's model on a tiny LLaVA, stage after stage, stopped and gone on with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from geopix import checkpoint
from geopix.checkpoint import from_llava
from geopix.config import ConfigError, Stage, load
from geopix.train import adapters
from geopix.train.begin import RECORD
from geopix.train.run import check_sources, run_stage
from geopix.train.stores import RECIPES
from tests.tiny_llava import SMALL, llava_tokenizer, tiny_llava, write_llava
from tests.tiny_set import ENTRIES, SAMPLES, tiny_set


def settings(folder: Path, name: str, **more: Any) -> Path:
    given = {
        "name": name, "model": str(folder / "llava"), "architecture": {**SMALL, "class_names": ["ship", "harbor"]},
        "sources": {"set": 1, "other": 0.5}, "features": "each_step", "turned": True, "epochs": 2, "warmup_epochs": 1,
        "images": 1, "turns": 2, "global_batch": 4, "targets": 4, "lora_rank": 4, "lora_alpha": 4,
        "checkpoint_every": 1,
    }  # fmt: skip
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({**given, **more}))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tokenizer = llava_tokenizer()
    write_llava(tiny_llava(tokenizer), tokenizer, tmp_path / "llava")
    tiny_set(tmp_path / "data" / "set")
    tiny_set(tmp_path / "data" / "other", ENTRIES[:2])
    return tmp_path


def told(folder: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "runs" / name / RECORD).read_text())
    return found


def test_two_stages_make_the_papers_model_and_it_can_be_asked(folder: Path) -> None:
    one = settings(folder, "one")
    run_stage(one, [], folder / "data", folder / "runs", None)
    assert told(folder, "one")["stage"]["steps"] == 6  # two epochs of six images, two a step
    assert told(folder, "one")["stage"]["warmup"] == 3
    two = settings(folder, "two", start_from=["one"], adapter="merge", lora_rank=2, take={"set": 3})
    run_stage(two, [], folder / "data", folder / "runs", folder / "made")
    assert told(folder, "two")["fed"]["set"]["images"] == 3
    assert len(told(folder, "two")["fed"]["set"]["taken"]) == 64
    assert [factors.rank for factors in adapters.load(folder / "runs" / "two")] == [4]
    model, dialogue = checkpoint.load(str(folder / "made"), device="cpu")
    assert model.config.class_names == ["ship", "harbor"]
    before, _ = from_llava(str(folder / "llava"), SMALL)
    ours, theirs = (one.language.causal.model.layers[0].self_attn.v_proj.weight for one in (model, before))
    assert 0 < (ours.float() - theirs.float()).abs().max() < 0.2
    assert dialogue.new_ids


def test_a_stage_of_kept_answers_trains_the_mask_side_and_nothing_else(folder: Path) -> None:
    plain = {"features": "cached", "turned": False, "epochs": 0, "warmup_epochs": 0, "steps": 2, "global_batch": 0}
    one = settings(folder, "one", **plain)
    run_stage(one, [], folder / "data", folder / "runs", folder / "before")
    still = {"language": 0, "multimodal_projector": 0}
    answers = {"language": "answers", "start_from": ["one"], "part_rates": still, "questions": {"segment": 1}}
    two = settings(folder, "two", **plain, **answers)
    run_stage(two, [], folder / "data", folder / "runs", folder / "after")
    (kept,) = (folder / "runs" / "answers").rglob("*.safetensors")
    first = kept.stat().st_mtime_ns
    run_stage(two, ["steps=3"], folder / "data", folder / "runs", folder / "after")
    assert kept.stat().st_mtime_ns == first
    (before, _), (after, _) = (checkpoint.load(str(folder / name), device="cpu") for name in ("before", "after"))
    changed = {
        name.partition(".")[0]
        for name, tensor in after.state_dict().items()
        if not torch.equal(tensor, before.state_dict()[name])
    }
    assert changed == {"mask_predictor", "scale_projectors"}


def test_a_set_that_changed_since_the_run_began_is_refused(folder: Path) -> None:
    one = settings(folder, "one")
    run_stage(one, ["epochs=1", "warmup_epochs=0"], folder / "data", folder / "runs", None)
    tiny_set(folder / "data" / "other", ENTRIES[1:3], SAMPLES, overwrite=True)
    with pytest.raises(ConfigError, match="other is not what it was when this run began"):
        run_stage(one, [], folder / "data", folder / "runs", None)


def test_kept_features_serve_as_well(folder: Path) -> None:
    one = settings(folder, "one", features="cached", turned=False, epochs=1, warmup_epochs=0)
    run_stage(one, [], folder / "data", folder / "runs", None)
    kept = list((folder / "runs" / "features").rglob("index.jsonl"))
    assert sorted(len(path.read_text().splitlines()) for path in kept) == [2, 5]


def test_models_that_see_alike_share_their_features(folder: Path) -> None:
    def kept() -> list[Path]:
        return sorted((folder / "runs" / "features").rglob("index.jsonl"))

    plain = {"features": "cached", "turned": False, "epochs": 1, "warmup_epochs": 0}
    run_stage(settings(folder, "one", **plain), [], folder / "data", folder / "runs", None)
    first = kept()
    for name, more, count in (("two", {"written_boxes": False}, 2), ("three", {"encoder_layers": [1, 2]}, 4)):
        sizes = {**SMALL, "class_names": ["ship", "harbor"], **more}
        run_stage(settings(folder, name, architecture=sizes, **plain), [], folder / "data", folder / "runs", None)
        assert len(kept()) == count
        assert set(first) <= set(kept())


def test_bad_sources_are_told(tmp_path: Path) -> None:
    given: dict[str, Any] = {"name": "try", "steps": 1}
    with pytest.raises(ConfigError, match=r"sources: 'nowhere' is none of nano's stores .* there is no set"):
        check_sources(Stage.model_validate({**given, "sources": {"nowhere": 1}}), tmp_path, tmp_path)
    with pytest.raises(ConfigError, match="vhr is a store of kept features"):
        check_sources(
            Stage.model_validate({**given, "sources": {"vhr": 1}, "subsets": {"vhr": ["A"]}}), tmp_path, tmp_path
        )


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("vhr", ("nwpu_vhr10/annotations.json", "nwpu_vhr10/split.json")),
        ("ports", ("sen2ships/annotations.json",)),
        ("ucm", ("ucm/captions.json", "ucm/LandUse_Multilabeled.txt")),
        ("gdit", ("gdit_airport/labelTxt",)),
        ("aid", ("aid_rsicd/captions.json",)),
    ],
)
def test_a_store_that_cannot_be_filled_is_told_before_anything_loads(
    tmp_path: Path, name: str, needed: tuple[str, ...]
) -> None:
    config = tmp_path / "try.yaml"
    config.write_text(
        yaml.safe_dump({"name": "try", "steps": 1, "sources": {name: 1}, "model": str(tmp_path / "none")})
    )
    for each in needed:
        path = tmp_path / "data" / each
        with pytest.raises(ConfigError, match=f"^try: sources: {name} is made of {path}, which is missing"):
            run_stage(config, [], tmp_path / "data", tmp_path / "runs", None)
        path.mkdir(parents=True)
    stage = load(config, [])
    check_sources(stage, tmp_path / "data", tmp_path / "features")


def test_a_full_store_needs_no_data(tmp_path: Path) -> None:
    stage = Stage.model_validate({"name": "try", "steps": 1, "sources": {"aid": 1}})
    index = tmp_path / "features" / "aid" / "index.jsonl"
    index.parent.mkdir(parents=True)
    index.write_text("{}\n" * (RECIPES["aid"].count - 1))
    with pytest.raises(ConfigError, match="aid is made of"):
        check_sources(stage, tmp_path / "data", tmp_path / "features")
    index.write_text("{}\n" * RECIPES["aid"].count)
    check_sources(stage, tmp_path / "data", tmp_path / "features")
