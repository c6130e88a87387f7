"""The authors' checkpoint: it loads, answers and converts; what is wrong with one is told, and nothing in it runs."""

from __future__ import annotations

import json
import logging
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage
from safetensors.torch import load_file
from torch import Tensor
from typer.testing import CliRunner

import geopix
from geopix import checkpoint
from geopix.apps.cli import app
from geopix.checkpoint import CheckpointError
from geopix.checkpoint.released import NO_MEMORY
from tests.tiny_llava import llava_tokenizer
from tests.tiny_release import change, write_json, write_release

QUESTION = "[segment] Can you segment the ship and the bridge?"
IMAGE = np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)


@pytest.fixture(autouse=True)
def _exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint.open, "fast_dtype", lambda device: torch.float32)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    folder = tmp_path / "release"
    folder.mkdir()
    write_release(folder)
    return folder


def same_masks(one: geopix.Answer, other: geopix.Answer) -> bool:
    pairs = zip(one.instances, other.instances, strict=True)
    return all(a.mask is not None and b.mask is not None and bool((a.mask == b.mask).all()) for a, b in pairs)


def answer(folder: Path) -> geopix.Answer:
    guide = geopix.load(str(folder), "cpu")
    guide.set_image(IMAGE)
    return guide.ask(QUESTION)


def test_it_answers_with_masks(release: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "geopix"):
        found = answer(release)
    assert [record.getMessage() for record in caplog.records if record.name.startswith("geopix")] == [NO_MEMORY]
    [instance] = found.instances
    assert found.text == "[1]"
    assert instance.phrase == "the object"
    assert instance.mask is not None
    assert instance.mask.shape == (20, 30)
    assert instance.score is None
    assert instance.class_score is None


def test_a_batch_answers_as_one_by_one_does(release: Path) -> None:
    guide = geopix.load(str(release), "cpu")
    other = np.ascontiguousarray(IMAGE[:, :11])
    found = guide.ask_batch([IMAGE, other], [QUESTION, "[segment] Can you segment the harbor?"])
    alone = answer(release)
    assert [len(one.instances) for one in found] == [1, 1]
    assert same_masks(found[0], alone)
    assert found[1].size_hw == (20, 11)


def test_its_prompt_and_its_ids(release: Path) -> None:
    model, dialogue = checkpoint.load(str(release), "cpu")
    ids = dialogue.question(QUESTION, first=True)
    said = dialogue.tokenizer.decode([token for token in ids if token != dialogue.image_id])
    assert said == (
        "<s>A chat between a curious human and an artificial intelligence assistant. The assistant gives helpful, "
        f"detailed, and polite answers to the human's questions. USER: \n{QUESTION} ASSISTANT:"
    )
    assert ids.count(dialogue.image_id) == 16
    assert dialogue.group_ids == tuple(range(260, 266))  # by name: 256 bytes, <s>, </s>, <image>, <pad>
    assert len(dialogue.tokenizer) == 266  # no phrase mark of ours
    assert model.config.encoder_layers == [11, 2]
    assert model.config.mask_path == "released"
    spoken = dialogue.parse([*dialogue.tokenizer("The ship is at {<10><20><30><40>}").input_ids])
    assert spoken.mentions[0].box == (0.1, 0.2, 0.3, 0.4)


