"""LLaVA-1.5 as the backbone: whatever transformers called its tensors, the words stay the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from geopix import checkpoint
from geopix.assistant import Assistant
from geopix.checkpoint import CheckpointError, from_llava
from geopix.checkpoint.llava import llava_config
from geopix.model.geopix import GeoPixModel
from tests.tiny_llava import SMALL, Names, full_size, llava_tokenizer, save_tensors, tiny_llava, write_llava

GENERATIONS: tuple[Names, ...] = ("as saved", "as in memory", "as before version 5")
OURS = ["<p>", *(f"[SEG{index}]" for index in range(6))]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tokenizer = llava_tokenizer()
    write_llava(tiny_llava(tokenizer), tokenizer, tmp_path)
    return tmp_path


def word_logits(model: GeoPixModel, ids: Tensor, pixels: Tensor) -> Tensor:
    with torch.no_grad():
        seen = model.see(pixels)
        return model.language.words(model.language(model.language.embed(ids, seen.tokens)))


def rows_of(causal: Any, out: bool = False) -> Tensor:
    """The table of words, of the input or the output."""
    table: Tensor = (causal.get_output_embeddings() if out else causal.get_input_embeddings()).weight
    return table


def rows(model: GeoPixModel, out: bool = False) -> Tensor:
    return rows_of(model.language.causal, out)


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("names", GENERATIONS)
@pytest.mark.parametrize("tied", [False, True])
def test_the_words_are_llavas_own(tmp_path: Path, names: Names, tied: bool) -> None:
    tokenizer = llava_tokenizer()
    theirs = tiny_llava(tokenizer, tie_word_embeddings=tied)
    write_llava(theirs, tokenizer, tmp_path, names)
    known = len(tokenizer)
    model, dialogue = from_llava(str(tmp_path), SMALL)
    model.eval()
    ids = torch.tensor([dialogue.question("What is there?", first=True)])
    assert int((ids == dialogue.image_id).sum()) == 16
    pixels = torch.randn(1, 3, 28, 28)
    with torch.no_grad():
        expected = theirs(input_ids=ids, pixel_values=pixels).logits
    assert expected.std() > 0.1
    torch.testing.assert_close(word_logits(model, ids, pixels)[..., :known], expected, rtol=0, atol=2e-5)


def test_several_files_are_one_checkpoint(tmp_path: Path) -> None:
    tokenizer = llava_tokenizer()
    theirs = tiny_llava(tokenizer)
    write_llava(theirs, tokenizer, tmp_path / "one")
    write_llava(theirs, tokenizer, tmp_path / "many", max_shard_size="100KB")
    assert len(list((tmp_path / "many").glob("*.safetensors"))) > 2
    one, many = (from_llava(str(tmp_path / name), SMALL)[0].state_dict() for name in ("one", "many"))
    assert all(torch.equal(one[name], many[name]) for name in one)


def test_the_papers_sizes_unless_told_otherwise(folder: Path) -> None:
    config, dialogue, _ = llava_config(folder, folder)
    assert config.encoder_layers == [11, 2]
    assert (config.template, config.merge, config.relations, config.mask_width, config.mask_side) == (
        "vicuna", 1, False, 256, 32,
    )  # fmt: skip
    assert config.projector == {"inner": 48, "norm": False}
    assert {key: config.memory[key] for key in ("fusion", "capacity", "width", "side")} == {
        "fusion": "conv3d", "capacity": 64, "width": 64, "side": 32,
    }  # fmt: skip
    assert config.image_mean == pytest.approx([0.4815, 0.4578, 0.4082], abs=1e-4)
    assert dialogue.image_tokens == 16
    assert dialogue.tokenizer.decode([dialogue.end_id]) == "</s>"
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5] * 3, "image_std": [0.25] * 3}))
    forgetful = {**SMALL["memory"], "fusion": "none"}
    model, _ = from_llava(str(folder), {**SMALL, "encoder_layers": (12, 5), "memory": forgetful})
    assert model.config.encoder_layers == [12, 5]
    assert model.config.image_std == [0.25] * 3
    assert model.trainable_predictor.memory is None


def test_our_tokens_get_rows_of_their_own(folder: Path) -> None:
    known = len(llava_tokenizer())
    first, dialogue = from_llava(str(folder), SMALL)
    again, _ = from_llava(str(folder), SMALL)
    assert dialogue.tokenizer.convert_ids_to_tokens(list(dialogue.new_ids)) == ["<image>", *OURS]
    tables = [[rows(model), rows(model, out=True)] for model in (first, again)]
    for ours, theirs in zip(*tables, strict=True):
        assert len(ours) == known + len(OURS)
        assert torch.equal(ours, theirs)  # the same on every machine
        assert len(ours[known:].unique(dim=0)) == len(OURS)
    assert first.config.text_config.vocab_size == known + len(OURS)


def test_spare_rows_are_used_before_new_ones_are_made(tmp_path: Path) -> None:
    tokenizer = llava_tokenizer()
    known = len(tokenizer)
    theirs = tiny_llava(tokenizer, spare_rows=10)
    with torch.no_grad():
        rows_of(theirs)[known:] = 0  # all alike, as padding often is
    write_llava(theirs, tokenizer, tmp_path)
    model, dialogue = from_llava(str(tmp_path), SMALL)
    table = rows(model)
    assert len(table) == known + 10
    assert len(table[list(dialogue.group_ids)].unique(dim=0)) == 6
    assert torch.equal(table[:known], rows_of(theirs)[:known])


def test_a_tokenizer_that_holds_our_names_keeps_its_ids_and_rows(tmp_path: Path) -> None:
    tokenizer = llava_tokenizer(["[SEG3]", "<image>", *(name for name in OURS if name != "[SEG3]")])
    theirs = tiny_llava(tokenizer)
    write_llava(theirs, tokenizer, tmp_path)
    model, dialogue = from_llava(str(tmp_path), SMALL)
    assert dialogue.group_ids == tuple(tokenizer.convert_tokens_to_ids(name) for name in OURS[1:])
    assert torch.equal(rows(model), rows_of(theirs))


def test_it_is_saved_and_asked_like_any_other(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint.open, "fast_dtype", lambda device: torch.float32)
    model, dialogue = from_llava(str(folder), SMALL)
    checkpoint.save(model, dialogue, tmp_path / "ours")
    again, spoken = checkpoint.load(str(tmp_path / "ours"), "cpu")
    image = np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)
    answers = []
    for one, words in ((model.eval(), dialogue), (again, spoken)):
        guide = Assistant(one, words, "tiny")
        guide.set_image(image)
        answers.append(guide.ask("Segment the ship."))
    assert answers[0].text == answers[1].text


def test_a_checkpoint_of_the_hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, list[str]]] = []

    def hub(name: str, allow_patterns: list[str]) -> str:
        asked.append((name, allow_patterns))
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", hub)
    from_llava("llava-hf/llava-1.5-7b-hf", SMALL)
    [(name, patterns)] = asked
    assert name == "llava-hf/llava-1.5-7b-hf"
    assert not any(pattern.endswith((".py", ".bin", ".pth", "*")) for pattern in patterns)
    with pytest.raises(CheckpointError, match="there is no checkpoint 'nowhere': give a folder or a hub id"):
        from_llava("nowhere")


LINEAR = "multi_modal_projector.linear_1.weight"


def missing(tensors: dict[str, Tensor]) -> None:
    del tensors[LINEAR]


def extra(tensors: dict[str, Tensor]) -> None:
    tensors["image_newline"] = torch.zeros(1)


def misshapen(tensors: dict[str, Tensor]) -> None:
    tensors[LINEAR] = torch.zeros(3, 3)


def whole_numbers(tensors: dict[str, Tensor]) -> None:
    tensors[LINEAR] = tensors[LINEAR].long()


def not_finite(tensors: dict[str, Tensor]) -> None:
    tensors[LINEAR][0, 0] = torch.inf


def twice(tensors: dict[str, Tensor]) -> None:
    tensors["lm_head.weight"] = tensors["language_model.lm_head.weight"].clone()


def headless(tensors: dict[str, Tensor]) -> None:
    del tensors["language_model.lm_head.weight"]


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (missing, r"1 tensors missing \['multi_modal_projector.linear_1.weight'\], 0 unexpected"),
        (extra, r"0 tensors missing \[\], 1 unexpected \['image_newline'\]"),
        (misshapen, r"multi_modal_projector.linear_1.weight in .* is \(3, 3\), expected \(48, 32\)"),
        (whole_numbers, r"multi_modal_projector.linear_1.weight in .* is torch.int64, expected torch.float32"),
        (not_finite, r"multi_modal_projector.linear_1.weight in .* holds NaN or infinity"),
        (twice, r"holds language_model.lm_head.weight twice, under an old and a new name"),
        (headless, r"1 tensors missing \['language_model.lm_head.weight'\]"),
    ],
)
def test_a_wrong_tensor_is_named(folder: Path, damage: Callable[[dict[str, Tensor]], None], told: str) -> None:
    tensors = load_file(folder / "model.safetensors")
    damage(tensors)
    save_tensors(tensors, folder)
    with pytest.raises(CheckpointError, match=f"{told}.*fetch the checkpoint again"):
        from_llava(str(folder), SMALL)


@pytest.mark.parametrize("kept", [0, 7, 300, 20_000])
def test_a_file_cut_short(folder: Path, kept: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"model.safetensors is damaged .*fetch the checkpoint again"):
        from_llava(str(folder), SMALL)


@pytest.mark.parametrize(
    ("lost", "told"),
    [
        ("config.json", "has no config.json, so it is no LLaVA checkpoint"),
        ("model.safetensors", r"holds no weights \(model.safetensors\)"),
        ("tokenizer.json", "the tokenizer in .* can't be read"),
    ],
)
def test_a_missing_file(folder: Path, lost: str, told: str) -> None:
    (folder / lost).unlink()
    with pytest.raises(CheckpointError, match=told):
        from_llava(str(folder), SMALL)


def test_weights_in_a_pickle_are_not_read(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"holds no weights \(model.safetensors\); fetch the checkpoint again"):
        from_llava(str(folder), SMALL)


def test_an_absurd_bank_is_refused_unless_told(folder: Path) -> None:
    absurd = {**SMALL, "memory": {**SMALL["memory"], "capacity": 10**6}}
    with pytest.raises(ValueError, match=r"a memory bank of 11 x 2 x 1000000 .* GB in float32, and 4.0 are"):
        from_llava(str(folder), absurd)
    small = {**SMALL, "memory": {**SMALL["memory"], "largest_gb": 1e-6}}
    with pytest.raises(ValueError, match="choose a smaller capacity, width or side, or set memory"):
        from_llava(str(folder), small)


def test_an_index_that_leads_elsewhere(folder: Path) -> None:
    index = {"weight_map": {"lm_head.weight": "../model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=r"names a file outside its folder: '../model.safetensors'"):
        from_llava(str(folder), SMALL)
    index = {"weight_map": {"lm_head.weight": "gone.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=r"gone.safetensors is missing; fetch the checkpoint again"):
        from_llava(str(folder), SMALL)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model_type": "qwen2_vl"}, "holds a model of type 'qwen2_vl', not 'llava'"),
        ({"vision_feature_select_strategy": "full"}, "asks for 'full', and only 'default' is built"),
        ({"projector_hidden_act": "relu"}, "asks for 'relu', and only 'gelu' is built"),
        ({"text_config": {"model_type": "no such"}}, "does not describe a LLaVA model"),
        ({"text_config": 3}, "does not describe a LLaVA model"),
        ({"vision_feature_layer": [-2, -5]}, r"has 12 layers, and the LLM sees layer \[-2, -5\] of them; name both"),
        ({"vision_feature_layer": 13}, "has 12 layers, and the LLM sees layer 13 of them; name both"),
    ],
)
def test_settings_that_can_not_be_ours(folder: Path, changes: dict[str, Any], told: str) -> None:
    settings = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(settings))
    with pytest.raises(CheckpointError, match=told):
        from_llava(str(folder), SMALL)


def test_the_papers_model_at_full_size_part_by_part(tmp_path: Path) -> None:
    model, dialogue, known = full_size(tmp_path, tokens=32_002, rows=32_064)
    assert known == 32_002
    assert dialogue.group_ids == tuple(range(32_003, 32_009))
    assert dialogue.image_tokens == 576
    assert model.config.encoder_layers == [23, 14]
    attention = 4 * (1024 * 1024 + 1024)
    layer = attention + (1024 * 4096 + 4096) + (4096 * 1024 + 1024) + 2 * 2 * 1024
    embeddings = 1024 + 3 * 14 * 14 * 1024 + (24 * 24 + 1) * 1024
    assert parameters(model.encoder) == 24 * layer + embeddings + 2 * 2 * 1024 == 303_507_456
    assert parameters(model.multimodal_projector) == 1024 * 4096 + 4096 + 4096 * 4096 + 4096 == 20_979_712
    spare = 2 * 64 * 4096  # this checkpoint's rows past 32,000, in and out, of which ours take seven
    assert parameters(model.language) == 6_738_415_616 + spare == 6_738_939_904
    scale = 2 * 1024 + (1024 * 256 + 256) + (9 * 256 * 256 + 256)
    assert parameters(model.scale_projectors) == 2 * scale == 1_709_056
    predictor = model.trainable_predictor
    memory: Any = predictor.memory
    assert parameters(memory.bank) == 75 * 2 * 64 * 64 * 32 * 32 == 629_145_600
    assert parameters(memory.fusion) == 2_723
    assert parameters(predictor.prompt) == 2 * 4096 + (4096 * 512 + 512) + (512 * 256 + 256) == 2_237_184
    assert parameters(predictor.class_head) == 2 * 256 + (256 * 256 + 256) + (256 * 75 + 75) == 85_579
    assert predictor.ordinal is None


def test_a_vocabulary_without_room_grows_at_full_size(tmp_path: Path) -> None:
    model, dialogue, known = full_size(tmp_path, tokens=32_000, rows=32_000)
    assert (known, dialogue.image_id, max(dialogue.new_ids)) == (32_000, 32_000, 32_007)
    assert parameters(model.language) == 6_738_415_616 + 2 * 8 * 4096 == 6_738_481_152
