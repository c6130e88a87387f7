"""``geopix data review``: texts out to people and back, with a bar and tables (§IV-C)."""

from __future__ import annotations

import shlex
from pathlib import Path

from rich.console import Console

from geopix.apps import show
from geopix.apps.errors import clean, complain
from geopix.data.review import labelstudio
from geopix.data.review.changes import CHANGES
from geopix.data.review.collecting import collect, files_of
from geopix.data.review.corrections import VERDICTS
from geopix.data.review.exporting import PAGE, export_review
from geopix.data.review.merging import EXAMPLES, Merged, merge
from geopix.data.review.picking import Wish


def export(folder: Path, out: Path, wish: Wish, *, image_url: str | None, overwrite: bool) -> None:
    """Write a review, and print what it asks.

    Args:
        folder: The set.
        out: The review's folder.
        wish: How many of what.
        image_url: What Label Studio puts before a picture's path, or None for files of its own disk.
        overwrite: Whether a review there is replaced.

    Raises:
        EntryError, ReviewError: If it can't be done, with the sentence for the user.
        OSError: If something can't be read or written.
        KeyboardInterrupt: After Ctrl-C, saying how to go on.
    """
    try:
        with show.watched() as watch:
            url = labelstudio.LOCAL_FILES if image_url is None else image_url
            told = export_review(folder, out, wish, image_url=url, overwrite=overwrite, watch=watch)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("stopped; run the same command again to go on") from None
    console = Console(highlight=False)
    rows = [(*group, f"{picked:,}", f"{there:,}") for group, (picked, there) in told.groups.items()]
    console.print(show.table(("class", "arrangement", "picked", "of"), rows, ("picked", "of")))
    if told.skipped:
        left = [(reason, f"{n:,}", told.examples[reason]) for reason, n in told.skipped.most_common()]
        console.print()
        console.print(show.table(("left out", "n", "the first"), left, ("n",)))
    console.print()
    console.print(f"{told.header.texts:,} texts in {told.images:,} images")
    complain(f"wrote {out}: open {out / PAGE} in a browser, or see README.md in it for Label Studio")


def import_(path: Path, folder: Path, out: Path, *, overwrite: bool) -> None:
    """Merge corrections, and print what people did.

    Args:
        path: A file with corrections, or a folder of some.
        folder: The set that they were shown.
        out: The corrected set's folder.
        overwrite: Whether a set there is replaced.

    Raises:
        EntryError, ReviewError: If it can't be done, with the sentence for the user.
        OSError: If something can't be read or written.
        KeyboardInterrupt: After Ctrl-C; nothing has been written then.
    """
    step = shlex.join(["geopix", "data", "review", "import", str(path), str(folder)])
    try:
        with show.watched() as watch:
            collected = collect(files_of(path), watch)
            merged = merge(collected, folder, out, overwrite=overwrite, watch=watch, step=step)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("stopped before everything was merged, nothing was written") from None
    tell(merged)
    complain(f"wrote {out}")
    if merged.examples:
        complain(f"{merged.examples:,} examples for fine-tuning are in {out / EXAMPLES}: geopix data finetune")


def tell(merged: Merged) -> None:
    """Print verdicts by arrangement, kinds of change, and what became an example."""
    console = Console(highlight=False)
    looked = sum(merged.verdicts.values())
    kinds = sorted({arrangement for arrangement, _ in merged.by_arrangement})
    rows = [
        (f"texts {kind}", *(f"{merged.by_arrangement[kind, verdict]:,}" for verdict in VERDICTS), "") for kind in kinds
    ]
    total = [f"{merged.verdicts[verdict]:,}" for verdict in VERDICTS]
    rows.append(("all texts", *total, f"{max(0, merged.texts - looked):,}"))
    headings = ("", *VERDICTS, "untouched")
    console.print(show.table(headings, rows, headings[1:]))
    if merged.changes:
        console.print()
        changed = [(change, f"{merged.changes[change]:,}") for change in CHANGES if merged.changes[change]]
        console.print(show.table(("rewritten; one may show several kinds", "n"), changed, ("n",)))
    console.print()
    left = [("images that became examples", f"{merged.examples:,}")]
    left += [(f"none: {clean(reason)}", f"{n:,}") for reason, n in merged.left_out.most_common()]
    console.print(show.table(("for fine-tuning", "n"), left, ("n",)))
