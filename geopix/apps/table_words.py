"""The part of ``geopix table`` about words: what is asked, how answers and a judge become rows (§V-C, §V-D)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geopix.apps import show
from geopix.apps.errors import complain
from geopix.apps.judging import counted
from geopix.data.foreign.pictures import image_size
from geopix.evaluate import worded
from geopix.evaluate.asking import VQA, sheet
from geopix.evaluate.forms import CLAIR, MATCH, Form
from geopix.evaluate.leaks import leaks
from geopix.evaluate.questions import Asked

if TYPE_CHECKING:
    from geopix.evaluate.judge import Judge
    from geopix.evaluate.table import Row
    from geopix.records import Image


@lru_cache(maxsize=8)
def pixels(path: Path) -> Image:
    """A picture, (H, W, 3) uint8; one array for questions in a row about it, so that it is looked at once.

    Raises:
        ImageError: If it is no image that is read.
        OSError: If it can't be read.
    """
    from geopix import geo

    return geo.read(path)[0]


@dataclass(frozen=True)
class Words:
    """A table's questions in words.

    Args:
        number: The table's.
        asked: The questions.
        kinds: The table's rows.
        sizes: Image -> height and width in pixels.
        twins: Keys of images that show what a training image shows.
        told: What is asked, for the footer.
        leak: What the leak check found.
    """

    number: int
    asked: tuple[Asked, ...]
    kinds: tuple[str, ...]
    sizes: Mapping[Path, tuple[int, int]]
    twins: frozenset[str]
    told: str
    leak: str

    @classmethod
    def of(cls, number: int, data: Path, limit: int | None) -> Words:
        """Read what a folder holds; at most ``limit`` questions, spread evenly over kinds and images.

        Raises:
            EntryError: If it holds nothing to ask about.
            OSError: If a file can't be read.
        """
        with show.watched() as watch:
            found = sheet(number, data, watch)
            whole, asked = found.whole, found.whole.asked
            if limit is not None:
                from geopix.evaluate.vhr10 import spread  # slow to import: it brings the model

                asked = tuple(spread(asked, limit))
            files = {one.image_key: one.image for one in asked}
            twins, leak = leaks(found.training, tuple(files.items()), watch)
        ids = hashlib.sha256("\n".join(one.id for one in asked).encode()).hexdigest()
        told = (
            f"{whole}; {len(asked):,} of them asked, sha256 of their ids {ids[:16]}, of the files {whole.sha256[:16]}"
        )
        sizes = {path: image_size(path) for path in files.values()}
        return cls(number, asked, found.kinds, sizes, twins, told, leak)

    @property
    def columns(self) -> tuple[str, ...]:
        """Headings of the rows' cells."""
        return worded.VQA_COLUMNS if self.number in VQA else worded.CAPTION_COLUMNS

    def scored(self, said: Mapping[str, str], judge: Judge | None) -> tuple[tuple[Row, ...], str, dict[str, str]]:
        """The rows, the protocol, and more lines for the footer.

        Args:
            said: Answers by question id.
            judge: Asked what the rule leaves open, or for CLAIR.

        Raises:
            ValueError: If nothing can be scored, or the judge takes nothing from us.
            OSError: If the judge's answers can't be kept.
        """
        form: Form[Any] = MATCH if self.number in VQA else CLAIR
        if self.number in VQA:
            decide = None if judge is None else counted(judge.match)
            made = worded.vqa_rows(self.asked, said, self.kinds, self.twins, decide)
        else:
            complain("scoring captions; where there is Java, this takes it some ten seconds to begin")
            made = worded.caption_rows(self.asked, said, None if judge is None else counted(judge.clair))
        who = "nobody was asked" if judge is None else judge.footer(form)
        told = "nobody; name one with --judge" if judge is None else str(judge.tally)
        return made.rows, f"{made.protocol.rstrip('.')}. Judge: {who}.", {"judged": made.judged, "judge": told}
