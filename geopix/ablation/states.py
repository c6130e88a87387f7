"""What one language side says at the segmentation tokens, read once from whole dialogues and kept (§V-F)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from geopix.ablation.plan import Plan
from geopix.data.mixture import SHARES, ask
from geopix.dialogue import Dialogue
from geopix.model.geopix import GeoPixModel
from geopix.model.llm import branching
from geopix.records import Turn
from geopix.train.batches import pack
from geopix.train.features import FeatureStore

Watch = Callable[[str, int, int], None]
"""Told what is done, how much of it, and how much there is."""

AT_ONCE = 8
"""Windows that the language model reads together."""
IN_A_FILE = 64
"""Windows whose states are written together; a killed run loses at most these."""


class CacheError(ValueError):
    """Cached states that can't be made or used."""


@dataclass(frozen=True)
class Job:
    """A window and what is asked about it: ``place`` in the store number ``store``."""

    store: int
    place: int
    turns: tuple[Turn, ...]


@dataclass(frozen=True)
class States:
    """States of n targets: ``states`` (n, L * tokens per scale, hidden), and of each the number of its ``store``, its
    window's ``place`` there and which ``target`` of the window it is, all (n,)."""

    states: Tensor
    store: Tensor
    place: Tensor
    target: Tensor


def jobs(plan: Plan, stores: Sequence[FeatureStore]) -> list[Job]:
    """The windows whose states are kept, chosen by the plan's seed, and the questions about them.

    Raises:
        CacheError: If a store holds too few windows with objects, or a kind of question is unknown.
    """
    if unknown := sorted(plan.questions.keys() - SHARES.keys()):
        raise CacheError(f"questions: there is no kind {unknown[0]!r}; there are {', '.join(SHARES)}")
    found = []
    for number, (name, count) in enumerate(plan.windows.items()):
        facts = stores[number].facts
        able = [place for place, one in enumerate(facts) if one["instances"]]
        if len(able) < count:
            raise CacheError(f"windows: the store {name!r} has {len(able):,} windows with objects, not {count:,}")
        for place in sorted(np.random.default_rng((plan.seed, number)).permutation(able)[:count].tolist()):
            rng = np.random.default_rng((plan.seed, number, place))
            turns = ask(facts[place], plan.dialogues, rng, plan.questions)
            found.append(Job(number, place, tuple(turn for turn in turns if turn.targets)))
    return [job for job in found if job.turns]


def key_of(done: Sequence[Job], stores: Sequence[FeatureStore], model: str) -> str:
    """Names a cache by the model, the windows and the questions: twelve hexadecimal digits."""
    told = [[stores[job.store].facts[job.place]["key"], [[t.question, t.answer] for t in job.turns]] for job in done]
    return hashlib.sha256(json.dumps([model, told]).encode()).hexdigest()[:12]


def cached(
    model: GeoPixModel,
    dialogue: Dialogue,
    stores: Sequence[FeatureStore],
    todo: Sequence[Job],
    folder: Path,
    watch: Watch,
) -> States:
    """The states of all jobs, read now where no file holds them yet.

    Args:
        model: In evaluation mode.
        dialogue: Its own.
        stores: Features of the windows.
        todo: See `jobs`.
        folder: One for every `key_of`; a file is there whole or not at all.
        watch: Told how many windows are read.

    Raises:
        CacheError: If a file is damaged.
    """

    def tell(before: int, done: int) -> None:
        watch("reading dialogues", before + done, len(todo))

    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for first in range(0, len(todo), IN_A_FILE):
        path = folder / f"{first:06d}.safetensors"
        if not path.is_file():
            made = _read_jobs(model, dialogue, stores, todo[first : first + IN_A_FILE], partial(tell, first))
            staging = path.with_suffix(".part")
            save_file(vars(made), staging)
            staging.replace(path)
        parts.append(_checked(path, todo[first : first + IN_A_FILE]))
    return States(*(torch.cat(column) for column in zip(*(vars(part).values() for part in parts), strict=True)))


@torch.no_grad()
def dialogue_states(
    model: GeoPixModel, dialogue: Dialogue, features: Tensor, asked: Sequence[Sequence[Turn]]
) -> list[Tensor]:
    """What the LLM thinks at the segmentation tokens of given answers, each question asked alone about its image.

    Args:
        features: (B, L, patches, channels) of the encoder.
        asked: Of every image its questions with their answers; they share the image and do not see each other.

    Returns:
        Of every image (targets of all its questions, L * tokens per scale, hidden).
    """
    seen = model.see_features(features.to(model.device, model.dtype))
    packed = [pack([dialogue.encode([turn]) for turn in turns], dialogue.image_id) for turns in asked]
    shape = len(packed), max(len(item.ids) for item in packed)
    ids, positions = torch.full(shape, dialogue.end_id), torch.zeros(shape, dtype=torch.long)
    branches = torch.full(shape, -1)
    for row, item in enumerate(packed):
        size = len(item.ids)
        ids[row, :size] = torch.tensor(item.ids)
        positions[row, :size] = torch.tensor(item.positions)
        branches[row, :size] = torch.tensor(item.branches)
    ids, positions, branches = (tensor.to(model.device) for tensor in (ids, positions, branches))
    hidden = model.language(model.language.embed(ids, seen.tokens), branching(branches), positions=positions)
    return [
        model.segmentation_embeddings(hidden[row : row + 1], torch.tensor([item.groups], device=model.device))[0]
        for row, item in enumerate(packed)
    ]


def _read_jobs(
    model: GeoPixModel,
    dialogue: Dialogue,
    stores: Sequence[FeatureStore],
    todo: Sequence[Job],
    tell: Callable[[int], None],
) -> States:
    states: list[Tensor] = []
    told: list[tuple[int, int, int]] = []
    for first in range(0, len(todo), AT_ONCE):
        some = todo[first : first + AT_ONCE]
        features = torch.stack([stores[job.store][job.place].features for job in some])
        states += dialogue_states(model, dialogue, features, [job.turns for job in some])
        told += [(job.store, job.place, target) for job in some for turn in job.turns for target in turn.targets]
        tell(first + len(some))
    store, place, target = torch.tensor(told).unbind(dim=1)
    return States(torch.cat(states).cpu(), store.contiguous(), place.contiguous(), target.contiguous())


def _checked(path: Path, todo: Sequence[Job]) -> States:
    """The states of a file, if it holds what the jobs ask for.

    Raises:
        CacheError: If it does not.
    """
    wanted = [(job.store, job.place, target) for job in todo for turn in job.turns for target in turn.targets]
    try:
        found: Mapping[str, Tensor] = load_file(path)
        states = States(found["states"], found["store"], found["place"], found["target"])
        told = torch.stack([states.store, states.place, states.target], dim=1).tolist()
    except (OSError, SafetensorError, KeyError, RuntimeError) as error:
        raise CacheError(f"{path} is damaged ({error}); delete it, it is made again") from error
    if [tuple(one) for one in told] != wanted or len(states.states) != len(wanted) or states.states.ndim != 3:
        raise CacheError(f"{path} holds states of other targets than it should; delete it, it is made again")
    if not torch.isfinite(states.states).all():
        raise CacheError(f"{path} holds numbers that are not finite; delete it, it is made again")
    return states
