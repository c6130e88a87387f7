"""Building GeoPixInstruct at the paper's size, from annotations made by script (§IV): seconds and peak memory.

    python benchmarks/data.py [--images 10000 20000 40000 65000] [--workers 1 2] [--json]

Images of 800 x 800 px, 2.15 instances each as in the paper, with polygons turned into run lengths, and descriptions
of most of them in a second set with boxes a few pixels off: import (a COCO file), build (filter, join, every
description held against all boxes of its image), statistics. Every stage runs in a process of its own, so
that its peak memory is its own. No picture is made or read. The time that processors worked is told as well, for it
depends less on what else the machine does.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from geopix.data import statistics
from geopix.data.assembly.recipe import Recipe
from geopix.data.assembly.run import build
from geopix.data.describe import describe
from geopix.data.entries import ENTRIES, About, Annotated, Entry, SetReader
from geopix.data.importing import Wish, import_set
from geopix.data.writing import SetWriter
from geopix.records import Instance

SIDE, SEED = 800, 20250
CLASSES = (
    "airplane", "airport", "baseball diamond", "basketball court", "bridge", "chimney", "dam", "golf course",
    "ground track field", "harbor", "overpass", "ship", "stadium", "storage tank", "tennis court", "train station",
    "vehicle", "windmill", "toll station", "expressway service area",
)  # fmt: skip
INSTANCES = {1: 0.47, 2: 0.25, 3: 0.135, 4: 0.085, 5: 0.03, 7: 0.015, 12: 0.015}
"""Share of images with so many; 2.15 in the mean, 140,000 in 65,000 images."""
RECIPE = Recipe.model_validate(
    {
        "name": "SYNTHETIC-T",
        "sets": [{"path": "masks", "subset": "SYNTHETIC_T", "join": {"path": "words", "undescribed": "keep"}}],
        "verify": "drop",
        "pixels": False,
    }
)


def image(index: int) -> list[Annotated]:
    """The objects of an image, always the same for its number."""
    rng = np.random.default_rng((SEED, index))
    count = int(rng.choice(list(INSTANCES), p=list(INSTANCES.values())))
    names = rng.choice(CLASSES, size=3)
    return [_object(rng, str(names[int(rng.integers(3))])) for _ in range(count)]


def _object(rng: np.random.Generator, name: str) -> Annotated:
    radius = min(math.exp(rng.normal(3.6, 0.7)), 200.0)
    radius = max(radius, 6.0)
    corners = int(rng.integers(12, 40))
    angles = np.sort(rng.uniform(0, 2 * math.pi, corners))
    radii = radius * rng.uniform(0.8, 1.0, corners)
    x, y = rng.uniform(radius, SIDE - radius, 2)
    polygon = np.stack([x + radii * np.cos(angles), y + radii * np.sin(angles)], axis=1).ravel()
    encoded = coco_mask.merge(coco_mask.frPyObjects([polygon.tolist()], SIDE, SIDE))
    left, top, width, height = map(float, coco_mask.toBbox(encoded))
    return Annotated(name, (left, top, left + width, top + height), encoded["counts"].decode("ascii"), name)


def write_coco(folder: Path, images: int) -> None:
    """A COCO file as others would give it, written as it is made."""
    folder.mkdir()
    with (folder / "annotations.json").open("w", encoding="utf-8") as file:
        rows = ({"id": n, "file_name": f"{n:05}.jpg", "height": SIDE, "width": SIDE} for n in range(images))
        file.write('{"images": [' + ",\n".join(map(json.dumps, rows)) + '],\n"annotations": [')
        for number, row in enumerate(_annotations(images), start=1):
            file.write((",\n" if number > 1 else "") + json.dumps({"id": number, "iscrowd": 0, **row}))
        categories = [{"id": number, "name": name} for number, name in enumerate(CLASSES, start=1)]
        file.write(f'],\n"categories": {json.dumps(categories)}}}\n')


def _annotations(images: int) -> Iterator[dict[str, Any]]:
    for n in range(images):
        for one in image(n):
            x1, y1, x2, y2 = one.box_xyxy_px
            segmentation = {"size": [SIDE, SIDE], "counts": one.counts}
            yield {
                "image_id": n,
                "category_id": CLASSES.index(one.class_name) + 1,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "segmentation": segmentation,
            }


def write_descriptions(folder: Path, images: int) -> None:
    """The same images with descriptions and without masks, their boxes up to eight pixels off."""
    with SetWriter(folder) as writer:
        for n in range(images):
            rng = np.random.default_rng((SEED, n, 1))
            boxes = image(n)
            phrases = describe(
                [Instance(one.class_name, one.class_name, one.box_xyxy_px) for one in boxes], (SIDE, SIDE)
            )
            objects = tuple(
                _told(one, words, rng) for one, words in zip(boxes, phrases, strict=True) if rng.random() < 0.85
            )
            writer.add(Entry(f"words/{n:05}", f"{n:05}.jpg", (SIDE, SIDE), objects))
        writer.finish(About("words", "."))


def _told(one: Annotated, phrases: list[str], rng: np.random.Generator) -> Annotated:
    left, top, right, bottom = (float(value) for value in np.add(one.box_xyxy_px, rng.uniform(-8, 8, 4)))
    words = [phrase.format(one.class_name) for phrase in (phrases or ["the {}"])]
    box = (
        max(0.0, left),
        max(0.0, top),
        min(float(SIDE), max(right, left + 1)),
        min(float(SIDE), max(bottom, top + 1)),
    )
    return replace(one, box_xyxy_px=box, counts=None, descriptions=tuple(words[: 1 + (rng.random() < 0.1)]))


def do_import(place: Path) -> dict[str, int]:
    """The COCO file becomes a set."""
    tally = import_set(Wish("coco", place / "coco", check="none"), place / "masks")
    return {"images": tally.counts["images"], "objects": tally.counts["objects"]}


def do_build(place: Path, workers: int) -> dict[str, int]:
    """Filter, join, verification."""
    built = build(RECIPE, place, place / f"built{workers}", workers=workers, overwrite=True)
    return {"images": built.images, "objects": built.objects}


def do_statistics(place: Path, folder: str) -> dict[str, int]:
    """Tables and figure's numbers."""
    part = statistics.whole(statistics.count(SetReader(place / folder), "s").values())
    return {"images": part.images, "objects": part.instances}


