"""A stand-in for the model, so that the command line is tested alone; and small images made by script.

Also a script of its own: `run_cli` is the real command line with the stand-in, for tests in a subprocess.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import types
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from PIL import Image as PillowImage

from geopix.records import Answer, Image, Instance, mask_box

ROOT = Path(__file__).parents[2]


class QuestionError(ValueError):
    """The assistant's own kind of error, as far as the command line can tell."""

    __module__ = "geopix.assistant"


class CheckpointError(ValueError):
    """The checkpoint's own kind of error, as far as the command line can tell."""

    __module__ = "geopix.checkpoint"


class FakeAssistant:
    """Answers every question with the top-left quarter of the image; some questions make trouble."""

    name = "fake"

    def __init__(self) -> None:
        self.image: Image | None = None
        self.history: list[str] = []
        self.batches: list[int] = []

    def set_image(self, image: Image) -> None:
        self.image, self.history = image, []

    def reset(self) -> None:
        self.history = []

    def ask(self, question: str) -> Answer:
        assert self.image is not None
        made = self._answer(self.image, question)
        self.history.append(question)
        return made

    def stream(self, question: str) -> Iterator[str | Answer]:
        yield "Looking"
        if question == "interrupt the stream":
            raise KeyboardInterrupt
        made = self.ask(question)
        yield "\r"
        yield made

    def ask_batch(self, images: Sequence[Image], questions: Sequence[str]) -> list[Answer]:
        self.batches.append(len(questions))
        if "slow" in questions and "FAKE_IS_FAST" not in os.environ:
            time.sleep(60)
        return [self._answer(image, question) for image, question in zip(images, questions, strict=True)]

    def _answer(self, image: Image, question: str) -> Answer:
        trouble: dict[str, BaseException] = {
            "crash": RuntimeError("the fuse\nblew"),
            "memory": MemoryError(),
            "interrupt": KeyboardInterrupt(),
        }
        if not question.strip() or len(question) > 2000:
            raise QuestionError(f"a question has 1 to 2,000 characters, not {len(question):,}; shorten it")
        if question in trouble:
            raise trouble[question]
        if question == "noisy":
            print("a library says hello on stdout")
        height, width = image.shape[:2]
        if question == "nothing":
            return Answer("there is none", (), (height, width), self.name, 0.5)
        mask = np.zeros((height, width), np.bool_)
        mask[: height // 2, : width // 2] = True
        boxed = Instance("the box", "harbor", (1.0, 2.0, 30.0, 40.0))
        drawn = Instance("the [red]ship\x1b[31m", "ship", mask_box(mask), mask, class_score=0.9, score=0.75)
        text = f"to {question[:40]!s}: the ship [1] in the box [2]\x1b]0;owned\x07"
        return Answer(text, (drawn, boxed), (height, width), self.name, 0.5)


class Loads:
    """A stand-in for `geopix.assistant.load` that remembers what it was asked for."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.precisions: list[tuple[str, str | None]] = []
        self.guide = FakeAssistant()

    def __call__(
        self, model: str = "nano", device: str = "auto", dtype: str = "auto", quantize: str | None = None
    ) -> FakeAssistant:
        self.calls.append((model, device))
        self.precisions.append((dtype, quantize))
        if model == "no-such-model":
            raise CheckpointError("there is no model no-such-model; name nano, a folder, or a model of the hub")
        return self.guide


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Loads:
    """The model is a stand-in."""
    stand_in = Loads()
    monkeypatch.setattr("geopix.assistant.load", stand_in)
    monkeypatch.setenv("COLUMNS", "200")
    return stand_in


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A PNG of 60 x 40 px (width x height)."""
    path = tmp_path / "field.png"
    PillowImage.fromarray(np.full((40, 60, 3), 90, np.uint8)).save(path)
    return path


@pytest.fixture
def raster(tmp_path: Path) -> Path:
    """A GeoTIFF of 60 x 40 px of half a metre, with four bands."""
    path = tmp_path / "port.tif"
    place = {"crs": "EPSG:32633", "transform": Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)}
    with rasterio.open(path, "w", driver="GTiff", width=60, height=40, count=4, dtype="uint8", **place) as file:
        file.write(np.arange(4 * 40 * 60, dtype=np.uint8).reshape(4, 40, 60))
    return path


@pytest.fixture
def requests_file(tmp_path: Path) -> Callable[[Sequence[Any]], Path]:
    """Writes a request file: a line for every value, JSON unless it is bytes already."""

    def write(lines: Sequence[Any]) -> Path:
        path = tmp_path / "requests.jsonl"
        path.write_bytes(b"".join((x if isinstance(x, bytes) else json.dumps(x).encode()) + b"\n" for x in lines))
        return path

    return write


@pytest.fixture
def start_cli() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts the real command line with the stand-in, in a process of its own; ended with the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*args: object, stdout: int = subprocess.PIPE, **extra: str) -> subprocess.Popen[str]:
        code = f"import sys; sys.path[:0] = [{str(Path(__file__).parent)!r}]; import conftest; conftest.run_cli()"
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, args)],
            stdout=stdout,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": path, "COLUMNS": "200", **extra},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def run_cli() -> None:
    """The command line with the stand-in: no weights, and no seconds of importing torch."""
    # A shell that runs tests in the background hands down "ignore Ctrl-C"; these are about what it does.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    room = types.ModuleType("geopix.assistant")
    vars(room)["load"] = Loads()
    sys.modules["geopix.assistant"] = room
    from geopix.apps.cli import main

    main()
