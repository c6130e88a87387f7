"""A sketch has the sizes of the model and none of its numbers; the 7B model's are known without a hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from geopix.checkpoint import LLAVA_7B, CheckpointError, from_llava, sketch
from tests.tiny import tiny_tokenizer
from tests.tiny_llava import SMALL, llava_tokenizer, tiny_llava, write_llava


def test_it_is_the_model_that_the_checkpoint_becomes(tmp_path: Path) -> None:
    tokenizer = llava_tokenizer()
    write_llava(tiny_llava(tokenizer), tokenizer, tmp_path)
    real, dialogue = from_llava(str(tmp_path), SMALL)
    (tmp_path / "model.safetensors").unlink()
    drawn, spoken, known = sketch(str(tmp_path), SMALL)
    assert known
    assert spoken.new_ids == dialogue.new_ids
    shapes = [{name: tuple(tensor.shape) for name, tensor in model.named_parameters()} for model in (real, drawn)]
    assert shapes[0] == shapes[1]
    assert [one.requires_grad for one in drawn.parameters()] == [one.requires_grad for one in real.parameters()]
    assert {(one.device.type, one.dtype) for one in drawn.parameters()} == {("meta", torch.bfloat16)}


def test_the_hub_is_asked_for_no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = llava_tokenizer()
    write_llava(tiny_llava(tokenizer), tokenizer, tmp_path)
    asked: list[list[str]] = []

    def hub(name: str, allow_patterns: list[str]) -> str:
        asked.append(allow_patterns)
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", hub)
    sketch("someone/llava", SMALL)
    [patterns] = asked
    assert "*.json" in patterns
    assert "*.safetensors" not in patterns


def test_the_7b_model_needs_no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*given: Any, **named: Any) -> str:
        raise OSError

    monkeypatch.setattr("huggingface_hub.snapshot_download", away)
    tiny_tokenizer().save_pretrained(tmp_path)
    monkeypatch.setattr("geopix.parts.directory", lambda part: tmp_path)
    drawn, dialogue, known = sketch(LLAVA_7B)
    assert not known
    assert sum(parameter.numel() for parameter in drawn.encoder.parameters()) == 303_507_456
    assert sum(parameter.numel() for parameter in drawn.language.parameters()) == 6_738_415_616 + 2 * 64 * 4096
    assert dialogue.image_tokens == 576
    with pytest.raises(CheckpointError, match="could not be fetched"):
        sketch("someone/else")
    with pytest.raises(CheckpointError, match="there is no checkpoint 'nowhere'"):
        sketch("nowhere")
