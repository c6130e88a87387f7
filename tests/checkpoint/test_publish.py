"""Models for others: a folder with a card that says what is known, and how it gets onto the hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard
from typer.testing import CliRunner

from geopix import checkpoint
from geopix.apps.cli import app
from geopix.checkpoint import CheckpointError
from geopix.checkpoint.llava import from_llava
from geopix.checkpoint.released import NO_MEMORY
from geopix.model.geopix import GeoPixModel
from tests.tiny_llava import SMALL, llava_tokenizer, tiny_llava, write_llava
from tests.tiny_model import tiny_geopix
from tests.tiny_release import write_release

ABOUT = {
    "base_model": "someone/tiny-base",
    "parts": {
        "vision encoder": {"source": "a camera | a lens", "licence": "MIT"},
        "others": {"source": "trained here", "licence": "for research"},
    },
    "data_terms": ["Ten pictures: research only"],
    "training": {"stage": {"name": "tiny", "steps": 7, "betas": [0.9, 0.95]}},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A saved model that knows nothing of its making."""
    checkpoint.save(*tiny_geopix(seed=3), tmp_path / "model")
    return tmp_path / "model"


class Hub:
    """What `huggingface_hub.HfApi` would do, and remembers what it was asked."""

    def __init__(self) -> None:
        self.made: list[tuple[str, bool]] = []
        self.files: dict[str, bytes] = {}

    def __call__(self) -> Hub:
        return self

    def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> str:
        assert exist_ok
        self.made.append((repo_id, private))
        return f"https://hub.invalid/{repo_id}"

    def upload_folder(self, *, repo_id: str, folder_path: Path, commit_message: str) -> None:
        assert commit_message
        assert (repo_id, folder_path.is_dir()) == (self.made[-1][0], True)
        self.files = {str(path.relative_to(folder_path)): path.read_bytes() for path in folder_path.rglob("*")}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    made = Hub()
    monkeypatch.setattr("huggingface_hub.HfApi", made)
    return made


def card_in(out: Path) -> tuple[dict[str, Any], str]:
    """A card's data, as the hub reads them, and its whole text."""
    text = (out / "README.md").read_text()
    data: Any = ModelCard(text).data
    return dict(data.to_dict()), text


def card_of(model: GeoPixModel, dialogue: Any, out: Path) -> tuple[dict[str, Any], str]:
    checkpoint.push_to_hub(model, dialogue, "someone/tiny", dry_run=out)
    return card_in(out)


def test_the_card_says_what_is_known(tmp_path: Path) -> None:
    model, dialogue = tiny_geopix()
    model.config.about = ABOUT
    data, text = card_of(model, dialogue, tmp_path / "out")
    assert data == {
        "base_model": "someone/tiny-base",
        "library_name": "geopix",
        "license": "other",
        "pipeline_tag": "image-text-to-text",
        "tags": ["geopix", "remote-sensing", "image-segmentation"],
    }
    encoder = sum(tensor.numel() for tensor in [*model.encoder.parameters(), *model.encoder.buffers()])
    assert f"| vision encoder | {encoder:,} | a camera \\| a lens | MIT |" in text
    assert "| class-wise memory | 11,298 | trained here | for research |" in text
    assert "Fusion conv3d (capacity 4, width 32, side 2, layers 1, top_k 3); the weights hold the whole bank." in text
    assert f"Classes: {', '.join(model.config.class_names)}." in text
    assert "- Ten pictures: research only\n" in text
    training = "stage:\n  name: tiny\n  steps: 7\n  betas:\n  - 0.9\n  - 0.95\n"
    assert f"## Training\n\n```yaml\n{training}```\n" in text
    assert 'geopix ask scene.tif "Segment the ships." --model someone/tiny' in text
    model.mask_predictor.fold()
    assert "the weights hold it folded, for inference." in card_of(model, dialogue, tmp_path / "folded")[1]
    again, _ = checkpoint.load(str(tmp_path / "out"), "cpu")
    assert again.config.about == ABOUT  # and so the next card says the same


def test_the_card_invents_nothing(folder: Path, tmp_path: Path) -> None:
    checkpoint.push(str(folder), "someone/tiny", dry_run=tmp_path / "out")
    data, text = card_in(tmp_path / "out")
    assert "license" not in data
    assert "base_model" not in data
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")][1:-1]
    assert len(rows) == 6
    assert all(row[2:] == ["not stated", "not stated |"] for row in rows)
    assert "Not stated by this model." in text
    assert "Not recorded in this model." in text
    assert str(tmp_path) not in text


