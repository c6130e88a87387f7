"""Many questions side by side (`geopix predict`, `geopix evaluate`, the tables) against one after the other.

    python benchmarks/generate.py [--model nano] [--dtype float32] [--at-once 16] [--questions 8] [--json]

Questions of every task are asked about each of the images. One at a time is told twice: as somebody asks who looks at
the image for every question, and as a conversation that looks once an image and is forgotten before each question.
Every way is timed once, after a short warming up, in seconds of the processor, which other programs don't lengthen,
and by the clock; answers are compared. Give one thread (OMP_NUM_THREADS=1) for numbers of one core.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from geopix import checkpoint, geo
from geopix.assistant import Assistant
from geopix.batching import AT_ONCE
from geopix.records import Answer, Image

EXAMPLES = Path(__file__).parents[1] / "examples"
IMAGES = ("airport.jpg", "sentinel2_port.tif", "naip.tif", "ucmerced_baseballdiamond.jpg")
QUESTIONS = (
    "What is the theme of this picture?",
    "Segment the airplane on the left.",
    "Does this picture contain trees?",
    "Segment the ships.",
    "How many buildings in the picture?",
    "Describe the image in one sentence.",
    "Where is the largest storage tank? Give the bounding box.",
    "Find the baseball diamond and segment it.",
)
"""Every task of the paper, as often as the benchmarks have them: VRSBench asks some seven questions an image."""
WAYS = {
    "together": "side by side",
    "looking once": "one at a time, each image looked at once",
    "looking each time": "one at a time, the image looked at for each",
}


def measure(assistant: Assistant, images: Sequence[Image], questions: Sequence[str], at_once: int) -> dict[str, Any]:
    """Time the three ways; all questions about all images."""
    asked = [(image, question) for image in images for question in questions]

    def one_by_one(look_again: bool) -> list[Answer]:
        answers, before = [], None
        for image, question in asked:
            if look_again or image is not before:
                assistant.set_image(image)
            before = image
            assistant.reset()
            answers.append(assistant.ask(question))
        return answers

    def together() -> list[Answer]:
        return assistant.ask_batch([image for image, _ in asked], [question for _, question in asked], at_once)

    ways: dict[str, Callable[[], list[Answer]]] = {
        "together": together,
        "looking once": lambda: one_by_one(False),
        "looking each time": lambda: one_by_one(True),
    }
    assistant.ask_batch(images[:1], questions[:1])  # the first pass pays for allocations that later ones reuse
    assistant.set_image(images[0])
    assistant.ask(questions[0])
    seconds: dict[str, tuple[float, float]] = {}
    answers: dict[str, list[Answer]] = {}
    for name, way in ways.items():
        cpu, clock = time.process_time(), time.perf_counter()
        answers[name] = way()
        seconds[name] = time.process_time() - cpu, time.perf_counter() - clock
    pairs = list(zip(answers["together"], answers["looking once"], strict=True))
    side = 0 if assistant.model.device.type == "cpu" else 1  # the processor's seconds say nothing of a GPU's
    return {
        "questions": len(asked),
        "images": len(images),
        "at_once": at_once,
        "cpu_s": {name: cpu for name, (cpu, _) in seconds.items()},
        "clock_s": {name: clock for name, (_, clock) in seconds.items()},
        "questions_per_s": {name: len(asked) / both[side] for name, both in seconds.items()},
        "ratios": {name: both[side] / seconds["together"][side] for name, both in seconds.items()},
        "same_text": sum(one.text == other.text for one, other in pairs),
        "same_masks": sum(_masks(one) == _masks(other) for one, other in pairs),
        "model": assistant.name,
        "dtype": str(assistant.model.dtype).removeprefix("torch."),
        "device": assistant.model.device.type,
        "threads": torch.get_num_threads(),
        "load_average": os.getloadavg()[0],
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
    }


def _masks(answer: Answer) -> list[bytes | None]:
    return [None if one.mask is None else one.mask.tobytes() for one in answer.instances]


def table(found: dict[str, Any], command: str) -> str:
    """The numbers for people."""
    about = (
        f"{found['model']}, {found['dtype']} on {found['device']}, {found['threads']} threads of {found['machine']} "
        f"(load {found['load_average']:.1f}); {found['questions']} questions about {found['images']} images, "
        f"{found['at_once']} at a time"
    )
    width = max(map(len, WAYS.values()))
    rows = [
        f"{title:<{width}}  {found['cpu_s'][name]:8.1f} s CPU {found['clock_s'][name]:8.1f} s clock "
        f"{found['questions_per_s'][name]:7.2f} questions/s {found['ratios'][name]:6.2f} x"
        for name, title in WAYS.items()
    ]
    same = f"same text in {found['same_text']}, same masks in {found['same_masks']} of {found['questions']} answers"
    return "\n".join([f"$ {command}", about, *rows, same])


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", default="nano", help="nano, a folder or a hub id")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", help="float32, bfloat16 or auto")
    parser.add_argument("--at-once", type=int, default=AT_ONCE, help="questions in work at a time")
    parser.add_argument("--questions", type=int, default=len(QUESTIONS), help=f"an image, 1 to {len(QUESTIONS)}")
    parser.add_argument("--images", type=Path, nargs="+", default=[EXAMPLES / name for name in IMAGES])
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    if not 1 <= options.questions <= len(QUESTIONS) or options.at_once < 1:
        parser.error(f"--questions must be 1 to {len(QUESTIONS)}, --at-once at least 1")
    try:
        images = [geo.read(path)[0] for path in options.images]
        assistant = Assistant(*checkpoint.load(options.model, options.device, options.dtype), name=options.model)
        found = measure(assistant, images, QUESTIONS[: options.questions], options.at_once)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    command = f"python benchmarks/generate.py {shlex.join(sys.argv[1:])}".rstrip()
    print(json.dumps({"command": command, **found}, indent=2) if options.json else table(found, command))


if __name__ == "__main__":
    main()
