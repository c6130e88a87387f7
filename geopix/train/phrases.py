"""The frozen LLM's states of referring phrases, computed once, to train the mask side alone (docs/log.md)."""

from __future__ import annotations

from collections.abc import Iterable

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
def class_words(model: GeoPixModel, dialogue: Dialogue, names: Iterable[str]) -> Tensor:
    """The LLM's embeddings of class names, several tokens averaged, and of "ground" last: (classes + 1, hidden)."""
    rows = []
    for name in (*names, "ground"):
        ids = torch.tensor([dialogue.tokenizer(f" {name}", add_special_tokens=False).input_ids], device=model.device)
        rows.append(model.language.embed(ids)[0].float().mean(dim=0))
    return torch.stack(rows)
