"""GeoPix under transformers' Auto classes, spread over devices, and what a stranger's settings must not bring about."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage
from transformers import AutoConfig, AutoModel, AutoProcessor
from transformers.integrations.accelerate import infer_auto_device_map

from geopix import checkpoint
from geopix.assistant import Assistant
from geopix.checkpoint import CheckpointError, GeoPixProcessor
from geopix.checkpoint.llava import from_llava
from geopix.model.configuration import GeoPixConfig
from geopix.model.geopix import GeoPixModel
from geopix.records import Image
from tests.tiny_llava import SMALL, llava_tokenizer, tiny_llava, write_llava
from tests.tiny_model import tiny_geopix
from tests.tiny_release import write_release

ROOT = Path(__file__).parents[2]
QUESTION = "Segment the ship."
RELEASED = "[segment] Can you segment the ship?"
IMAGE: Image = np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(checkpoint.open, "fast_dtype", lambda device: torch.float32)
    checkpoint.save(*tiny_geopix(seed=3), tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The authors' release, converted; it answers with a mask."""
    monkeypatch.setattr(checkpoint.open, "fast_dtype", lambda device: torch.float32)
    (tmp_path / "release").mkdir()
    write_release(tmp_path / "release")
    checkpoint.convert(str(tmp_path / "release"), tmp_path / "ours")
    return tmp_path / "ours"


def change(path: Path, **more: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | more))


def ask(model: GeoPixModel, dialogue: Any, question: str = QUESTION) -> tuple[str, list[bytes]]:
    guide = Assistant(model, dialogue, "tiny")
    guide.set_image(IMAGE)
    answer = guide.ask(question)
    return answer.text, [instance.mask.tobytes() for instance in answer.instances if instance.mask is not None]


@pytest.mark.parametrize(("kind", "question", "masks"), [("folder", QUESTION, 0), ("released", RELEASED, 1)])
def test_the_auto_classes_give_the_same_answers(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, question: str, masks: int
) -> None:
    place: Path = request.getfixturevalue(kind)
    expected = ask(*checkpoint.load(str(place), "cpu"), question)
    assert len(expected[1]) == masks
    assert isinstance(AutoConfig.from_pretrained(place), GeoPixConfig)
    model: Any = AutoModel.from_pretrained(place)
    processor: Any = AutoProcessor.from_pretrained(place)
    assert isinstance(model, GeoPixModel)
    assert isinstance(processor, GeoPixProcessor)
    assert ask(model.float(), processor.dialogue, question) == expected
    model.save_pretrained(tmp_path / "again")  # transformers' own way of saving
    processor.save_pretrained(tmp_path / "again")
    assert ask(*checkpoint.load(str(tmp_path / "again"), "cpu"), question) == expected


