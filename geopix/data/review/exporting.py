"""A review as a folder: pictures, a page for any browser, tasks for Label Studio (§IV-C: 100 images of each kind)."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import quote

from geopix.data.entries import Entry, EntryError, SetReader
from geopix.data.foreign.found import Watch, unwatched
from geopix.data.review import corrections, labelstudio, page, pictures
from geopix.data.review.collecting import STAMP
from geopix.data.review.corrections import Header, ReviewError
from geopix.data.review.picking import Group, Wish, pick

IMAGES, OVERLAYS, TASKS = "images", "overlays", "label_studio"
PAGE, README = "index.html", "README.md"
TASKS_A_FILE: Final = 500
"""Label Studio takes 200 MB at a time; so many tasks, brushes included, stay well below."""

Names: TypeAlias = dict[str, str]
"""Entry's key -> name of its picture."""


@dataclass(slots=True)
class Exported:
    """What a review asks.

    Args:
        header: Its name, and the number of texts.
        images: How many it shows.
        classes: Of the objects in them.
        groups: Class and arrangement -> how many images were picked for it, and how many there are.
        skipped: Reason -> how many picked images were left out for it.
        examples: Reason -> the first of them.
    """

    header: Header
    images: int = 0
    classes: set[str] = field(default_factory=set)
    groups: dict[Group, tuple[int, int]] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)


def export_review(
    folder: Path,
    out: Path,
    wish: Wish,
    *,
    image_url: str = labelstudio.LOCAL_FILES,
    overwrite: bool = False,
    watch: Watch = unwatched,
) -> Exported:
    """Pick, draw and write a review; it is put in its place when it is whole, and goes on where it was stopped.

    Args:
        folder: The set.
        out: A new folder, or with ``overwrite`` a review that is replaced.
        wish: How many of what.
        image_url: What Label Studio puts before ``images/00001.jpg`` to find a picture.
        watch: Told how far it is.

    Raises:
        EntryError: If the set can't be read.
        ReviewError: If there is nothing to look at, or the output is taken.
        OSError: If something can't be read or written.
    """
    _check(out, overwrite)
    reader = SetReader(folder)
    set_sha256 = corrections.fingerprint(folder)
    total = reader.about.counts.get("images", 0)
    picked = pick(_told(reader, "picking", total, watch), wish)
    if not picked.keys:
        where = "" if wish.split is None else f" in its split {wish.split}; --split all picks from every split"
        raise ReviewError(f"{folder} has no image with objects{where}")
    exported = Exported(Header(set_sha256, corrections.name(set_sha256, wish), 0), groups=picked.groups)
    staging = out.with_name(f".{out.name}.part")
    _begin(staging, exported.header.review)

    def chosen() -> Iterator[Entry]:
        return (entry for entry in reader if entry.key in picked.keys)

    names = _draw(_told(chosen(), "drawing", len(picked.keys), watch), reader.images, staging, wish, exported)
    if not names:
        reason, count = exported.skipped.most_common(1)[0]
        raise ReviewError(f"none of the images picked can be shown: {count:,} {reason} ({exported.examples[reason]})")
    _write(staging, chosen, names, wish, exported, image_url)
    if out.exists():
        shutil.rmtree(out)
    staging.replace(out)
    return exported


def texts_of(entry: Entry, most: int) -> list[list[str]]:
    """The texts of every object that are asked about; one empty text where an object has none yet."""
    return [list(one.descriptions[:most]) or [""] for one in entry.objects]


def _check(out: Path, overwrite: bool) -> None:
    taken = out.exists() and (not out.is_dir() or any(out.iterdir()))
    if taken and not (overwrite and (out / STAMP).is_file()):
        raise ReviewError(f"{out} exists: name a new folder, or give --overwrite to replace a review")


def _told(entries: Iterable[Entry], what: str, total: int, watch: Watch) -> Iterator[Entry]:
    for done, entry in enumerate(entries, start=1):
        yield entry
        watch(what, done, max(done, total))


def _begin(staging: Path, name: str) -> None:
    """An empty folder, or what a stopped run of the same review left in one."""
    stamp = staging / STAMP
    if not (stamp.is_file() and stamp.read_text(encoding="utf-8") == name):
        shutil.rmtree(staging, ignore_errors=True)
        for part in (IMAGES, OVERLAYS, TASKS):
            (staging / part).mkdir(parents=True)
        stamp.write_text(name, encoding="utf-8")


