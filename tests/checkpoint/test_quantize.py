"""Eight and four bits: the words hardly change, the masks not at all, and what can't be quantised says so."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModel

from geopix import checkpoint
from geopix.checkpoint import CheckpointError, quantization
from geopix.dialogue import Dialogue
from geopix.model.geopix import GeoPixModel
from tests.tiny_model import GROUP, tiny_geopix
from tests.tiny_release import write_release

HIDDEN = 64
"""Four bits come in blocks of 64."""
has_bitsandbytes = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="needs bitsandbytes: pip install bitsandbytes"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    checkpoint.save(*tiny_geopix(seed=3, hidden=HIDDEN), tmp_path)
    return tmp_path


@torch.no_grad()
def words_and_masks(model: GeoPixModel, dialogue: Dialogue) -> tuple[Tensor, Tensor]:
    drawn = torch.Generator().manual_seed(5)
    pixels, embeddings = torch.randn(1, 3, 56, 56, generator=drawn), torch.randn(1, 2, GROUP, HIDDEN, generator=drawn)
    ids = torch.tensor([dialogue.question("Segment the ship.", first=True)])
    seen = model.see(pixels)
    hidden = model.language(model.language.embed(ids, seen.tokens))
    return model.language.words(hidden), model.predict_masks(seen, embeddings).logits


def quantised(model: GeoPixModel) -> set[str]:
    return {name for name, module in model.named_modules() if type(module).__name__ in ("Linear8bitLt", "Linear4bit")}


@has_bitsandbytes
@pytest.mark.parametrize(("bits", "near"), [("8bit", 0.02), ("4bit", 0.5)])
def test_answers_stay_close_and_the_mask_path_as_it_is(folder: Path, bits: str, near: float) -> None:
    plain = words_and_masks(*checkpoint.load(str(folder), "cpu", "float32"))
    model, dialogue = checkpoint.load(str(folder), "cpu", "float32", bits)
    words, masks = words_and_masks(model, dialogue)
    assert 0 < float((words - plain[0]).abs().max()) < near < float(plain[0].abs().max())
    assert torch.equal(masks, plain[1])
    layers = [f"language.llm.model.layers.{number}" for number in (0, 1)]
    matrices = [*(f"self_attn.{one}_proj" for one in "qkvo"), *(f"mlp.{one}_proj" for one in ("gate", "up", "down"))]
    assert quantised(model) == {f"{layer}.{matrix}" for layer in layers for matrix in matrices}
    with pytest.raises(ValueError, match="quantised weights are rounded already"):
        checkpoint.save(model, dialogue, folder / "again")


@has_bitsandbytes
def test_transformers_own_way_leads_to_the_same(folder: Path) -> None:
    ours, dialogue = checkpoint.load(str(folder), "cpu", "float32", "8bit")
    settings = quantization("8bit", torch.float32)
    theirs: Any = AutoModel.from_pretrained(folder, dtype=torch.float32, quantization_config=settings)
    assert quantised(theirs) == quantised(ours)
    assert torch.equal(words_and_masks(ours, dialogue)[0], words_and_masks(theirs, dialogue)[0])


@has_bitsandbytes
@pytest.mark.parametrize("bits", ["8bit", "4bit"])
def test_no_rounding_hides_a_weight_that_is_no_number(folder: Path, bits: str) -> None:
    model, dialogue = checkpoint.load(str(folder), "cpu", "float32")
    with torch.no_grad():
        model.language.causal.model.layers[0].mlp.up_proj.weight[3, 5] = torch.nan
    checkpoint.save(model, dialogue, folder)
    with pytest.raises(CheckpointError, match=r"layers.0.mlp.up_proj.weight in .* holds NaN or infinity"):
        checkpoint.load(str(folder), "cpu", "float32", bits)


@has_bitsandbytes
def test_four_bits_are_computed_in_the_precision_asked_for() -> None:
    settings = quantization("4bit", torch.float16)
    assert settings.load_in_4bit
    assert settings.bnb_4bit_quant_type == "nf4"
    assert settings.bnb_4bit_compute_dtype == torch.float16
    assert not quantization("8bit").load_in_4bit
    for one in (settings, quantization("8bit")):
        assert set(one.llm_int8_skip_modules) > {"encoder", "mask_predictor", "scale_projectors", "lm_head"}


def test_without_bitsandbytes_one_sentence_helps(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geopix.checkpoint.quantize.find_spec", lambda name: None)
    with pytest.raises(CheckpointError, match="4bit weights need bitsandbytes, which is missing; run: pip install"):
        checkpoint.load(str(folder), "cpu", quantize="4bit")
    with pytest.raises(CheckpointError, match="can't be quantised to '3bit': give 8bit or 4bit"):
        checkpoint.load(str(folder), "cpu", quantize="3bit")


def test_only_a_saved_folder_is_quantised_or_spread(tmp_path: Path) -> None:
    write_release(tmp_path)
    with pytest.raises(CheckpointError, match=f"only a saved folder can be .*make one: geopix convert {tmp_path} OUT"):
        checkpoint.load(str(tmp_path), "cpu", device_map="auto")
    with pytest.raises(CheckpointError, match="make one: geopix push nano OWNER/NAME --dry-run OUT"):
        checkpoint.load("nano", "cpu", device_map="auto")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_the_precision_that_is_asked_for(folder: Path, dtype: str) -> None:
    model, _ = checkpoint.load(str(folder), "cpu", dtype)
    assert {parameter.dtype for parameter in model.parameters()} == {getattr(torch, dtype)}
    with pytest.raises(CheckpointError, match="'int8' is no precision: give auto, float32, bfloat16, float16"):
        checkpoint.load(str(folder), "cpu", "int8")
