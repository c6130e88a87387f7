"""The network is used for a hub id and for nothing else: with every socket closed, all that is local works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from geopix import checkpoint
from tests.tiny_llava import llava_tokenizer, tiny_llava, write_llava
from tests.tiny_model import tiny_geopix
from tests.tiny_release import write_release

ROOT = Path(__file__).parents[2]
CLOSED = """
import json, socket, sys

def closed(*_, **__):
    print("the network was used", file=sys.stderr)
    raise OSError("there is no network here")

socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = closed
from typer.testing import CliRunner
from geopix.apps.cli import app
for words in json.loads(sys.argv[1]):
    done = CliRunner().invoke(app, words)
    print(json.dumps([done.exit_code, done.stdout, done.stderr]))
"""
LIBRARY = """
from pathlib import Path
from transformers import AutoModel, AutoProcessor
from geopix import checkpoint
from geopix.model.llm import add_lora
from tests.tiny_llava import SMALL
model, dialogue = checkpoint.from_llava("llava", SMALL)
checkpoint.save(model, dialogue, Path("saved"))
AutoModel.from_pretrained("saved"), AutoProcessor.from_pretrained("saved")
model.language.llm = add_lora(model.language.causal, 2, 4, 0.0, dialogue.new_ids)
checkpoint.save_adapter(model, Path("adapter"))
model, dialogue = checkpoint.load("saved", "cpu")
checkpoint.load_adapter(model, Path("adapter"))
checkpoint.merge_adapters(model)
"""
QUESTION = "[segment] Can you segment the ship?"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path
    checkpoint.save(*tiny_geopix(), folder / "ours")
    (folder / "release").mkdir()
    write_release(folder / "release")
    tokenizer = llava_tokenizer()
    write_llava(tiny_llava(tokenizer), tokenizer, folder / "llava")
    PillowImage.fromarray(np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)).save(folder / "scene.png")
    return folder


def run(place: Path, *commands: list[str], library: str = "") -> list[tuple[int, str, str]]:
    """Commands, then lines of Python, with closed sockets; without the setting that keeps tests off the hub."""
    settings = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    settings |= {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])}
    settings |= {"HF_HOME": str(place / "hub"), "TRANSFORMERS_VERBOSITY": "error"}
    words = [sys.executable, "-c", CLOSED + library, json.dumps(commands)]
    done = subprocess.run(words, cwd=place, env=settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "the network was used" not in done.stderr
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


def test_all_that_is_local_works_without_a_network(place: Path) -> None:
    asked = [["ask", "scene.png", QUESTION, "--model", name, "--json"] for name in ("ours", "release")]
    written = [["convert", "release", "converted"], ["push", "ours", "someone/tiny", "--dry-run", "to-push"]]
    done = run(place, *asked, *written, library=LIBRARY)
    assert [code for code, _, _ in done] == [0] * 4, done
    assert not any("the network was used" in said for _, _, said in done)
    assert all(json.loads(answer)["size_hw"] == [20, 30] for _, answer, _ in done[:2])
    assert (place / "converted").is_dir()
    assert (place / "adapter").is_dir()


def test_a_hub_id_without_a_network_is_one_sentence(place: Path) -> None:
    away = "geopix: 'someone/tiny' is no folder here and could not be fetched from the model hub ("
    expected = [
        (["ask", "scene.png", "Why?", "--model", "someone/tiny"], away),
        (["convert", "someone/tiny", "out"], away),
        (["push", "ours", "someone/tiny"], "geopix: 'someone/tiny' could not be written to the model hub ("),
    ]
    done = run(place, *(words for words, _ in expected))
    for (code, out, said), (_, told) in zip(done, expected, strict=True):
        *used, sentence = said.splitlines()
        assert (code, out) == (1, "")
        assert set(used) == {"the network was used"}  # and nothing else is said
        assert sentence.startswith(told)
    assert not (place / "out").exists()
