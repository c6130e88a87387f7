"""Prompts, task tags, boxes as text and segmentation tokens: words in, ids out, and back (§III-A)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from geopix.records import Box, Turn

IMAGE = "<image>"
PHRASE = "<p>"
GROUP = "[SEG]"
"""How answers in text mark a mask; in ids it is one group of scales x tokens-per-scale segmentation tokens."""
TASK_TAGS = ("[segment]", "[refer]", "[vqa]", "[caption]")

_BOX = re.compile(r"\s*\{<(\d{1,3})><(\d{1,3})><(\d{1,3})><(\d{1,3})>\}")

_NAMED = re.compile(r"\bthe\b.+?(?=(?:,| and|, and) the\b|[,.;:?!]|$)", re.IGNORECASE)
"""Objects that a question names: "the leftmost ship and the bridge" names two."""
_AROUND = re.compile(r"\s(?:in (?:the|this) (?:image|picture|scene)|for me|and segment it)(?=\W*$)", re.IGNORECASE)
"""What may follow the last of them."""


@dataclass(frozen=True, slots=True)
class Template:
    """The words around a turn: ``before`` the question, ``between`` it and the answer, ``after`` the answer.

    ``opening`` comes once, before everything. ``joined`` says that the words before and after a question hold no
    special token, so that they and the question are cut into tokens as one text, as the model was trained on.
    """

    opening: str = ""
    before: str = "<|im_start|>user\n"
    between: str = "<|im_end|>\n<|im_start|>assistant\n"
    end: str = "<|im_end|>"
    after: str = "\n"
    joined: bool = False


TEMPLATES = {
    "chatml": Template(),
    "vicuna": Template(
        opening="A chat between a curious human and an artificial intelligence assistant. The assistant gives helpful, "
        "detailed, and polite answers to the human's questions. ",
        before="USER: ",
        between=" ASSISTANT:",
        end="</s>",
        after="",
        joined=True,
    ),
}
"""The words around a turn by name: SmolLM2's own, and those of LLaVA-1.5 ("v1") that the paper's model speaks."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A dialogue as ids.

    Args:
        ids: All tokens; `IMAGE`'s id stands once for every image token.
        answers: For every token, whether the assistant says it (and the loss counts it).
        groups: For every mask, the position of its first segmentation token.
    """

    ids: list[int]
    answers: list[bool]
    groups: list[int]


@dataclass(frozen=True, slots=True)
class Mention:
    """One object spoken of: by a mask (``group`` counts them from 0) or by a box in shares of width and height."""

    phrase: str
    group: int | None = None
    box: Box | None = None


@dataclass(frozen=True, slots=True)
class Spoken:
    """An answer read back: its text, where "[k]" marks mention number k (from one), and the mentions."""

    text: str
    mentions: tuple[Mention, ...]


def segmentation_tokens(n_scales: int, tokens_per_scale: int) -> tuple[str, ...]:
    """[SEG0] ... in the order in which a group is spoken: coarse scale first."""
    return tuple(f"[SEG{index}]" for index in range(n_scales * tokens_per_scale))


def box_text(box_xyxy_px: Box, size_hw: tuple[int, int]) -> str:
    """A box as the paper's lineage writes it: "{<x1><y1><x2><y2>}", integers in 0..100."""
    height, width = size_hw
    shares = [value / side for value, side in zip(box_xyxy_px, (width, height, width, height), strict=True)]
    return "{" + "".join(f"<{min(max(round(100 * share), 0), 100)}>" for share in shares) + "}"


def text_box(text: str, size_hw: tuple[int, int]) -> Box | None:
    """The first box written in a text, in pixels of an image; None where there is none."""
    found = _BOX.search(text)
    if found is None:
        return None
    shares = [int(value) / 100 for value in found.groups()]
    height, width = size_hw
    return shares[0] * width, shares[1] * height, shares[2] * width, shares[3] * height


