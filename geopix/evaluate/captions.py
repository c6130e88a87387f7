"""Captions against references (§V-D, Tables VI and VII): BLEU, METEOR, ROUGE_L, CIDEr as pycocoevalcap, and CLAIR.

Every image keeps the counts that its scores are made of. So a bootstrap resamples BLEU's and METEOR's counts, whose
corpus scores are no means of sentence scores (`geopix.evaluate.measures` makes them of the sums); CIDEr's weights of
words stay those of all references.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from geopix.evaluate.java import JavaError, meteor_statistics, ptb_tokens
from geopix.evaluate.measures import bleu, meteor
from geopix.evaluate.metrics import Floats
from geopix.evaluate.questions import Asked
from geopix.evaluate.vqa import Accuracy

PTB = "PTB tokens (Stanford CoreNLP 3.4.1), as pycocoevalcap"
PLAIN = "words of ours, for want of Java: NOT comparable with PTB tokens"

Decide = Callable[[Sequence[tuple[Sequence[str], Sequence[str]]]], Sequence[float | None]]
"""CLAIR in 0..1, or None, of (candidate captions, reference captions)."""


class CaptionsError(ValueError):
    """Captions that can't be scored."""


@dataclass(frozen=True, slots=True)
class CaptionScore:
    """One image.

    Args:
        id, image_key: Of the question.
        bleu: Matching n-grams for n = 1 to 4, n-grams for n = 1 to 4, words, words of the closest reference.
        rouge, cider: As pycocoevalcap; CIDEr's customary factor of ten is in it.
        n_words: Of the predicted caption, punctuation aside.
        meteor: METEOR's 23 counts, as `uncharged` leaves them; None where it is not available.
        clair: In 0..1; None where nobody has judged.
    """

    id: str
    image_key: str
    bleu: tuple[float, ...]
    rouge: float
    cider: float
    n_words: int
    meteor: tuple[float, ...] | None = None
    clair: float | None = None


@dataclass(frozen=True, slots=True)
class CaptionScores:
    """A whole set; scores are in 0..1, CIDEr in 0..10. Tables print them times 100.

    Args:
        scores: In the order of the questions.
        tokens: `PTB` or `PLAIN`: what the words are; part of the protocol.
        no_meteor: Why METEOR is not available, "" where it is.
        missing: Images without a caption, scored as an empty one.
        true_words: Mean length of the references in words.
    """

    scores: tuple[CaptionScore, ...]
    tokens: str
    no_meteor: str
    missing: int
    true_words: float

    def bleu_counts(self, n: int) -> Floats:
        """(images, 2 n + 2) what `geopix.evaluate.measures.bleu` makes BLEU-n of."""
        counts = np.array([one.bleu for one in self.scores], dtype=np.float64)
        return np.concatenate([counts[:, :n], counts[:, 4 : 4 + n], counts[:, 8:]], axis=1)

    def meteor_counts(self) -> Floats | None:
        """(images, 23) what `geopix.evaluate.measures.meteor` makes METEOR of, None where it is not available."""
        return None if self.no_meteor else np.array([one.meteor for one in self.scores], dtype=np.float64)

    @property
    def bleu(self) -> tuple[float, float, float, float]:
        """BLEU-1 to BLEU-4 of the corpus."""
        one, two, three, four = (float(bleu(self.bleu_counts(n).sum(axis=0))) for n in range(1, 5))
        return one, two, three, four

    @property
    def meteor(self) -> float | None:
        """METEOR of the corpus, None where it is not available."""
        counts = self.meteor_counts()
        return None if counts is None else float(meteor(counts.sum(axis=0)))

    @property
    def rouge(self) -> float:
        """Mean ROUGE_L."""
        return float(np.mean([one.rouge for one in self.scores]))

    @property
    def cider(self) -> float:
        """Mean CIDEr."""
        return float(np.mean([one.cider for one in self.scores]))

    @property
    def clair(self) -> Accuracy:
        """Mean CLAIR, or its bounds where some images are not judged: all of them 0, and all of them 1."""
        low = [one.clair or 0.0 for one in self.scores]
        open_ = sum(one.clair is None for one in self.scores)
        return Accuracy(len(low), open_, float(np.mean(low)), float(np.sum(low) + open_) / len(low))

    @property
    def told(self) -> str:
        """How many captions have a CLAIR, for the footer of a table."""
        open_ = sum(one.clair is None for one in self.scores)
        told = f"{open_:,} of {len(self.scores):,} captions not judged"
        return told + (f", {self.missing:,} not there" if self.missing else "")

    @property
    def mean_words(self) -> float:
        """Mean length of the predicted captions in words."""
        return float(np.mean([one.n_words for one in self.scores]))

    @property
    def protocol(self) -> str:
        """For the footer of a table."""
        told = (
            f"{self.tokens}; BLEU of the corpus, closest reference; CIDEr with clipping and length penalty (CIDEr-D), "
        )
        told += "times 10, its document frequencies from these references; ROUGE_L with beta 1.2"
        return told + (f"; METEOR not available: {self.no_meteor}" if self.no_meteor else "; METEOR 1.5")