def _alone(stage: Callable[[Path], dict[str, int]], place: Path, pipe: Connection) -> None:
    started = time.perf_counter()
    told: dict[str, float] = {**stage(place)}
    told["seconds"] = time.perf_counter() - started
    mine, workers = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    told["cpu_seconds"] = mine.ru_utime + mine.ru_stime + workers.ru_utime + workers.ru_stime
    told["peak_mb"], told["peak_mb_of_a_worker"] = mine.ru_maxrss / 1000, workers.ru_maxrss / 1000
    pipe.send(told)


def measured(stage: Callable[[Path], dict[str, int]], place: Path) -> dict[str, float]:
    """What a stage tells of itself, from a process of its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_alone, args=(stage, place, theirs))
    process.start()
    theirs.close()
    try:
        told: dict[str, float] = ours.recv()
    except EOFError:
        raise SystemExit("a stage failed, see above") from None
    process.join()
    return told


def measure(images: int, workers: list[int]) -> dict[str, Any]:
    """All stages at one size; what was built must be the same from any number of workers."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        write_coco(place / "coco", images)
        write_descriptions(place / "words", images)
        stages: dict[str, dict[str, float]] = {"import": measured(do_import, place)}
        hashes = set()
        for n in workers:
            stages[f"build, {n} worker{'s' * (n > 1)}"] = measured(partial(do_build, workers=n), place)
            with (place / f"built{n}" / ENTRIES).open("rb") as file:
                hashes.add(hashlib.file_digest(file, "sha256").hexdigest())
        stages["statistics"] = measured(partial(do_statistics, folder=f"built{workers[0]}"), place)
        if len(hashes) != 1:
            raise SystemExit("the numbers of workers gave different sets")
    for told in stages.values():
        for name in ("seconds", "cpu_seconds"):
            told[f"{name}_per_10000"] = told[name] / images * 10_000
    return {"images": images, "sha256": hashes.pop(), "stages": stages}


def main() -> int:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[10_000, 20_000, 40_000, 65_000])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    for images in given.images:
        result = measure(images, given.workers)
        if given.json:
            print(json.dumps(result), flush=True)
            continue
        print(f"{images:,} images, {result['stages']['import']['objects']:,.0f} instances", flush=True)
        for name, told in result["stages"].items():
            print(
                f"  {name:18} {told['seconds_per_10000']:7.1f} s per 10,000 images"
                f" ({told['cpu_seconds_per_10000']:.1f} s of processors), peak {told['peak_mb']:.0f} MB"
                + (f", of a worker {told['peak_mb_of_a_worker']:.0f} MB" if told["peak_mb_of_a_worker"] else "")
                + f"; {told['images']:,.0f} images, {told['objects']:,.0f} instances",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