class Dialogue:
    """Turns <-> ids for one tokenizer.

    Args:
        tokenizer: A transformers tokenizer; the tokens of ours that it lacks are added to it.
        n_scales, tokens_per_scale: Size of a group of segmentation tokens.
        image_tokens: How many tokens an image takes.
        template: The words around a turn.
        marks_phrases: Whether answers mark the phrase of a mask with `PHRASE`, as ours do; where they don't, the
            tokenizer gets no such token.
    """

    def __init__(
        self,
        tokenizer: Any,
        n_scales: int,
        tokens_per_scale: int,
        image_tokens: int,
        template: Template | None = None,
        marks_phrases: bool = True,
    ) -> None:
        self.tokenizer, self.marks_phrases = tokenizer, marks_phrases
        self.image_tokens = image_tokens
        self.template = template or Template()
        names = segmentation_tokens(n_scales, tokens_per_scale)
        ours = [IMAGE, *([PHRASE] if marks_phrases else []), *names]
        tokenizer.add_special_tokens({"additional_special_tokens": ours}, replace_extra_special_tokens=False)
        ids = dict(zip(ours, tokenizer.convert_tokens_to_ids(ours), strict=True))
        self.image_id: int = ids[IMAGE]
        self.phrase_id: int = ids.get(PHRASE, -1)
        self.group_ids: tuple[int, ...] = tuple(ids[name] for name in names)
        self.end_id: int = self._own(self.template.end)[-1]
        self.new_ids: tuple[int, ...] = tuple(ids.values())

    def encode(self, turns: Sequence[Turn], with_image: bool = True) -> Encoded:
        """A whole dialogue, answers included, for training.

        Raises:
            ValueError: If something follows an answer of which only the beginning is known.
        """
        if any(turn.begun for turn in turns[:-1]):
            raise ValueError("an answer that is only begun must be the last of its dialogue")
        ids: list[int] = []
        answers: list[bool] = []
        groups: list[int] = []
        for index, turn in enumerate(turns):
            question = self.question(turn.question, first=index == 0, with_image=with_image)
            ids += question
            answers += [False] * len(question)
            said = self._answer(turn.answer) if turn.task in ("segment", "refer") else self._foreign(turn.answer)
            groups += [len(ids) + place for place, token in enumerate(said) if token == self.group_ids[0]]
            ids += said
            answers += [True] * len(said)
            if not turn.begun:
                ids.append(self.end_id)
                answers.append(True)
        return Encoded(ids, answers, groups)

    def question(self, question: str, first: bool, with_image: bool = True) -> list[int]:
        """The ids up to where the assistant starts to speak; nothing the user types becomes a token of ours."""
        template = self.template
        seen = [self.image_id] * self.image_tokens if first and with_image else []
        if template.joined:
            opening = template.opening + template.before if first else template.after + template.before
            if not seen:
                return self._begin(first) + self._foreign(f"{opening}{question}{template.between}")
            return self._begin(first) + self._own(opening) + seen + self._foreign(f"\n{question}{template.between}")
        ids = self._own(template.opening if first else template.after) + self._own(template.before)
        if seen:
            ids += seen + self._own("\n")
        return ids + self._foreign(question) + self._own(template.between)

    @cached_property
    def box_ids(self) -> tuple[int, ...]:
        """The words that open a box: whatever holds a brace to the left."""
        return tuple(sorted(index for word, index in self.tokenizer.get_vocab().items() if "{" in word))

    def draft(self, question: str) -> list[int]:
        """A guess at the answer's ids, end aside: every object that the question names, with a mask.

        Whoever decodes may read it together with the question and keep as much as the model agrees with.
        """
        phrases = _NAMED.findall(_AROUND.sub("", question)) if self.marks_phrases else []
        ids: list[int] = []
        for number, phrase in enumerate(phrases):
            ids += self._foreign(", ") if number else []
            ids += [self.phrase_id, *self._foreign(f" {phrase.lower()}"), *self.group_ids]
        return ids + self._foreign(".") if phrases else []

    def _answer(self, text: str) -> list[int]:
        """An answer's ids where `PHRASE` and `GROUP` are meant as marks."""
        ids: list[int] = []
        for piece in re.split(r"(<p>|\[SEG\])", text):
            if piece == GROUP:
                ids += self.group_ids
            else:
                ids += [self.phrase_id] if piece == PHRASE else self._foreign(piece)
        return ids

    def _begin(self, first: bool) -> list[int]:
        """The token that a tokenizer puts before everything, where it has one."""
        begin = self.tokenizer.bos_token_id
        return [begin] if first and begin is not None else []

    def parse(self, ids: Sequence[int]) -> Spoken:
        """Read a generated answer, tolerating every way in which a model can garble one."""
        text, phrase = "", None
        mentions: list[Mention] = []
        n_groups = 0
        for kind, content in self._pieces(ids):
            if kind == "phrase":
                text, phrase = _glue(text, phrase or ""), ""
            elif kind == "group":
                if phrase is None and not self.marks_phrases:  # the words just before are the phrase, and stay
                    mentions.append(Mention(_last_phrase(text), group=n_groups))
                    text = _glue(text, f"[{len(mentions)}]")
                else:
                    name = _clean(phrase or "") or "the object"
                    mentions.append(Mention(name, group=n_groups))
                    text, phrase = _glue(text, f"{name} [{len(mentions)}]"), None
                n_groups += 1
            else:
                said = (phrase or "") + content
                box = _BOX.search(said)
                while box is not None:
                    name = _clean(said[: box.start()]) or "the object"
                    x1, y1, x2, y2 = (min(int(value), 100) / 100 for value in box.groups())
                    mentions.append(Mention(name, box=(min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2))))
                    text, phrase = _glue(text, f"{name} [{len(mentions)}]"), None
                    said = said[box.end() :]
                    box = _BOX.search(said)
                if phrase is None:
                    text += said
                else:
                    phrase = said
        return Spoken(_glue(text, phrase or "").strip(), tuple(mentions))

    def _pieces(self, ids: Sequence[int]) -> list[tuple[str, str]]:
        """Runs of plain text, phrase marks and whole segmentation groups."""
        pieces: list[tuple[str, str]] = []
        run: list[int] = []

        def flush() -> None:
            if run:
                pieces.append(("text", self.tokenizer.decode(run, skip_special_tokens=True)))
                run.clear()

        for token in ids:
            if token == self.phrase_id or token == self.group_ids[0]:
                flush()
                pieces.append(("phrase" if token == self.phrase_id else "group", ""))
            elif token not in self.group_ids and token != self.image_id:
                run.append(token)
        flush()
        return pieces

    def _own(self, text: str) -> list[int]:
        """Words of ours, in which special tokens are meant."""
        return list(self.tokenizer(text, add_special_tokens=False).input_ids) if text else []

    def _foreign(self, text: str) -> list[int]:
        """Words of others, in which "[SEG0]" is six harmless characters."""
        return list(self.tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids) if text else []


def _last_phrase(text: str) -> str:
    """What was spoken of last: the words since the last mark, verb or comma."""
    words = _clean(re.split(r"\[\d+\]|[,.;:]|\b(?:and|is|are|of|it)\b", text)[-1])
    return words or "the object"


def _clean(phrase: str) -> str:
    return " ".join(phrase.split()).strip(" .,;:")


def _glue(text: str, more: str) -> str:
    """Append with one space between words, and none before a comma."""
    more = more.strip()
    if text and more and not text.endswith((" ", "\n")) and more[0] not in ",.;:":
        text += " "
    return text + more
