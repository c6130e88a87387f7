"""Tables IV and VII as rows of measures: answers in words and captions, with their samples (§V-C, §V-D)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from geopix.evaluate import captions, vqa
from geopix.evaluate.measures import Measure, macro_of, mean_of
from geopix.evaluate.questions import Asked
from geopix.evaluate.table import Cell, Row

VQA_COLUMNS: Final = ("all open answers wrong", "all open answers right", "equal words", "not judged")
CAPTION_COLUMNS: Final = ("score",)


def vqa_rows(
    asked: Sequence[Asked], predicted: Mapping[str, str], kinds: Sequence[str], twins: frozenset[str] = frozenset()
) -> tuple[Row, ...]:
    """A row for every kind that was asked, then the micro and the macro average; no judge, so bounds where it is open.

    Raises:
        ValueError: If an id stands twice or a true answer is empty.
    """
    verdicts = vqa.score(asked, predicted, kinds).verdicts
    parts = {kind: [one for one in verdicts if one.kind == kind] for kind in kinds}
    rows = [_accuracies(kind, members) for kind, members in parts.items() if members]
    rows.append(_accuracies("all, micro", verdicts))
    listed = [one for one in verdicts if one.kind in kinds]
    if listed:
        ids, keys = [one.id for one in listed], [one.image_key for one in listed]
        groups = [one.kind for one in listed]
        macro: list[Cell] = [
            macro_of("all, macro", ids, keys, values, groups)
            for values in ([one.low for one in listed], [one.high for one in listed], [one.exact for one in listed])
        ]
        rows.append(Row("all, macro", (*macro, None)))
    if twins:
        apart = [one for one in verdicts if one.image_key not in twins]
        rows += [_accuracies("without twins of training images, micro", apart)] if apart else []
    return tuple(rows)


def caption_rows(asked: Sequence[Asked], predicted: Mapping[str, str]) -> tuple[tuple[Row, ...], str]:
    """The table's rows, and the protocol that the footer tells.

    Raises:
        CaptionsError: If pycocoevalcap is not installed, or there is nothing to score.
        ValueError: If an id stands twice.
    """
    found = captions.score(asked, predicted)
    sums, keys = found.rows(), found.image_keys
    ids = tuple(one.id for one in found.scores)
    rows = []
    for n in range(1, 5):
        columns = [*range(n), *range(4, 4 + n), 8, 9]
        rows.append(Row(f"BLEU-{n}", (Measure(f"BLEU-{n}", ids, keys, sums[:, columns], "bleu", unit="images"),)))
    meteor = found.meteor
    rows.append(Row("METEOR", ("not available" if meteor is None else f"{100 * meteor:.1f}, without an interval",)))
    for name, place in (("ROUGE_L", captions.ROUGE), ("CIDEr", captions.CIDER)):
        rows.append(Row(name, (mean_of(name, ids, keys, sums[:, place], "images"),)))
    rows.append(Row("CLAIR", ("not judged",)))
    rows.append(Row("mean words of a caption", (f"{found.mean_words:.1f}",)))
    rows.append(Row("mean words of a reference", (f"{found.true_words:.1f}",)))
    return tuple(rows), found.protocol


def _accuracies(name: str, verdicts: Sequence[vqa.Verdict]) -> Row:
    ids, keys = [one.id for one in verdicts], [one.image_key for one in verdicts]
    columns = np.array([(one.low, one.high, one.exact, one.right is None) for one in verdicts], dtype=np.float64)
    return Row(name, tuple(mean_of(name, ids, keys, columns[:, place]) for place in range(len(VQA_COLUMNS))))
