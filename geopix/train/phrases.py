"""The frozen LLM's states of referring phrases, computed once, to train the mask side alone (docs/log.md)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from geopix.classes import wordings
from geopix.dialogue import GROUP, PHRASE, Dialogue
from geopix.model.geopix import GeoPixModel
from geopix.records import Turn
from geopix.train.batches import Source, counted_off


def all_phrases(stores: Iterable[Source]) -> list[str]:
    """Every phrase that a stage may draw, in every wording of its noun."""
    found: set[str] = set()
    for store in stores:
        for facts in store.facts:
            for index, instance in enumerate(facts["instances"]):
                for phrase in (*instance["phrases"], counted_off(facts, index)):
                    found.update(phrase.format(noun) for noun in wordings(instance["class"]))
    return sorted(found)


@torch.no_grad()
def phrase_states(model: GeoPixModel, dialogue: Dialogue, phrases: list[str], batch_size: int = 64) -> Tensor:
    """What the LLM, seeing no image, thinks at the segmentation tokens after "<p> phrase".

    Returns:
        (phrases, L * tokens per scale, hidden) bfloat16.
    """
    states = []
    for start in range(0, len(phrases), batch_size):
        encoded = [
            dialogue.encode([Turn(f"Segment {phrase}.", f"{PHRASE} {phrase}{GROUP}.", "segment")], with_image=False)
            for phrase in phrases[start : start + batch_size]
        ]
        length = max(len(item.ids) for item in encoded)
        ids = torch.full((len(encoded), length), dialogue.end_id)
        mask = torch.zeros(len(encoded), length, dtype=torch.long)
        for row, item in enumerate(encoded):
            ids[row, : len(item.ids)] = torch.tensor(item.ids)
            mask[row, : len(item.ids)] = 1
        groups = torch.tensor([item.groups for item in encoded])
        ids, mask, groups = (tensor.to(model.device) for tensor in (ids, mask, groups))
        hidden = model.language(model.language.embed(ids), mask)
        states.append(model.segmentation_embeddings(hidden, groups)[:, 0].to(torch.bfloat16))
    return torch.cat(states)


@torch.no_grad()
def class_words(model: GeoPixModel, dialogue: Dialogue, names: Iterable[str], told: Iterable[int] = ()) -> Tensor:
    """The LLM's embeddings: of class names, several tokens averaged, of "ground", of told tokens; (words, hidden)."""
    rows = []
    for name in (*names, "ground"):
        ids = torch.tensor([dialogue.tokenizer(f" {name}", add_special_tokens=False).input_ids], device=model.device)
        rows.append(model.language.embed(ids)[0].float().mean(dim=0))
    told_ids = torch.tensor([list(told)], dtype=torch.long, device=model.device)
    return torch.cat([torch.stack(rows), model.language.embed(told_ids)[0].float()])


@dataclass(frozen=True)
class ToldWords:
    """The LLM's tokens that tell images with texts apart: in the texts of some of them, and of at most a third.

    ``weights`` by the token's id: the rarer, the heavier.
    """

    weights: dict[int, float]
    dialogue: Dialogue

    @classmethod
    def of_stores(cls, stores: Iterable[Source], dialogue: Dialogue, fewest: int = 5) -> ToldWords | None:
        """Of all that was said of all images, but for what fewer than ``fewest`` say; None if nothing is left."""
        told = [_text_tokens(facts, dialogue) for store in stores for facts in store.facts]
        told = [tokens for tokens in told if tokens]
        often = Counter(token for tokens in told for token in tokens)
        kept = sorted(token for token, count in often.items() if fewest <= count <= len(told) / 3)
        return cls({token: math.log(len(told) / often[token]) for token in kept}, dialogue) if kept else None

    def shares(self, facts: dict[str, Any]) -> Tensor:
        """(words,) what share of what is said about an image each token has; zeros where nothing is."""
        said = _text_tokens(facts, self.dialogue)
        row = torch.tensor([weight if token in said else 0.0 for token, weight in self.weights.items()])
        return row / row.sum().clamp(min=1e-6)


def _text_tokens(facts: dict[str, Any], dialogue: Dialogue) -> set[int]:
    """The tokens of an image's captions and answers, as they stand within a sentence."""
    texts = [*facts["captions"], *(turn[1] for turn in facts["turns"])]
    if not texts:
        return set()
    ids = dialogue.tokenizer([f" {text.strip(' .').lower()}" for text in texts], add_special_tokens=False).input_ids
    return {token for row in ids for token in row}
