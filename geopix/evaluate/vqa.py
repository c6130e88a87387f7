"""Answers in words against the truth (§V-C, Tables IV and V): the benchmark's exact rule first, then a judge."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from geopix.evaluate.measures import macro_of
from geopix.evaluate.questions import RSIEVAL_TYPES, UCM_TYPES, VRSBENCH_TYPES, Asked

TABLE_4 = tuple(dict.fromkeys(VRSBENCH_TYPES.values()))
TABLE_5 = tuple(dict.fromkeys(RSIEVAL_TYPES.values()))
TABLE_4_UCM = tuple(UCM_TYPES.values())

CLOSED = frozenset({"yes", "no", *map(str, range(100))})
"""True answers that the benchmark compares letter by letter and never hands to the judge."""
PROTOCOL = (
    "VRSBench's rule: both answers in lower case; right where the true answer is a part of the predicted one, letter "
    'by letter (so "no" is right in "not known"); else wrong where the true answer is yes, no or 0 to 99; else the '
    "judge. Accuracy: of the answers that the rule or the judge decided. What nobody decided has bounds beside it: all "
    "of it wrong, all of it right. Equal words: case, articles and punctuation aside, no judge needed."
)

Rule = Literal["part", "closed", "judge", "not judged", "no answer"]
Decide = Callable[[Sequence[tuple[str, str, str]]], Sequence[bool | None]]
"""Of (question, true answer, predicted answer), all lower-cased as the benchmark has them: right, wrong, or None."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One answer.

    Args:
        id, image_key, kind: Of the question.
        right: None where nobody has decided.
        rule: What decided: the true answer is a part of the predicted one; it is not, and one of `CLOSED`; the judge;
            nobody; or there is no predicted answer, which is wrong.
        exact: Whether both have the same words in the same order; articles, case and punctuation aside.
        whole_words: Whether the true answer's words stand in the predicted one as whole words. "part" without it is
            the rule's generosity.
    """

    id: str
    image_key: str
    kind: str
    right: bool | None
    rule: Rule
    exact: bool
    whole_words: bool

    @property
    def low(self) -> float:
        """1 where it is right for certain."""
        return float(self.right is True)

    @property
    def high(self) -> float:
        """1 where it may be right."""
        return float(self.right is not False)


@dataclass(frozen=True, slots=True)
class Accuracy:
    """A share of right answers in 0..1, or its bounds where some are not judged.

    Args:
        n: Questions.
        not_judged: Those that nobody has decided.
        low, high: With all of these wrong, and all of them right. NaN without questions.
    """

    n: int
    not_judged: int
    low: float
    high: float

    @property
    def value(self) -> float | None:
        """The accuracy, None as long as something is not judged."""
        return None if self.not_judged else self.low

    def __str__(self) -> str:
        if not self.n:
            return "-"
        if self.not_judged:
            return f"{100 * self.low:.1f} to {100 * self.high:.1f} ({self.not_judged} of {self.n} not judged)"
        return f"{100 * self.low:.1f}"


@dataclass(frozen=True, slots=True)
class VqaScore:
    """A whole set.

    Args:
        verdicts: In the order of the questions.
        kinds: The table's columns; a verdict of another kind counts in `micro` alone, as in the benchmark.
        missing: Questions without a predicted answer, counted as wrong.
    """

    verdicts: tuple[Verdict, ...]
    kinds: tuple[str, ...]
    missing: int

    def of_kind(self, kind: str) -> Accuracy:
        """One column."""
        return _accuracy([verdict for verdict in self.verdicts if verdict.kind == kind])

    @property
    def micro(self) -> Accuracy:
        """Over all questions: every question weighs the same. Table IV's 74.9 of GeoPix is this one."""
        return _accuracy(self.verdicts)

    @property
    def macro(self) -> Accuracy:
        """The mean of the kinds that have questions: every kind weighs the same. Table IV's other rows are this one."""
        listed = [one for one in self.verdicts if one.kind in self.kinds]
        ids, keys, kinds = ([getattr(one, name) for one in listed] for name in ("id", "image_key", "kind"))
        low, high = (
            macro_of("macro", ids, keys, [getattr(one, side) for one in listed], kinds).value
            for side in ("low", "high")
        )
        return Accuracy(len(listed), sum(one.right is None for one in listed), low, high)

    @property
    def rules(self) -> dict[Rule, int]:
        """How many answers each rule decided."""
        return dict(Counter(verdict.rule for verdict in self.verdicts))

    @property
    def told(self) -> str:
        """What decided the answers, and what nobody has decided: for the footer of a table."""
        rules = Counter(self.rules)
        open_, left = rules["judge"] + rules["not judged"], rules["not judged"]
        told = f"{len(self.verdicts) - open_:,} of {len(self.verdicts):,} answers decided by the rule"
        if self.generous:
            told += f" ({self.generous:,} of them right by letters, not by whole words)"
        if self.missing:
            told += f", {self.missing:,} of them because there is none"
        told += f"; {open_:,} left open by it"
        if open_:
            told += f", of which {rules['judge']:,} judged ({100 * rules['judge'] / open_:.1f} %), {left:,} not judged"
        others = sum(self.other_kinds.values())
        told += f"; {others:,} questions of kinds without a row count in the micro average alone" if others else ""
        return told

    @property
    def generous(self) -> int:
        """Right by the rule of parts though the words do not stand there whole: "no" in "not known"."""
        return sum(verdict.rule == "part" and not verdict.whole_words for verdict in self.verdicts)

    @property
    def other_kinds(self) -> dict[str, int]:
        """Questions of kinds that the table has no column for."""
        return dict(Counter(verdict.kind for verdict in self.verdicts if verdict.kind not in self.kinds))