def _draw(entries: Iterable[Entry], images: Path, staging: Path, wish: Wish, exported: Exported) -> Names:
    names: Names = {}
    texts = 0
    for number, entry in enumerate(entries, start=1):
        if entry.key in names:
            raise ReviewError(f"{entry.key} stands twice in the set; keep one of the two")
        try:
            names[entry.key] = _pictures(entry, images, staging, number)
        except EntryError as error:
            exported.skipped[error.reason] += 1
            exported.examples.setdefault(error.reason, entry.key)
            continue
        texts += sum(map(len, texts_of(entry, wish.texts)))
        exported.classes |= {one.class_name for one in entry.objects}
    exported.images, exported.header = len(names), Header(exported.header.set_sha256, exported.header.review, texts)
    return names


def _pictures(entry: Entry, images: Path, staging: Path, number: int) -> str:
    """The plain picture's name; both are drawn unless an earlier run did."""
    drawn = staging / OVERLAYS / f"{number:05d}.jpg"
    if drawn.is_file():  # the last of the two that is written
        return next((staging / IMAGES).glob(f"{number:05d}.*")).name
    plain, pixels = pictures.picture(images / entry.image, entry.size_hw)
    over = pictures.overlay(entry, pixels)
    name = f"{number:05d}{pictures.SUFFIXES[plain.format]}"
    for path, made in ((staging / IMAGES / name, plain), (drawn, over)):
        half = path.with_name(f".{path.name}")
        half.write_bytes(made.data)
        half.replace(path)
    return name


def _write(
    staging: Path, entries: Callable[[], Iterator[Entry]], names: Names, wish: Wish, exported: Exported, url: str
) -> None:
    def shown() -> Iterator[tuple[Entry, str, list[list[str]]]]:
        return ((entry, names[entry.key], texts_of(entry, wish.texts)) for entry in entries() if entry.key in names)

    with (staging / PAGE).open("w", encoding="utf-8") as file:
        of = (
            page.image(entry, f"{IMAGES}/{name}", f"{OVERLAYS}/{name[:5]}.jpg", texts) for entry, name, texts in shown()
        )
        page.write(file, exported.header, of)
    classes = sorted({labelstudio.label(name) for name in exported.classes})
    (staging / TASKS / "config.xml").write_text(labelstudio.config(classes, wish.texts), encoding="utf-8")
    _write_tasks(
        staging / TASKS,
        (
            labelstudio.task(entry, url + quote(f"{IMAGES}/{name}"), texts, exported.header)
            for entry, name, texts in shown()
        ),
    )
    (staging / README).write_text(_README, encoding="utf-8")
    about = {**asdict(exported.header), "images": exported.images, "asked": asdict(wish)}
    (staging / STAMP).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def _write_tasks(folder: Path, tasks: Iterator[dict[str, Any]]) -> None:
    file = None
    for number, task in enumerate(tasks):
        if number % TASKS_A_FILE == 0:
            if file is not None:
                file.write("\n]\n")
                file.close()
            file = (folder / f"tasks-{number // TASKS_A_FILE + 1:03d}.json").open("w", encoding="utf-8")
        assert file is not None
        file.write((",\n" if number % TASKS_A_FILE else "[\n") + json.dumps(task))
    if file is not None:
        file.write("\n]\n")
        file.close()


_README = """# A review of descriptions

Every object of these images has a description that should mean it and no other. Say of each whether it does.

## In a browser

Open `index.html`. Nothing is sent anywhere, no server is needed; your work is kept in the browser as you go. Press `?`
for the keys. When you are done, or before you go to another computer, press "Save corrections".

## In Label Studio

1. Let it serve this folder: start it with `LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true` and
   `LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT=` this folder. In the project, under Settings, Cloud Storage, add a source
   storage "Local files" with the path of the folder `images` in it, and do not sync it. (Serving the pictures in
   another way? Export the review again with `--image-url`.)
2. Under Settings, Labeling Interface, Code, paste `label_studio/config.xml`. Under Settings, Annotation, let it show
   predictions.
3. Import the files `label_studio/tasks-*.json`.
4. In every task, choose a box to see its text; correct the text, or mark it as wrong, and submit. A task that is
   submitted counts as looked at: texts that were left as they are count as right, an object whose box was deleted as
   wrong.
5. Export as JSON.

## Back into the set

    geopix data review import CORRECTIONS.json SET -o CORRECTED
"""
