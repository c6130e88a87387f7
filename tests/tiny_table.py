"""A folder in UC Merced's form, the command ``geopix table``, and answers to what it asks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image
from typer.testing import CliRunner

from geopix.apps.cli import app


def ucm(data: Path) -> Path:
    """Three images: one to train on, two to ask about."""
    folder = data / "ucm"
    (folder / "images").mkdir(parents=True)
    random, captions, asked = np.random.default_rng(0), [], []
    for name, split in (("a", "train"), ("b", "val"), ("c", "val")):
        image = f"images/{name}.png"
        Image.fromarray(random.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(folder / image)
        captions.append({"image": image, "split": split, "captions": ["a field with a road and two trees"]})
        asked.append({"image": image, "question": "Does this picture contain roads?", "answer": "yes"})
    (folder / "captions.json").write_text(json.dumps(captions))
    (folder / "vqa.json").write_text(json.dumps(asked))
    return data


def table(*words: object) -> tuple[int, str]:
    """Exit code and everything printed, on one line."""
    found = CliRunner().invoke(app, ["table", *map(str, words)])
    return found.exit_code, " ".join((found.stdout + found.stderr).split())


def answered(data: Path, name: str, *texts: str, number: int = 4) -> Path:
    """Write what a table asks, and these texts as answers to the first of it."""
    asked = data.parent / f"asked-{name}"
    code, told = table(number, "--data", data, "--questions", asked)
    assert code == 0, told
    lines = [json.loads(line) for line in (asked / "questions.jsonl").read_text().splitlines()]
    assert all((asked / line["image"]).is_file() for line in lines)
    path = data.parent / f"{name}.jsonl"
    both = zip(lines, texts, strict=False)
    path.write_text("".join(json.dumps({"id": one["id"], "text": text, "instances": []}) + "\n" for one, text in both))
    return path
