"""How words are chosen (around Fig. 1): which may be said, when an answer is over, and what is worth reading ahead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from geopix.dialogue import Dialogue
from geopix.model.llm import LanguageModel

LOOK_AHEAD = 12
"""Tokens guessed at a time, once the first guess at the whole answer failed."""


@dataclass
class Said:
    """What a model generated for one question."""

    ids: list[int] = field(default_factory=list)
    embeddings: list[Tensor] = field(default_factory=list)
    """For every segmentation group (L * tokens per scale, hidden), in the order of the groups."""


class Manners:
    """Greedy, so that an answer is always the same; a guess at what follows changes how fast it comes, nothing else.

    Args:
        language: The language model, in evaluation mode.
        dialogue: Its words.
        written_boxes: Whether it may write boxes, see `geopix.model.geopix.GeoPixConfig`.
        group_at_once: Whether a segmentation group may be read ahead.
        look_ahead: Whether anything may.
        max_answer: Tokens of an answer, segmentation groups aside.
        max_masks: Masks of an answer.
    """

    def __init__(
        self,
        language: LanguageModel,
        dialogue: Dialogue,
        written_boxes: bool,
        group_at_once: bool = True,
        look_ahead: bool = True,
        max_answer: int = 256,
        max_masks: int = 64,
    ) -> None:
        self.language, self.dialogue, self.written_boxes = language, dialogue, written_boxes
        self.group_at_once, self.look_ahead = group_at_once, look_ahead
        self.max_answer, self.max_masks = max_answer, max_masks

    def logits(self, hidden: Tensor) -> Tensor:
        """Last hidden states (n, hidden) to the logits (n, vocabulary) of words that may be said.

        Nobody says image tokens, or a group from its middle. Where a model writes no boxes, a group is as likely as
        the box it stands for.
        """
        logits: Tensor = self.language.words(hidden)
        first, *rest = self.dialogue.group_ids
        logits[..., [self.dialogue.image_id, *rest]] = -torch.inf
        if not self.written_boxes:
            opening = list(self.dialogue.box_ids)
            logits[..., first] = torch.maximum(logits[..., first], logits[..., opening].amax(dim=-1))
            logits[..., opening] = -torch.inf
        return logits

    def next(self, logits: Tensor) -> int:
        """The word to say, of the logits of all, (vocabulary,)."""
        return int(logits.argmax())

    def choose(self, logits: Tensor, places: Sequence[tuple[int, int]]) -> list[int]:
        """The same of many, (n, vocabulary): the words at n places, each a question and how far its answer is."""
        return list(logits.argmax(dim=-1).tolist())

    def ends(self, token: int, said: Said) -> bool:
        """Whether an answer is over before this token: the model is done, or has said as much as it may."""
        n_groups, size = len(said.embeddings), len(self.dialogue.group_ids)
        if token == self.dialogue.group_ids[0]:
            return n_groups >= self.max_masks
        return token == self.dialogue.end_id or len(said.ids) - size * n_groups >= self.max_answer

    def draft(self, question: str) -> list[int]:
        """A guess at a whole answer, before anything is said, see `Dialogue.draft`."""
        return self.dialogue.draft(question) if self.look_ahead else []

    def guess(self, before: list[int]) -> list[int]:
        """What probably follows these tokens: an answer repeats the question's phrases, and its own turns of speech.

        The guess is what followed when the last words were said before.
        """
        for length in (2, 1) if self.look_ahead else ():
            tail = before[-length:]
            for start in range(len(before) - length - 1, -1, -1) if length > 1 else range(len(before) - 1):
                if before[start : start + length] == tail:
                    return self.welcome(before[start + length : start + length + LOOK_AHEAD])
        return []

    def welcome(self, guess: list[int]) -> list[int]:
        """As much of a guess as may be read ahead."""
        never = {self.dialogue.image_id, self.dialogue.end_id}
        if not self.group_at_once:
            never.add(self.dialogue.group_ids[0])
        return guess[: next((place for place, one in enumerate(guess) if one in never), len(guess))]


def agree(
    guess: Sequence[int],
    states: Tensor,
    said: Said,
    group: Sequence[int],
    choose: Callable[[int], int],
    ends: Callable[[int, Said], bool],
) -> tuple[int, int]:
    """Say as much of a guess as the model would have said itself.

    Args:
        guess: Tokens that were read ahead.
        states: (1 + len(guess), hidden), each predicting what follows it.
        said: Extended in place.
        group: The tokens of a segmentation group; a group is kept whole or not at all.
        choose: The word that the state at a place predicts.
        ends: Whether an answer is over before a token.

    Returns:
        How many tokens were kept, and the word that comes after them.
    """
    kept, size = 0, len(group)
    token = choose(0)
    while not ends(token, said):
        if token == group[0] and list(guess[kept : kept + size]) == list(group):
            said.embeddings.append(states[kept : kept + size])
            said.ids += group
            kept += size
        elif token != group[0] and kept < len(guess) and token == guess[kept]:
            said.ids.append(token)
            kept += 1
        else:
            break
        token = choose(kept)
    return kept, token
