"""The data card: what a set holds, how it was made, and on which terms each source may be used (§IV)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import yaml

from geopix.data import statistics
from geopix.data.entries import About
from geopix.data.statistics import Part


def write(about: About, parts: dict[tuple[str, str], Part], folder: Path, splits: Sequence[str], form: str) -> None:
    """Write ``README.md`` beside an export.

    Args:
        about: What is known of the set.
        parts: Its numbers.
        folder: Where it goes.
        splits: Splits of a parquet export, which the card tells to `datasets.load_dataset`.
        form: "parquet" or "coco".

    Raises:
        OSError: If it can't be written.
    """
    (folder / "README.md").write_text(text(about, parts, splits, form), encoding="utf-8")


def text(about: About, parts: dict[tuple[str, str], Part], splits: Sequence[str], form: str) -> str:
    """The card, in Markdown with a YAML head."""
    total = statistics.whole(parts.values())
    # The pattern in full: "train-*" of one split must not take the files of another.
    files = [{"split": name, "path": f"data/{name}-?????-of-?????.parquet"} for name in splits]
    head: dict[str, object] = {"pretty_name": about.name, "license": "other", "license_name": "see-the-terms-below"}
    head |= {"task_categories": ["image-segmentation"], "tags": ["remote sensing", "referring segmentation"]}
    if files:
        head["configs"] = [{"config_name": "default", "data_files": files}]
    pieces = [
        f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---",
        f"# {_plain(about.name)}",
        f"{total.images:,} images and {total.instances:,} instances, {total.masks:,} of them with masks, "
        f"{total.described:,} with descriptions. Built with `geopix data build`, written with `geopix data export`.",
        "## Terms",
        "The set may be used only as all of its sources allow:",
        "\n".join(f"- **{_plain(name)}**: {_plain(terms)}" for name, terms in sorted(about.sources.items()))
        or "- its sources told nothing",
        "## Numbers",
        _table(statistics.TABLE_1, [statistics.table_1(about.name, total)]),
        _table(statistics.TABLE_2, statistics.table_2(parts)),
        "φ is the number of instances in an image, θ the share of its image that one instance's mask covers (≤: or "
        "its box, where there is no mask); their means over images and over instances.",
        _table(("category", "instances"), [(name, f"{n:,}") for name, n in sorted(total.categories.items())]),
    ]
    if total.arrangements:
        shares = [
            (name, f"{n:,}", f"{100 * n / total.arrangements.total():.1f} %") for name, n in total.arrangements.items()
        ]
        pieces += [_table(("arrangement", "instances", "share"), sorted(shares))]
    pieces += ["## Fields", _FIELDS[form], "## How it was made"]
    steps = [f"{number}. `{_code(step)}`" for number, step in enumerate(about.steps, start=1)]
    pieces += ["\n".join(steps) or "Not told."]
    if about.counts:
        pieces += [_table(("counted", "n"), [(name, f"{n:,}") for name, n in about.counts.items()])]
    if about.skipped:
        pieces += [_table(("left out", "n"), [(name, f"{n:,}") for name, n in about.skipped.items()])]
    return "\n\n".join(pieces) + "\n"


_FOLDERS = re.compile(r"(?<![\w.~])(?:[A-Za-z]:|~)?(?:[/\\][^\s/\\\"']+)+[/\\](?=[^\s/\\])")
_FIELDS = {
    "parquet": "A row is an image: `image_id`, `image_path`, `instances` (`bbox`: left, top, right, bottom in whole "
    "pixels; `category`; `category_id`, from 0; `description`, null where there is none; `instance_id`; `mask`: COCO's "
    "compressed run lengths, null where only a box is known), `other_descriptions` (further ones of an instance) and "
    "`image`.",
    "coco": "COCO's instances format. Images also tell `key`, `split`, `subset` and `captions`, annotations "
    "`descriptions` and `arrangement`; a category's supercategory is its canonical class. An annotation with an empty "
    "`segmentation` has a box only.",
}


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(_plain(cell) for cell in line)} |" for line in lines)


def _plain(told: str) -> str:
    """Text of others as text: no line breaks, tables, links, tags or headings of its own."""
    flat = " ".join(told.split())
    return "".join(f"\\{character}" if character in "\\`*_{}[]<>|#" else character for character in flat)


def _code(told: str) -> str:
    """A command as code, without the folders of its maker's machine."""
    return _FOLDERS.sub(".../", " ".join(told.split()).replace("`", "'"))