def score(
    asked: Sequence[Asked], predicted: Mapping[str, str], kinds: Sequence[str], decide: Decide | None = None
) -> VqaScore:
    """Score answers in words.

    Args:
        asked: The questions, the first of their true answers counts.
        predicted: Answers by question id; others than those asked are not looked at.
        kinds: The table's columns.
        decide: The judge, asked once for all that the rule leaves open; None judges nothing.

    Raises:
        ValueError: If two questions have one id, a true answer is empty, or the judge's answers are not one each.
    """
    repeated = [one for one, count in Counter(question.id for question in asked).items() if count > 1]
    if repeated:
        raise ValueError(f"{len(repeated)} question ids stand more than once, such as {repeated[0]!r}")
    ruled = [by_rule(question.answers[0], predicted.get(question.id)) for question in asked]
    unsure = [place for place, (_, rule) in enumerate(ruled) if rule == "not judged"]
    if decide is not None and unsure:
        told = decide([_told(asked[place], predicted) for place in unsure])
        if len(told) != len(unsure):
            raise ValueError(f"the judge decided {len(told)} of {len(unsure)} answers; one decision each is needed")
        for place, right in zip(unsure, told, strict=True):
            ruled[place] = (right, "not judged" if right is None else "judge")
    verdicts = []
    for question, (right, rule) in zip(asked, ruled, strict=True):
        true, said = words(question.answers[0]), words(predicted.get(question.id, ""))
        same, whole = bool(true) and true == said, bool(true) and _within(true, said)
        verdicts.append(Verdict(question.id, question.image_key, question.kind, right, rule, same, whole))
    return VqaScore(tuple(verdicts), tuple(kinds), sum(rule == "no answer" for _, rule in ruled))


def by_rule(true: str, predicted: str | None) -> tuple[bool | None, Rule]:
    """What the benchmark decides without its judge, and by which rule.

    Raises:
        ValueError: If the true answer is empty: it would be a part of every answer.
    """
    if not true.strip():
        raise ValueError("a true answer is empty, and would be a part of every predicted one; leave the question out")
    if predicted is None:
        return False, "no answer"
    true, predicted = true.lower(), predicted.lower()
    if true in predicted:
        return True, "part"
    if true in CLOSED:
        return False, "closed"  # not even a part, so not equal
    return None, "not judged"


def words(text: str) -> tuple[str, ...]:
    """An answer's words without case, punctuation and articles."""
    marks = string.punctuation.replace("-", "")
    bare = text.lower().translate(str.maketrans(marks, " " * len(marks)))
    return tuple(word for word in bare.split() if word not in ("a", "an", "the"))


_DROPPED = (
    "flag", "not provide", "not specified", "unknown", "referred", "referring", "nose", "vertical stabilizer", " tail",
    "tail ", "facing", "pointing", "first-mentioned", "aforementioned", "previously mentioned", "motion", "day",
    "night", "source", "resolution",
)  # fmt: skip
_NUMBER = re.compile(
    r"\d|zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fifteen|twenty|thirty|forty|fifty"
)
"""Every number word up to ninety-nine holds one of these."""


def benchmark_drops(question: str, answer: str) -> str | None:
    """Why VRSBench's makers left a question out of their evaluation file, None where it stayed.

    They look for letters, not words ("day" drops "holiday", a "which" question goes for the "one" in "stone"); so do
    we. The published file has been through it already.
    """
    for phrase in _DROPPED:
        if phrase in question or phrase in answer:
            return f"holds {phrase.strip()!r}"
    return "asks which, and a number answers" if "which" in question.lower() and _NUMBER.search(answer) else None


def _told(question: Asked, predicted: Mapping[str, str]) -> tuple[str, str, str]:
    return question.question, question.answers[0].lower(), predicted[question.id].lower()


def _within(part: tuple[str, ...], whole: tuple[str, ...]) -> bool:
    return any(whole[start : start + len(part)] == part for start in range(len(whole) - len(part) + 1))


def _accuracy(verdicts: Sequence[Verdict]) -> Accuracy:
    if not verdicts:
        return Accuracy(0, 0, float("nan"), float("nan"))
    low, high = (float(np.mean([getattr(one, side) for one in verdicts])) for side in ("low", "high"))
    return Accuracy(len(verdicts), sum(one.right is None for one in verdicts), low, high)
