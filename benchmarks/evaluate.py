"""How fast predicted masks are scored: ten thousand in a file, at 800 px, by all of Table III's numbers (§V-B).

    python -m benchmarks.evaluate [--masks 10000] [--side 800] [--json]

Masks are made by script, always the same: rough outlines, from a few pixels to a third of the image, four a question,
shifted a little where they are predicted. They lie as run lengths in a file of answers as `geopix table 3
--predictions` reads it. Every variant runs in a process of its own:

- ours: what the table does: read, check, score by two protocols, boundaries, classes, sizes, calibration;
- ours, a fifth of the masks: peak memory should be the same;
- plain: every mask decoded by pycocotools, the IoU of every pair of a question from the pixels, the assignment, then
  mean IoU, cIoU and P@t. No outlines, no checks.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask
from scipy.optimize import linear_sum_assignment

from geopix.classes import VHR10
from geopix.evaluate.answers import Answers
from geopix.evaluate.measures import Measure
from geopix.evaluate.metrics import THRESHOLDS
from geopix.evaluate.probe import Probe, Truth
from geopix.evaluate.segmentation import Tally
from geopix.records import Mask, encode_mask

EACH = 4
"""Masks of a question."""
SHAPES = 200
"""Different masks; a question takes four of them."""
NOTHING = np.zeros((1, 1, 3), dtype=np.uint8)


def shape(number: int, side: int, shift: int) -> Mask:
    """One rough outline, (side, side) bool."""
    random = np.random.default_rng(number)
    radius = side * np.exp(random.uniform(np.log(0.01), np.log(0.3)))
    turns = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    radii = radius * (1 + 0.15 * random.standard_normal(60))
    x, y = random.uniform(0.2 * side, 0.8 * side, 2) + shift * radius / 20
    points = np.stack([x + radii * np.cos(turns), y + radii * np.sin(turns)], axis=1)
    picture = Image.new("1", (side, side))
    ImageDraw.Draw(picture).polygon([(float(one), float(other)) for one, other in points], fill=1)
    return np.array(picture, dtype=np.bool_)


def shapes(side: int, shift: int) -> list[str]:
    """Run lengths of all of them."""
    return [str(encode_mask(shape(number, side, shift))["counts"]) for number in range(SHAPES)]


def of(question: int) -> list[int]:
    """The shapes of a question."""
    return [(EACH * question + 7 * place) % SHAPES for place in range(EACH)]


def write(path: Path, masks: int, side: int) -> None:
    """A file of answers."""
    predicted = shapes(side, 1)
    with path.open("w", encoding="utf-8") as file:
        for question in range(masks // EACH):
            instances = [
                {"mask": {"size": [side, side], "counts": predicted[number]}, "score": (number % 10) / 10}
                for number in of(question)[::-1]
            ]
            file.write(json.dumps({"id": str(question), "model": "made up", "text": "", "instances": instances}) + "\n")


def asked(masks: int, side: int) -> Iterator[Probe]:
    """The questions with their truth, five about an image."""
    true = shapes(side, 0)
    for question in range(masks // EACH):
        truth = tuple(Truth(VHR10[number % len(VHR10)], true[number]) for number in of(question))
        yield Probe(str(question), str(question // 5), "all", "", (side, side), NOTHING, truth=truth)


def ours(path: Path, masks: int, side: int) -> dict[str, Any]:
    """What `geopix table 3 --predictions` does with a file; its intervals are timed apart."""
    probes = list(asked(masks, side))
    started = time.process_time()
    answers = Answers(path, {probe.id: probe.size_hw for probe in probes})
    tally = Tally()
    for probe in probes:
        tally.add(probe, answers.of(probe.id))
    scored = time.process_time()
    rows = {row.name: row.cells[0] for row in tally.rows()}
    for row in tally.rows():
        for cell in row.cells:
            if isinstance(cell, Measure):
                cell.interval()
    values = {name: cell.value for name, cell in rows.items() if isinstance(cell, Measure)}
    found = {name: values[name] for name in ("mIoU, mean over masks", "cIoU", "P@0.5, IoU ≥ 0.5", "boundary IoU")}
    return {"seconds": scored - started, "intervals": time.process_time() - scored, **found}


def plain(path: Path, masks: int, side: int) -> dict[str, Any]:
    """One mask after the other, from its pixels."""
    probes = asked(masks, side)
    true = {probe.id: [one.counts for one in probe.truth] for probe in probes}
    started = time.process_time()
    ious: list[float] = []
    shared = union = 0
    for line in path.read_text(encoding="utf-8").splitlines():
        raw = json.loads(line)
        said = [_decoded(one["mask"]["counts"], side) for one in raw["instances"]]
        meant = [_decoded(counts, side) for counts in true[raw["id"]]]
        table = np.array([[(one & other).sum() / (one | other).sum() for other in meant] for one in said])
        for row, column in zip(*linear_sum_assignment(table, maximize=True), strict=True):
            ious.append(float(table[row, column]))
            shared += int((said[row] & meant[column]).sum())
            union += int((said[row] | meant[column]).sum())
    reached = {t: float(np.mean(np.array(ious) >= t)) for t in THRESHOLDS}
    found = {"mIoU, mean over masks": float(np.mean(ious)), "cIoU": shared / union, "P@0.5, IoU ≥ 0.5": reached[0.5]}
    return {"seconds": time.process_time() - started, **found}


def _decoded(counts: str, side: int) -> Mask:
    decoded = coco_mask.decode({"size": [side, side], "counts": counts.encode("ascii")})
    return np.asarray(decoded, dtype=np.bool_)


PARTS: dict[str, Callable[[Path, int, int], dict[str, Any]]] = {"ours": ours, "plain": plain}


def measure(masks: int, side: int) -> dict[str, dict[str, Any]]:
    """Every variant in a process of its own, with its peak of memory in MB."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, part, n in (
            ("ours", "ours", masks), ("ours, a fifth of the masks", "ours", masks // 5), ("plain", "plain", masks),
        ):  # fmt: skip
            path = Path(folder) / f"{n}.jsonl"
            if not path.is_file():
                write(path, n, side)
            words = [sys.executable, "-m", "benchmarks.evaluate", "--masks", n, "--side", side, "--part", part, path]
            told = subprocess.run(list(map(str, words)), check=True, capture_output=True, text=True).stdout
            found[name] = json.loads(told)
    return found


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--masks", type=int, default=10_000)
    parser.add_argument("--side", type=int, default=800, help="of the square images, in pixels")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--part", nargs=2, metavar=("VARIANT", "FILE"), help="one variant in this process")
    given = parser.parse_args()
    if given.masks < 5 * EACH or given.side < 100:
        sys.exit(f"error: at least {5 * EACH} masks of at least 100 px are needed, to have a fifth of them")
    if given.part:
        result = PARTS[given.part[0]](Path(given.part[1]), given.masks, given.side)
        print(json.dumps({**result, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
        return
    found = measure(given.masks, given.side)
    if given.json:
        print(json.dumps(found))
        return
    print(f"{given.masks:,} masks of {given.side} px, {EACH} a question; seconds of the process")
    for name, numbers in found.items():
        told = f", and {numbers['intervals']:.1f} s for the intervals" if "intervals" in numbers else ""
        print(f"{name}: {numbers['seconds']:.1f} s{told}; at most {numbers['peak_mb']:.0f} MB")
        print(
            "  "
            + "; ".join(f"{key} {value:.4f}" for key, value in numbers.items() if key[0] in "mcPb" and key != "peak_mb")
        )


if __name__ == "__main__":
    main()
