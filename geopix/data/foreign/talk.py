"""What many rows of a file say about one image: captions, questions, and boxes with phrases that mean them (§IV)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from geopix.classes import KNOWN, UNKNOWN, ClassVocabulary
from geopix.data.entries import Annotated, EntryError, checked
from geopix.data.foreign.found import MALFORMED, Entry, Found, Skipped, skipped
from geopix.data.foreign.grid import BOX, box_px, boxes
from geopix.data.foreign.words import LONGEST, text
from geopix.dialogue import IMAGE, PHRASE, box_text
from geopix.records import Box, Split, Turn

_TAG = re.compile(r"^\s*\[(\w+)\]\s*")
_PHRASE = re.compile(r"<p>(.*?)</p>", re.DOTALL)
_GROUNDED = re.compile(rf"<p>([^<]*)</p>((?:\s*{BOX.pattern})+)")
_SHORT = re.compile(r"\s*A short answer to the question is:?\s*$", re.IGNORECASE)
_VOCABULARY = ClassVocabulary(KNOWN)


class Talk:
    """Gathers one image's rows; equal boxes become one object with all the phrases that mean it.

    Args:
        key, image, size_hw, split: As in `Entry`.
    """

    def __init__(self, key: str, image: str, size_hw: tuple[int, int], split: Split) -> None:
        self.key, self.image, self.size_hw, self.split = key, image, size_hw, split
        self.captions: dict[str, None] = {}
        self.turns: dict[Turn, None] = {}
        self.objects: dict[Box, Annotated] = {}

    def entry(self) -> Iterator[Found]:
        """The image with what could be used; nothing where nothing could."""
        if self.captions or self.turns or self.objects:
            yield Entry(
                self.key,
                self.image,
                self.size_hw,
                tuple(self.objects.values()),
                tuple(self.captions),
                tuple(self.turns),
                self.split,
                complete=False,
            )

    def caption(self, raw: Any) -> None:
        """Add a description of the whole image."""
        self.captions[text(raw)] = None

    def ask(self, question: Any, answer: Any) -> None:
        """Add a question that is answered in words."""
        self.turns[Turn(text(question), text(answer), "vqa")] = None

    def point(self, box: Box, phrase: str = "", category: str = "", class_name: str = "") -> None:
        """Add an object, or a phrase to one that is there; without a class it is of the one that the phrase names."""
        named = class_name or named_class(phrase)
        one = checked(Annotated(named, box, None, category, (phrase,) if phrase else ()), self.size_hw)
        known = self.objects.get(one.box_xyxy_px, one)
        self.objects[one.box_xyxy_px] = replace(
            known,
            class_name=one.class_name if known.class_name == UNKNOWN else known.class_name,
            category=known.category or one.category,
            descriptions=tuple(dict.fromkeys((*known.descriptions, *one.descriptions))),
        )

    def hear(self, conversation: Any) -> Iterator[Skipped]:
        """Add every question and answer of a LLaVA-style conversation; what can't be used is told.

        Raises:
            EntryError: If people and model do not take turns.
        """
        if not isinstance(conversation, list) or len(conversation) % 2:
            raise EntryError("conversation without an answer")
        for asked, said in zip(conversation[::2], conversation[1::2], strict=True):
            if asked["from"] != "human" or said["from"] != "gpt":
                raise EntryError("conversation out of turn")
            try:
                self.pair(asked["value"], said["value"])
            except MALFORMED as error:
                yield skipped(error, self.key)

    def pair(self, question: Any, answer: Any) -> None:
        """Add a question with a task's tag, and its answer, as LLaVA-style rows hold them.

        "[refer]" with one box makes an object whose description is the phrase; with several boxes, for which the
        phrase can't mean one object, a turn and objects without a description. "[caption]" makes a caption. Boxes in
        other texts are rewritten as ours, upright and without an angle.

        Raises:
            EntryError: If a box is degenerate or out of the image, or a text can't be used.
        """
        if not isinstance(question, str) or not isinstance(answer, str):
            raise EntryError("text missing")
        if max(len(question), len(answer)) > LONGEST:
            raise EntryError("text too long", f"{max(len(question), len(answer)):,} characters, at most {LONGEST:,}")
        bare = question.strip()
        question = bare.removeprefix(IMAGE) if bare.startswith(IMAGE) else bare.removesuffix(IMAGE)
        tag = _TAG.match(question)
        task = tag.group(1).lower() if tag else ""
        asked = question[tag.end() :] if tag else question
        if task == "caption":
            self.caption(answer)
        elif task == "refer":
            self._refer(asked, answer)
        elif task == "grounding" or _GROUNDED.search(answer):
            said = self._marked(answer)
            self.turns[Turn(self._plain(asked), said, "refer")] = None
        else:
            self.ask(_SHORT.sub("", self._plain(asked)), self._plain(answer))

    def _refer(self, asked: str, answer: str) -> None:
        named = _PHRASE.search(asked)
        if named is None:
            raise EntryError("question without a phrase", asked[:80])
        phrase = text(named.group(1))
        found = [box_px(box, self.size_hw) for box in boxes(answer)]
        if not found:
            raise EntryError("answer without a box", answer[:80])
        if len(found) == 1:
            self.point(found[0], phrase)
            return
        for box in found:
            self.point(box, class_name=named_class(phrase))
        said = ", ".join(f"{PHRASE} {phrase} {box_text(box, self.size_hw)}" for box in found) + "."
        self.turns[Turn(self._plain(asked), said, "refer")] = None

    def _marked(self, answer: str) -> str:
        """An answer with boxes in our form: "<p> the phrase {<x1><y1><x2><y2>}" for each."""
        said, at = [], 0
        for found in _GROUNDED.finditer(answer):
            said.append(self._plain(answer[at : found.start()], empty=True))
            phrase = text(found.group(1))
            marks = [box_text(box_px(box, self.size_hw), self.size_hw) for box in boxes(found.group(2))]
            said.append(", ".join(f"{PHRASE} {phrase} {mark}" for mark in marks))
            at = found.end()
        said.append(self._plain(answer[at:], empty=True))
        return re.sub(r" +(?=[.,;:!?])", "", " ".join(filter(None, said)))

    def _plain(self, raw: str, empty: bool = False) -> str:
        """Words without marks of phrases, and with boxes in our form."""
        unmarked = _PHRASE.sub(r"\1", raw)
        if empty and not unmarked.strip():
            return ""

        def ours(found: re.Match[str]) -> str:
            return box_text(box_px(boxes(found.group())[0], self.size_hw), self.size_hw)

        return text(BOX.sub(ours, unmarked))


def named_class(phrase: str) -> str:
    """The canonical class that a phrase names, "unknown" if none."""
    found = _VOCABULARY.named_in(phrase)
    return UNKNOWN if found is None else _VOCABULARY.name(found)