@pytest.mark.parametrize(
    "about",
    [
        {"parts": [1], "data_terms": "none", "base_model": 3, "training": "ha"},
        {"parts": {"vision encoder": "x", "others": None}, "base_model": "a\n# b", "training": ["```", {"a": None}]},
    ],
)
def test_a_strangers_words_make_no_trouble(tmp_path: Path, about: dict[str, Any]) -> None:
    model, dialogue = tiny_geopix()
    model.config.about = about
    data, text = card_of(model, dialogue, tmp_path / "out")
    assert "base_model" not in data
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        "# someone/tiny", "## Parts", "## Class-wise memory", "## Data and their terms", "## Training",
    ]  # fmt: skip
    assert text.count("```") == 4


def test_a_model_without_a_memory_says_so(tmp_path: Path) -> None:
    model, dialogue = tiny_geopix(fusion="none")
    assert "None: this model was made without a memory." in card_of(model, dialogue, tmp_path / "none")[1]
    (tmp_path / "release").mkdir()
    write_release(tmp_path / "release")
    checkpoint.push(str(tmp_path / "release"), "someone/released", dry_run=tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text()
    assert f"None at work: {NO_MEMORY}." in text
    assert "Classes: not stated." in text


def test_where_a_model_came_from_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = llava_tokenizer()
    write_llava(tiny_llava(tokenizer), tokenizer, tmp_path / "llava")
    (tmp_path / "release").mkdir()
    write_release(tmp_path / "release")
    places = {"llava-hf/llava-1.5-7b-hf": "llava", "Norman-ou/GeoPix-ft-sior_rsicap": "release"}

    def snapshot(name: str, allow_patterns: list[str]) -> str:
        return str(tmp_path / places[name])

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    llava, released = places
    model, dialogue = from_llava(llava, SMALL)
    assert card_of(model, dialogue, tmp_path / "one")[0]["base_model"] == llava
    assert "base_model" not in from_llava(str(tmp_path / "llava"), SMALL)[0].config.about
    checkpoint.push(released, "someone/copy", dry_run=tmp_path / "two")
    assert card_in(tmp_path / "two")[0]["base_model"] == released


def test_push_sends_what_a_dry_run_writes(folder: Path, tmp_path: Path, hub: Hub) -> None:
    assert checkpoint.push(str(folder), "someone/tiny", private=True) == "https://hub.invalid/someone/tiny"
    assert hub.made == [("someone/tiny", True)]
    written = checkpoint.push(str(folder), "someone/tiny", dry_run=tmp_path / "out")
    assert written == str(tmp_path / "out")
    assert len(hub.made) == 1
    assert hub.files == {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert set(hub.files) == {
        "README.md", "config.json", "model.safetensors", "processor_config.json", "tokenizer.json",
        "tokenizer_config.json",
    }  # fmt: skip
    ours, theirs = (checkpoint.load(str(one), "cpu", "float32")[0].state_dict() for one in (folder, tmp_path / "out"))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert str(tmp_path).encode() not in b"".join(hub.files.values())  # no folder of this machine


def test_a_hub_that_refuses_is_one_sentence(folder: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError("401")

    monkeypatch.setattr(hub, "upload_folder", refuse)
    with pytest.raises(CheckpointError, match=r"could not be written to the model hub \(PermissionError\).*hf auth"):
        checkpoint.push(str(folder), "someone/tiny")


@pytest.mark.parametrize("name", ["tiny", "a/b/c", "../x", "someone/", "-/x", "a b/c"])
def test_a_place_that_is_none_is_told_before_anything_is_loaded(name: str, hub: Hub) -> None:
    with pytest.raises(CheckpointError, match="is no hub id; give an owner and a name, as in someone/my-geopix"):
        checkpoint.push("no such model", name)
    assert hub.made == []


def test_push_on_the_command_line(folder: Path, tmp_path: Path, hub: Hub) -> None:
    out = tmp_path / "out"
    run = ["push", str(folder), "someone/tiny"]
    done = CliRunner().invoke(app, [*run, "--dry-run", str(out)])
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", f"wrote {out}\n")
    assert hub.made == []
    again = CliRunner().invoke(app, [*run, "--dry-run", str(out)])
    assert again.exit_code == 1
    assert again.stderr == f"geopix: {out} exists and is no empty folder; name a new one\n"
    done = CliRunner().invoke(app, [*run, "--private"])
    assert (done.exit_code, done.stderr) == (0, "pushed to https://hub.invalid/someone/tiny\n")
    assert hub.made == [("someone/tiny", True)]


def test_info_tells_what_the_card_tells(folder: Path, tmp_path: Path) -> None:
    model, dialogue = tiny_geopix()
    model.config.about = ABOUT
    checkpoint.save(model, dialogue, tmp_path / "known")
    done = CliRunner().invoke(app, ["info", str(tmp_path / "known"), "--json"])
    facts = json.loads(done.stdout)
    assert facts["data_terms"] == ABOUT["data_terms"]
    assert {row["part"]: row["licence"] for row in facts["parts"]}["vision encoder"] == "MIT"
    unknown = CliRunner().invoke(app, ["info", str(folder)], env={"COLUMNS": "200"})
    assert "not stated" in unknown.stdout
