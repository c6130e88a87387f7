"""Many questions answered side by side (around Fig. 1, for Tables II to VIII): one cache, no padding, never idle.

All dialogues lie behind one another in one sequence, and an attention mask says who sees what, as in training
(`geopix.model.llm.branching`). So an image is read once however many questions there are about it, dialogues may be
of any length and read ahead by any number of tokens without padding each other, and where one ends another begins.
What a dialogue reads is what it would read alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from geopix.dialogue import Dialogue
from geopix.manners import Manners, Said, agree
from geopix.model.geopix import Seen
from geopix.model.llm import LanguageModel

AT_ONCE = 16
"""Questions in work at a time: more gain little on a CPU, where sixteen keep it busy."""
_REFILL = 4
"""New questions begin when at least one place in so many is free: their images are then read together."""
_SPARE = 32
"""Tokens that all may guess together in a pass: few speakers wait for the machine, many keep it busy."""
_NOBODY = -1
"""The owner of what nobody sees any more."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One question.

    Args:
        ids: Up to where the assistant starts to speak, the image's places included.
        draft: A guess at the answer, see `Dialogue.draft`.
        image: The number of its image.
        given: Whether the draft is the answer itself, read in one pass whatever the model would have said.
    """

    ids: list[int]
    draft: list[int]
    image: int
    given: bool = False


@dataclass
class _Speaker:
    """A question that is being answered: what it reads next, and what it hopes to say."""

    question: int
    image: int
    position: int
    read: list[int]
    guess: list[int]
    heard: list[int]
    given: bool = False
    said: Said = field(default_factory=Said)
    opened: Tensor | None = None

    @property
    def tokens(self) -> list[int]:
        return [*self.read, *self.guess]


class Batch:
    """Answers questions as places become free.

    Args:
        language: The language model, in evaluation mode.
        dialogue: Its words.
        look: What is seen on the images of these numbers, as a batch; every image is looked at once.
        manners: How words are chosen.
        at_once: Questions in work at a time.
    """

    def __init__(
        self,
        language: LanguageModel,
        dialogue: Dialogue,
        look: Callable[[list[int]], Seen],
        manners: Manners,
        at_once: int = AT_ONCE,
    ) -> None:
        if at_once < 1:
            raise ValueError(f"at least one question must be in work at a time, not {at_once}")
        self._language, self._dialogue, self._look = language, dialogue, look
        self._manners, self._at_once = manners, at_once
        self._cache = DynamicCache()
        self._owners = torch.zeros(0, dtype=torch.long)
        """Who every token of the cache belongs to: question k is 2k, image k is 2k + 1."""
        self._speakers: list[_Speaker] = []
        self._seen: dict[int, Seen] = {}

    @torch.no_grad()
    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Said, Seen]]:
        """Yield every question's number, what was said, and its image as seen, as soon as it is answered.

        Questions about one image follow each other, so that few images are held at a time; within that the longest
        begin first, so that none is left to speak alone at the end.
        """
        longest: Counter[int] = Counter()
        for prompt in prompts:
            longest[prompt.image] = max(longest[prompt.image], len(prompt.ids) + len(prompt.draft))
        waiting = sorted(
            range(len(prompts)),
            key=lambda number: (
                -longest[prompts[number].image],
                prompts[number].image,
                -len(prompts[number].ids) - len(prompts[number].draft),
                number,
            ),
        )
        wanted = Counter(prompt.image for prompt in prompts)
        while waiting or self._speakers:
            free = self._at_once - len(self._speakers)
            if waiting and (not self._speakers or free * _REFILL >= self._at_once):
                self._begin([(number, prompts[number]) for number in waiting[:free]])
                del waiting[:free]
            for speaker in self._step():
                self._drop(2 * speaker.question)
                yield speaker.question, speaker.said, self._seen[speaker.image]
                wanted[speaker.image] -= 1
                if not wanted[speaker.image]:
                    self._drop(2 * speaker.image + 1)
                    del self._seen[speaker.image]
            self._tidy()

    def _begin(self, prompts: list[tuple[int, Prompt]]) -> None:
        """Look at the images that are new, read them, and let the questions in."""
        image_id = self._dialogue.image_id
        new: dict[int, list[int]] = {}
        for number, prompt in prompts:
            start = len(prompt.ids) - prompt.ids[::-1].index(image_id)  # behind the image
            if prompt.image not in self._seen:
                new.setdefault(prompt.image, prompt.ids[:start])
            guess = prompt.draft if prompt.given else self._manners.welcome(prompt.draft)
            heard = [*prompt.ids[start:], *prompt.draft]
            self._speakers.append(_Speaker(number, prompt.image, start, prompt.ids[start:], guess, heard, prompt.given))
        if not new:
            return
        seen = self._look(list(new))
        self._seen.update({image: seen.rows([row]) for row, image in enumerate(new)})
        read = torch.tensor(
            list(new.values()), device=seen.tokens.device
        )  # the words before an image are always the same
        own = DynamicCache()
        self._language(self._language.embed(read, seen.tokens), cache=own)
        layer: Any
        for place, layer in enumerate(own.layers):  # one image behind the other: (B, heads, n, d) to (1, heads, B n, d)
            keys, values = (part.transpose(0, 1).flatten(1, 2)[None] for part in (layer.keys, layer.values))
            self._cache.update(keys, values, place)
        owners = torch.tensor([2 * image + 1 for image in new])
        self._owners = torch.cat([self._owners, owners.repeat_interleave(read.shape[1])])

    def _step(self) -> list[_Speaker]:
        """One pass through the model for everybody; those who are done leave, and are returned."""
        group, size = list(self._dialogue.group_ids), len(self._dialogue.group_ids)
        states = self._read()
        tails: list[Tensor] = []
        for speaker, own in zip(self._speakers, states, strict=True):
            if speaker.opened is not None:
                speaker.said.embeddings.append(torch.cat([speaker.opened, own[: size - 1]]))
            tails.append(own[len(speaker.read) - 1 :])
        words = self._words(tails)
        done, start = [], len(self._owners) - sum(len(speaker.tokens) for speaker in self._speakers)
        for speaker, tail, mine in zip(self._speakers, tails, words, strict=True):
            ends = self._over if speaker.given else self._manners.ends
            kept, token = agree(speaker.guess, tail, speaker.said, group, mine.__getitem__, ends)
            end = start + len(speaker.tokens)
            self._owners[end - len(speaker.guess) + kept : end] = _NOBODY
            start = end
            if ends(token, speaker.said):
                done.append(speaker)
                continue
            speaker.position += len(speaker.read) + kept
            speaker.opened = tail[kept : kept + 1] if token == group[0] else None
            speaker.read = group if token == group[0] else [token]
            speaker.said.ids += speaker.read
        gone = {speaker.question for speaker in done}
        self._speakers = [speaker for speaker in self._speakers if speaker.question not in gone]
        for speaker in self._speakers:
            speaker.guess = self._guess(speaker)
        return done

    def _words(self, tails: Sequence[Tensor]) -> list[list[int]]:
        """For every speaker what follows each of its states (1 + guess, hidden): chosen, or as given."""
        both = list(zip(self._speakers, tails, strict=True))
        free = [(speaker, tail) for speaker, tail in both if not speaker.given]
        places = [(one.question, len(one.said.ids) + ahead) for one, tail in free for ahead in range(len(tail))]
        logits = self._manners.logits(torch.cat([tail for _, tail in free])) if free else None
        chosen = iter([] if logits is None else self._manners.choose(logits, places))
        return [
            [*speaker.guess, self._dialogue.end_id] if speaker.given else [next(chosen) for _ in tail]
            for speaker, tail in both
        ]

    def _over(self, token: int, said: Said) -> bool:
        """Whether a given answer is over before this token."""
        return token == self._dialogue.end_id

    def _guess(self, speaker: _Speaker) -> list[int]:
        """What a speaker probably says next, no longer than its share; a group that it reaches into is whole."""
        share, group = _SPARE // len(self._speakers), self._dialogue.group_ids
        guess = self._manners.guess([*speaker.heard, *speaker.said.ids]) if share else []
        while 0 < share < len(guess) and guess[share] in group[1:]:
            share += 1
        return guess[:share]

    def _read(self) -> list[Tensor]:
        """Everybody's tokens, read in one pass; last hidden states (n, hidden) for each."""
        device = self._language.causal.device
        lengths = torch.tensor([len(speaker.tokens) for speaker in self._speakers])
        ids = [token for speaker in self._speakers for token in speaker.tokens]
        owners = torch.tensor([2 * speaker.question for speaker in self._speakers]).repeat_interleave(lengths)
        images = torch.tensor([2 * speaker.image + 1 for speaker in self._speakers]).repeat_interleave(lengths)
        positions = torch.cat(
            [speaker.position + torch.arange(length) for speaker, length in zip(self._speakers, lengths, strict=True)]
        )
        self._owners = torch.cat([self._owners, owners])
        sees = (self._owners == owners[:, None]) | (self._owners == images[:, None])
        sees[:, -len(ids) :] &= torch.ones(len(ids), len(ids), dtype=torch.bool).tril()
        embedded = self._language.embed(torch.tensor([ids], device=device))
        hidden: Tensor = self._language(embedded, sees[None, None].to(device), self._cache, positions[None].to(device))
        return list(hidden[0].split(lengths.tolist()))

    def _drop(self, owner: int) -> None:
        self._owners[self._owners == owner] = _NOBODY

    def _tidy(self) -> None:
        """Let go of what nobody sees, once it is a good part of the cache."""
        seen = self._owners != _NOBODY
        if not len(seen) or 4 * int(seen.sum()) > 3 * len(seen):
            return
        self._owners = self._owners[seen]
        if not len(self._owners):
            self._cache = DynamicCache()
            return
        layer: Any
        for layer in self._cache.layers:
            keep = seen.nonzero()[:, 0].to(layer.keys.device)
            layer.keys, layer.values = layer.keys[:, :, keep], layer.values[:, :, keep]
