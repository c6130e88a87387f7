"""Tables IV to VII as rows of measures: answers in words and captions, with their samples (§V-C, §V-D)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from geopix.evaluate import captions, vqa
from geopix.evaluate.measures import Measure, macro_of, mean_of
from geopix.evaluate.questions import Asked
from geopix.evaluate.table import Cell, Row

VQA_COLUMNS: Final = ("accuracy", "all open answers wrong", "all open answers right", "equal words", "not judged")
CAPTION_COLUMNS: Final = ("score",)


@dataclass(frozen=True)
class Worded:
    """A table in words.

    Args:
        rows: From top to bottom.
        protocol: How they were scored, the judge aside.
        judged: How much was decided by what, and what was left out.
    """

    rows: tuple[Row, ...]
    protocol: str
    judged: str


def vqa_rows(
    asked: Sequence[Asked],
    predicted: Mapping[str, str],
    kinds: Sequence[str],
    twins: frozenset[str] = frozenset(),
    decide: vqa.Decide | None = None,
) -> Worded:
    """A row for every kind that was asked, then the micro and the macro average.

    The accuracy is that of the answers that somebody decided, the rule or the judge; as long as nobody judges it
    stands only where the rule decided everything. What is still open has bounds beside it.

    Args:
        asked: The questions.
        predicted: Answers by question id.
        kinds: The rows.
        twins: Keys of images that show what a training image shows.
        decide: The judge.

    Raises:
        ValueError: If an id stands twice or a true answer is empty.
    """
    found = vqa.score(asked, predicted, kinds, decide)
    parts = {kind: [one for one in found.verdicts if one.kind == kind] for kind in kinds}
    rows = [_accuracies(kind, members, decide is not None) for kind, members in parts.items() if members]
    rows.append(_accuracies("all, micro", found.verdicts, decide is not None))
    listed = [one for one in found.verdicts if one.kind in kinds]
    if listed:
        rows.append(_accuracies("all, macro", listed, decide is not None, [one.kind for one in listed]))
    if twins:
        apart = [one for one in found.verdicts if one.image_key not in twins]
        name = "without twins of training images, micro"
        rows += [_accuracies(name, apart, decide is not None)] if apart else []
    return Worded(tuple(rows), vqa.PROTOCOL, found.told)


def caption_rows(asked: Sequence[Asked], predicted: Mapping[str, str], decide: captions.Decide | None = None) -> Worded:
    """A row for every score; CLAIR is that of the captions that the judge has scored, with bounds where some are open.

    Args:
        asked: The images with their references.
        predicted: Captions by question id.
        decide: The judge of CLAIR.

    Raises:
        CaptionsError: If pycocoevalcap is not installed, or there is nothing to score.
        ValueError: If an id stands twice.
    """
    found = captions.score(asked, predicted, decide)
    ids, keys = tuple(one.id for one in found.scores), tuple(one.image_key for one in found.scores)
    measures = [Measure(f"BLEU-{n}", ids, keys, found.bleu_counts(n), "bleu", unit="images") for n in range(1, 5)]
    rows = [Row(one.name, (one,)) for one in measures]
    counts = found.meteor_counts()
    meteor = "not available" if counts is None else Measure("METEOR", ids, keys, counts, "meteor", unit="images")
    rows.append(Row("METEOR", (meteor,)))
    for name, values in (
        ("ROUGE_L", [one.rouge for one in found.scores]),
        ("CIDEr", [one.cider for one in found.scores]),
    ):
        rows.append(Row(name, (mean_of(name, ids, keys, values, "images"),)))
    rows += _clair(found.scores, ids, keys) if decide is not None else [Row("CLAIR", ("not judged",))]
    rows.append(Row("mean words of a caption", (f"{found.mean_words:.1f}",)))
    rows.append(Row("mean words of a reference", (f"{found.true_words:.1f}",)))
    return Worded(tuple(rows), found.protocol, found.told)


def _clair(scores: Sequence[captions.CaptionScore], ids: Sequence[str], keys: Sequence[str]) -> list[Row]:
    values = np.array([one.clair or 0.0 for one in scores])
    open_ = np.array([one.clair is None for one in scores])
    rows = [Row("CLAIR", (mean_of("CLAIR", ids, keys, values, "images", ~open_),))]
    if open_.any():
        names = ("CLAIR, all open captions 0", "CLAIR, all open captions 100")
        bounds = (values, np.where(open_, 1.0, values))
        rows += [Row(name, (mean_of(name, ids, keys, one, "images"),)) for name, one in zip(names, bounds, strict=True)]
    return rows


def _accuracies(name: str, verdicts: Sequence[vqa.Verdict], judged: bool, groups: Sequence[str] | None = None) -> Row:
    """A row: means over the answers, or over the groups' means."""
    ids, keys = [one.id for one in verdicts], [one.image_key for one in verdicts]
    columns = np.array(
        [(one.low, one.low, one.high, one.exact, one.right is None) for one in verdicts], dtype=np.float64
    ).reshape(-1, len(VQA_COLUMNS))
    cells: list[Cell] = []
    for place in range(len(VQA_COLUMNS)):
        counted = None if place else columns[:, -1] == 0
        if groups is None:
            cells.append(mean_of(name, ids, keys, columns[:, place], counted=counted))
        else:
            cells.append(macro_of(name, ids, keys, columns[:, place], groups, counted))
    if not judged and columns[:, -1].any():
        cells[0] = "not judged"
    return Row(name, tuple(cells))