def score(
    asked: Sequence[Asked], predicted: Mapping[str, str], decide: Decide | None = None, with_java: bool = True
) -> CaptionScores:
    """Score captions.

    Args:
        asked: The images with their references.
        predicted: Captions by question id; others than those asked are not looked at.
        decide: The judge of CLAIR, asked once for all captions that are there; None judges nothing.
        with_java: Whether Java is used where it is there; without it words are `PLAIN` and METEOR not available.

    Raises:
        CaptionsError: If pycocoevalcap is not installed, or there is nothing to score.
        ValueError: If an id stands twice, or the judge's answers are not one each.
    """
    if not asked:
        raise CaptionsError("there are no images to score captions of")
    if len({one.id for one in asked}) < len(asked):
        raise ValueError("a question id stands more than once; give every image its own")
    said = [predicted.get(one.id, "") for one in asked]
    true = [list(one.answers) for one in asked]
    tokens, why, words, references = _tokenized(said, true, with_java)
    grams, rouge, cider = _pycocoevalcap(words, references)
    counts: Sequence[tuple[float, ...] | None] = [None] * len(asked)
    if not why:
        try:
            counts = [uncharged(one) for one in meteor_statistics(words, references)]
        except JavaError as error:
            why = str(error)
    scores = [
        CaptionScore(one.id, one.image_key, grams[k], rouge[k], cider[k], len(words[k].split()), counts[k])
        for k, one in enumerate(asked)
    ]
    lengths = [len(reference.split()) for references_ in references for reference in references_]
    missing = sum(one.id not in predicted for one in asked)
    whole = CaptionScores(tuple(scores), tokens, why, missing, float(np.mean(lengths)))
    return whole if decide is None else _judged(whole, said, true, predicted, decide)


def uncharged(counts: Sequence[float]) -> tuple[float, ...]:
    """METEOR's counts of one caption; matched whole in one piece, it has no pieces to be charged for."""
    whole = counts[20] == 1 and counts[21] == counts[0] and counts[22] == counts[1]
    return (*counts[:20], 0.0 if whole else counts[20], *counts[21:])


def plain_words(caption: str) -> str:
    """Words much like PTB's, without Java: small, no punctuation, "don't" as "do n't", hyphens and "1,000" in one."""
    found = re.findall(r"\d+(?:[.,:/]\d+)+|[^\W_]+(?:[-'_][^\W_]+)*", caption.lower().replace("’", "'"))
    return " ".join(re.sub(r"(?<=.)(n't|'(?:s|re|ve|ll|d|m))$", r" \1", word) for word in found)


def _tokenized(
    said: Sequence[str], true: Sequence[Sequence[str]], with_java: bool
) -> tuple[str, str, list[str], list[list[str]]]:
    """What the words are, why there is no METEOR, and the words of captions and references."""
    everything = [*said, *(reference for references in true for reference in references)]
    try:
        if not with_java:
            raise JavaError("it was not asked for")
        flat, tokens, why = ptb_tokens(everything), PTB, ""
    except JavaError as error:
        flat, tokens, why = list(map(plain_words, everything)), PLAIN, str(error)
    rest = iter(flat[len(said) :])
    references = [[next(rest) for _ in references] for references in true]
    if not any(reference for references_ in references for reference in references_):
        raise CaptionsError("no reference holds a word; check the file of captions")
    return tokens, why, flat[: len(said)], references


def _pycocoevalcap(
    words: Sequence[str], references: Sequence[Sequence[str]]
) -> tuple[list[tuple[float, ...]], list[float], list[float]]:
    """BLEU's counts, ROUGE_L and CIDEr of every image."""
    try:
        from pycocoevalcap.bleu import bleu_scorer
        from pycocoevalcap.cider.cider import Cider
        from pycocoevalcap.rouge.rouge import Rouge
    except ImportError as error:
        raise CaptionsError(
            "pycocoevalcap is not installed; install it with: pip install 'geopix[captions]'"
        ) from error
    counts: list[tuple[float, ...]] = []
    for caption, true in zip(words, references, strict=True):
        cooked: dict[str, Any] = bleu_scorer.cook_test(caption, bleu_scorer.cook_refs(true), eff="closest")
        counts.append((*cooked["correct"], *cooked["guess"], cooked["testlen"], cooked["reflen"]))
    said = {place: [caption] for place, caption in enumerate(words)}
    true_ = {place: list(one) for place, one in enumerate(references)}
    _, rouge = Rouge().compute_score(true_, said)
    _, cider = Cider().compute_score(true_, said)
    return counts, [float(one) for one in rouge], [float(one) for one in cider]


def _judged(
    whole: CaptionScores,
    said: Sequence[str],
    true: Sequence[Sequence[str]],
    predicted: Mapping[str, str],
    decide: Decide,
) -> CaptionScores:
    there = [place for place, one in enumerate(whole.scores) if one.id in predicted]
    told = decide([([said[place]], true[place]) for place in there])
    if len(told) != len(there):
        raise ValueError(f"the judge decided {len(told)} of {len(there)} captions; one decision each is needed")
    clair: dict[int, float | None] = dict(zip(there, told, strict=True))
    scores = (replace(one, clair=clair.get(place, 0.0)) for place, one in enumerate(whole.scores))
    return replace(whole, scores=tuple(scores))