def test_a_converted_copy_answers_the_same(release: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "ours"
    checkpoint.convert(str(release), out)
    files = {path.name for path in out.rglob("*") if path.is_file()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= files
    assert not any(name.endswith((".bin", ".pth", ".pt", ".pkl", ".py")) for name in files)
    assert [path.name for path in out.parent.iterdir()] == ["ours"]
    before, after = answer(release), answer(out)
    assert before.text == after.text
    assert same_masks(before, after)
    ours, theirs = (checkpoint.load(str(folder), "cpu")[0].state_dict() for folder in (out, release))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_copy_keeps_every_tensor_as_exact_as_it_was(release: Path, tmp_path: Path) -> None:
    for path in (release / "vlm").glob("*.safetensors"):  # as published: LLaVA in half precision
        change(path, lambda tensors: tensors.update({name: one.half() for name, one in tensors.items()}))
    checkpoint.convert(str(release), tmp_path / "ours")
    kept = load_file(tmp_path / "ours" / "model.safetensors")
    necks = torch.load(release / "image_neck_rough.pth", weights_only=True)
    assert torch.equal(kept["scale_projectors.0.narrow.0.weight"], necks["conv1.0.weight"])
    assert kept["multimodal_projector.layers.1.weight"].dtype == torch.float16
    assert same_masks(answer(release), answer(tmp_path / "ours"))


def test_convert_writes_whole_or_not_at_all(release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "note.txt").write_text("mine")
    with pytest.raises(CheckpointError, match="full exists and is no empty folder; name a new one"):
        checkpoint.convert(str(release), full)
    with pytest.raises(CheckpointError, match=r"note.txt exists and is no empty folder"):
        checkpoint.convert(str(release), full / "note.txt")
    with pytest.raises(CheckpointError, match="is not laid out as the authors' release"):
        checkpoint.convert(str(full), tmp_path / "out")

    def stopped(*arguments: Any) -> None:
        arguments[2].mkdir()
        (arguments[2] / "half").write_text("")
        raise OSError(28, "no space left")

    monkeypatch.setattr(checkpoint.publish, "save", stopped)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(OSError, match="no space left"):
        checkpoint.convert(str(release), tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == before
    assert (full / "note.txt").read_text() == "mine"


def test_the_command_line_says_once_that_there_is_no_memory(release: Path, tmp_path: Path) -> None:
    PillowImage.fromarray(IMAGE).save(tmp_path / "scene.png")
    command = [sys.executable, "-m", "geopix", "ask", "scene.png", QUESTION, "--model", "release", "--device", "cpu"]
    asked = subprocess.run([*command, "--json"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert asked.stderr.splitlines() == [NO_MEMORY]
    assert len(json.loads(asked.stdout)["instances"]) == 1


def test_convert_on_the_command_line(release: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["convert", str(release), str(tmp_path / "ours")])
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", f"wrote {tmp_path / 'ours'}\n")
    again = CliRunner().invoke(app, ["convert", str(release), str(tmp_path / "ours")])
    assert again.exit_code == 1
    assert again.stderr == f"geopix: {tmp_path / 'ours'} exists and is no empty folder; name a new one\n"


def test_the_hub_gives_pickles_of_this_layout_only(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def hub(name: str, allow_patterns: list[str]) -> str:
        asked.append(allow_patterns)
        return str(release)

    monkeypatch.setattr("huggingface_hub.snapshot_download", hub)
    checkpoint.load("Norman-ou/GeoPix-ft-sior_rsicap", "cpu")
    before, then = asked
    assert not any(pattern.endswith((".bin", ".pth", ".py")) for pattern in before)
    assert set(then) - set(before) == {"*.pth", "*.bin", "*.model"}


class Malice:
    """What a stranger may put into a pickle."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch it_ran",)


@pytest.mark.parametrize("name", ["text_hidden_fcs.pth", "multiseg_scalar.pth", "clm/pytorch_model.bin"])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_malicious_pickle_does_not_run(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, zipped: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    if zipped:
        torch.save(Malice(), release / name)
    else:
        (release / name).write_bytes(pickle.dumps(Malice()))
    with pytest.raises(CheckpointError, match=r"is damaged or holds more than tensors, such as code.*again$") as told:
        checkpoint.load(str(release), "cpu")
    assert "\n" not in str(told.value)
    assert not (tmp_path / "it_ran").exists()


@pytest.mark.parametrize("kept", [0, 5, 700])
@pytest.mark.parametrize(
    "name", ["image_neck_rough.pth", "multiscale_scalar.pth", "pec/pytorch_model.bin", "seg/model.safetensors"]
)
def test_a_file_cut_short(release: Path, name: str, kept: int) -> None:
    path = release / name
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=rf"{Path(name).name} (is damaged|holds).*fetch the authors' release"):
        checkpoint.load(str(release), "cpu")


def put(name: str, value: Tensor | None) -> Callable[[dict[str, Tensor]], None]:
    """An edit that sets a tensor, or takes it away."""

    def edit(tensors: dict[str, Tensor]) -> None:
        tensors.pop(name, None)
        if value is not None:
            tensors[name] = value

    return edit


NECK, TOKEN, BANK = "conv1.0.weight", "mask_decoder.iou_token.weight", "learnable_memory.memory"
SEG, PEC, CLM = "seg/model.safetensors", "pec/pytorch_model.bin", "clm/pytorch_model.bin"
GAUSSIAN = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"


@pytest.mark.parametrize(
    ("file", "edit", "told"),
    [
        ("image_neck_rough.pth", put(NECK, None), r"1 tensors missing \['image_neck_rough.conv1.0.weight'\]"),
        ("image_neck_rough.pth", put("x", torch.zeros(1)), r"1 unexpected \['image_neck_rough.x'\]"),
        ("image_neck_detail.pth", put(NECK, torch.zeros(2)), r"image_neck_detail.conv1.0.weight in .* is \(2,\), exp"),
        ("text_hidden_fcs.pth", put("0.bias", torch.full((48,), torch.nan)), "text_hidden_fcs.0.bias in .* holds NaN"),
        (SEG, put(TOKEN, None), r"1 tensors missing \['seg.mask_decoder.iou_token.weight'\]"),
        (SEG, put(TOKEN, torch.zeros(1, 32, dtype=torch.int)), r"seg.mask_decoder.iou_token.weight in .* torch.int32"),
        (PEC, put(GAUSSIAN, torch.zeros(2, 3)), r"pec.prompt_encoder.pe_layer.* is \(2, 3\), expected \(2, 16\)"),
        (PEC, put(GAUSSIAN, torch.full((2, 16), torch.inf)), "pec.prompt_encoder.pe_layer.* holds NaN or infinity"),
        (CLM, put(BANK, None), r"1 tensors missing \['clm.learnable_memory.memory'\]"),
        (CLM, put("memory_attention.norm.bias", None), r"missing \['clm.memory_attention.norm.bias'\]"),
        (CLM, put("memory_attention.layers.1.scale", torch.zeros(32)), r"unexpected \['clm.memory_attention.layers.1"),
    ],
)
def test_a_wrong_tensor_is_named(
    release: Path, file: str, edit: Callable[[dict[str, Tensor]], None], told: str
) -> None:
    change(release / file, edit)
    with pytest.raises(CheckpointError, match=f"{told}.*fetch the authors' release again"):
        checkpoint.load(str(release), "cpu")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ([torch.tensor(0.5)] * 2, r"multiseg_scalar in .* is \(2,\), expected \(3,\)"),
        ([torch.zeros(2)] * 3, "multiseg_scalar.pth does not hold a list of numbers"),
        ([], "multiseg_scalar.pth does not hold a list of numbers"),
        ({"a": torch.tensor(0.5)}, "multiseg_scalar.pth does not hold a list of numbers"),
        ({"a": 3}, "multiseg_scalar.pth holds a dict of more than tensors"),
        (3, "multiseg_scalar.pth holds a int of more than tensors"),
    ],
)
def test_scalars_that_are_none(release: Path, content: Any, told: str) -> None:
    torch.save(content, release / "multiseg_scalar.pth")
    with pytest.raises(CheckpointError, match=told):
        checkpoint.load(str(release), "cpu")


@pytest.mark.parametrize(
    ("lost", "told"),
    [
        ("config.json", "config.json is missing; fetch the authors' release again"),
        ("vlm/config.json", "vlm has no config.json, so it is no LLaVA checkpoint"),
        ("clm/pytorch_model.bin", r"holds no weights \(model.safetensors or pytorch_model.bin\)"),
        ("multiscale_scalar.pth", "multiscale_scalar.pth is missing; fetch the authors' release again"),
        ("tokenizer.json", "the tokenizer in .* can't be read"),
    ],
)
def test_a_missing_file(release: Path, lost: str, told: str) -> None:
    (release / lost).unlink()
    with pytest.raises(CheckpointError, match=told):
        checkpoint.load(str(release), "cpu")


def test_a_tokenizer_without_its_words(release: Path) -> None:
    llava_tokenizer().save_pretrained(release)
    with pytest.raises(CheckpointError, match=r"the tokenizer in .* lacks \['\[SEG0\]', .*'\[SEG5\]'\]"):
        checkpoint.load(str(release), "cpu")


@pytest.mark.parametrize("changes", [{"image_feature_scale_num": 3}, {"seg_token_num": 0}, {"seg_token_num": "3"}])
def test_settings_of_no_release(release: Path, changes: dict[str, Any]) -> None:
    write_json({"image_feature_scale_num": 2, "seg_token_num": 3} | changes, release)
    with pytest.raises(CheckpointError, match=r"its settings ask for .* scales and sizes"):
        checkpoint.load(str(release), "cpu")