def test_importing_the_room_is_enough(folder: Path) -> None:
    code = (
        "import geopix.checkpoint, sys; from transformers import AutoModel, AutoProcessor;"
        "AutoProcessor.from_pretrained(sys.argv[1]); print(type(AutoModel.from_pretrained(sys.argv[1])).__name__)"
    )
    command = [sys.executable, "-c", code, str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "GeoPixModel\n"


@torch.no_grad()
def test_the_processor_makes_what_the_model_reads(folder: Path) -> None:
    model: Any = AutoModel.from_pretrained(folder)
    processor: Any = AutoProcessor.from_pretrained(folder)
    picture, questions = PillowImage.fromarray(IMAGE[:, :9]), ["Where is it?", "Segment the ship and the bridge."]
    batch = processor(images=[IMAGE, picture], text=questions)
    assert batch["pixel_values"].shape == (2, 3, 56, 56)
    lengths = batch["attention_mask"].sum(dim=1).tolist()
    for row, (one, question) in enumerate(zip([IMAGE, picture], questions, strict=True)):
        alone = processor(one, question)
        asked = processor.dialogue.question(question, first=True)
        assert alone["input_ids"].tolist() == [asked]
        assert batch["input_ids"][row, -lengths[row] :].tolist() == asked
        assert torch.equal(alone["pixel_values"][0], batch["pixel_values"][row])
    seen = model.see(batch["pixel_values"])
    hidden = model.language(model.language.embed(batch["input_ids"], seen.tokens), batch["attention_mask"])
    single = processor(IMAGE, questions[0])
    alone = model.language(model.language.embed(single["input_ids"], model.see(single["pixel_values"]).tokens))
    torch.testing.assert_close(hidden[0, -lengths[0] :], alone[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("images", "text", "told"),
    [
        ([IMAGE], [QUESTION, QUESTION], "1 images for 2 questions; give one image for each"),
        ([], [], "0 images for 0 questions"),
        (IMAGE[..., 0], QUESTION, r"an image is uint8 \(20, 30\), expected uint8 \(height, width, 3\) RGB"),
        (IMAGE.astype(float), QUESTION, "an image is float64"),
    ],
)
def test_what_the_processor_refuses(folder: Path, images: Any, text: Any, told: str) -> None:
    processor: Any = AutoProcessor.from_pretrained(folder)
    with pytest.raises(ValueError, match=told):
        processor(images, text)


def test_layers_that_lie_elsewhere_change_no_answer(released: Path, tmp_path: Path) -> None:
    expected = ask(*checkpoint.load(str(released), "cpu"), RELEASED)
    llm = "language.llm"
    here = ["encoder", "scale_projectors", "multimodal_projector", "mask_predictor", f"{llm}.lm_head"]
    here += [f"{llm}.model.{part}" for part in ("embed_tokens", "layers.0", "norm", "rotary_emb")]
    places = {**dict.fromkeys(here, "cpu"), f"{llm}.model.layers.1": "disk"}
    model, dialogue = checkpoint.load(str(released), "cpu", device_map=places)
    assert {p.device.type for p in model.language.causal.model.layers[1].parameters()} == {"meta"}  # read when needed
    assert ask(model, dialogue, RELEASED) == expected
    assert ask(*checkpoint.load(str(released), "cpu", device_map="auto"), RELEASED) == expected


def test_small_parts_stay_together_on_the_first_device() -> None:
    model, _ = tiny_geopix()
    size = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    language = sum(parameter.numel() * parameter.element_size() for parameter in model.language.parameters())
    layer = sum(p.numel() * p.element_size() for p in model.language.causal.model.layers[0].parameters())
    places = infer_auto_device_map(
        model,
        max_memory={"cpu": size - language + 2 * layer, "disk": size},  # in place of two GPUs
        no_split_module_classes=set(model._no_split_modules or ()),
    )
    for part in ("encoder", "scale_projectors", "multimodal_projector", "mask_predictor"):
        assert {where for name, where in places.items() if name.startswith(part)} == {"cpu"}
    assert {where for name, where in places.items() if name.startswith("language")} == {"cpu", "disk"}


EVIL = "evil.Evil"


def with_code(place: Path, *names: str) -> None:
    """Settings that name a class in a file beside them, which tells on itself when it is run."""
    (place / "evil.py").write_text("from pathlib import Path\nPath('it_ran').touch()\nclass Evil: pass\n")
    classes = ("AutoConfig", "AutoModel", "AutoModelForCausalLM", "AutoProcessor", "AutoImageProcessor")
    for name in names:
        tokens = {"AutoTokenizer": [EVIL, EVIL]}
        more = {"auto_map": tokens | dict.fromkeys(classes, EVIL)}
        change(place / name, **more)


@pytest.mark.parametrize("asker", ["geopix", "transformers"])
def test_code_beside_a_model_is_left_alone(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asker: str
) -> None:
    expected = ask(*checkpoint.load(str(folder), "cpu"))
    monkeypatch.chdir(tmp_path)
    with_code(folder, "config.json", "tokenizer_config.json", "processor_config.json")
    settings = json.loads((folder / "config.json").read_text())
    for part in ("vision_config", "text_config"):
        settings[part]["auto_map"] = settings["auto_map"]
    change(folder / "config.json", **settings)
    if asker == "geopix":
        found = ask(*checkpoint.load(str(folder), "cpu"))
    else:
        processor: Any = AutoProcessor.from_pretrained(folder)
        found = ask(AutoModel.from_pretrained(folder), processor.dialogue)
    assert found == expected
    assert not (tmp_path / "it_ran").exists()


def test_what_only_code_could_load_is_refused(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("builtins.input", lambda prompt="": pytest.fail("nobody is to be asked whether code may run"))
    with_code(folder, "tokenizer_config.json")
    change(folder / "tokenizer_config.json", tokenizer_class="Evil")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"can't be loaded .*; save it again"):
        checkpoint.load(str(folder), "cpu")
    checkpoint.save(*tiny_geopix(seed=3), folder)
    settings = json.loads((folder / "config.json").read_text())
    settings["text_config"] |= {"model_type": "clip_vision_model", "auto_map": {"AutoModelForCausalLM": EVIL}}
    change(folder / "config.json", **settings)
    with pytest.raises(CheckpointError, match=r"can't be loaded .*; save it again"):
        checkpoint.load(str(folder), "cpu")
    assert not (tmp_path / "it_ran").exists()


def test_code_beside_a_llava_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer, place = llava_tokenizer(), tmp_path / "llava"
    write_llava(tiny_llava(tokenizer), tokenizer, place)
    monkeypatch.chdir(tmp_path)
    with_code(place, "config.json", "tokenizer_config.json")
    from_llava(str(place), SMALL)
    settings = json.loads((place / "config.json").read_text())
    settings["text_config"] |= {"model_type": "clip_vision_model", "auto_map": {"AutoModelForCausalLM": EVIL}}
    change(place / "config.json", **settings)
    with pytest.raises(CheckpointError, match=r"(describes no vision model|does not describe).*; fetch the checkpoint"):
        from_llava(str(place), SMALL)
    assert not (tmp_path / "it_ran").exists()


@pytest.mark.parametrize("where", ["", "text_config", "vision_config"])
def test_attention_is_never_fetched(folder: Path, where: str) -> None:
    expected = ask(*checkpoint.load(str(folder), "cpu"))
    settings = json.loads((folder / "config.json").read_text())
    (settings[where] if where else settings)["attn_implementation"] = "kernels-community/some-kernel"
    change(folder / "config.json", **settings)
    assert ask(*checkpoint.load(str(folder), "cpu")) == expected


def test_an_adapter_beside_a_model_is_told(folder: Path) -> None:
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "someone/else"}))
    with pytest.raises(CheckpointError, match="holds an adapter beside the model; keep it in a folder of its own"):
        checkpoint.load(str(folder), "cpu")
