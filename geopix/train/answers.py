"""What a language side says at the segmentation tokens of right answers, read once and kept (§III-C, §V-F)."""

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

from geopix.data.mixture import KINDS, ask
from geopix.dialogue import Dialogue
from geopix.model.geopix import GeoPixModel
from geopix.model.llm import branching
from geopix.records import Turn
from geopix.train.batches import Source, pack

Watch = Callable[[str, int, int], None]
"""Told what is done, how much of it, and how much there is."""

AT_ONCE = 8
"""Windows that the language model reads together."""
IN_A_FILE = 64
"""Windows whose states are written together; a killed run loses at most these."""
_DRAWS, _DRAWS_AND_SPEAKS = ("mask_predictor.", "scale_projectors."), "mask_predictor.ordinal."
UNREAD = (-1, -1, -1)
"""Stands for the target of a window that could not be read."""


class AnswersError(ValueError):
    """Kept states that can't be made or used."""


@dataclass(frozen=True)
class Job:
    """A window and what is asked about it: ``place`` in the store number ``store``."""

    store: int
    place: int
    turns: tuple[Turn, ...]


@dataclass(frozen=True)
class Answers:
    """States of n targets: ``states`` (n, L * tokens per scale, hidden), and of each the number of its ``store``, its
    window's ``place`` there and which ``target`` of the window it is, all (n,). Where the window could not be read all
    three are -1."""

    states: Tensor
    store: Tensor
    place: Tensor
    target: Tensor


def jobs(stores: Sequence[Source], dialogues: int, questions: Mapping[str, float], seed: int) -> list[Job]:
    """What is asked about every window that has masks, drawn by the seed.

    Args:
        stores: Where the windows come from.
        dialogues: Questions about a window, each a dialogue of its own.
        questions: Their kinds, with shares; others are not asked.
        seed: Of the choice.

    Raises:
        AnswersError: If a kind of question is unknown, or none asks for a mask.
    """
    if unknown := sorted(questions.keys() - set(KINDS)):
        raise AnswersError(f"questions: there is no kind {unknown[0]!r}; there are {', '.join(KINDS)}")
    found = []
    for number, store in enumerate(stores):
        facts = list(store.facts)
        for place in store.places(masked=True):
            turns = ask(facts[place], dialogues, np.random.default_rng((seed, number, place)), questions)
            found.append(Job(number, place, tuple(turn for turn in turns if turn.targets)))
    found = [job for job in found if job.turns]
    if not found:
        raise AnswersError("questions: none of these asks for a mask of any window; give segment or all a share")
    return found


def key_of(done: Sequence[Job], stores: Sequence[Source], model: str) -> str:
    """Names a cache by the model, the windows and the questions: twelve hexadecimal digits."""
    keys = [[str(facts["key"]) for facts in store.facts] for store in stores]
    told = [[keys[job.store][job.place], [[turn.question, turn.answer] for turn in job.turns]] for job in done]
    return hashlib.sha256(json.dumps([model, told]).encode()).hexdigest()[:12]


def digest(model: GeoPixModel, speaking: bool = False) -> str:
    """Names a model by all of its tensors, or by those that its answers come from: sixteen hexadecimal digits."""
    known = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if speaking and name.startswith(_DRAWS) and not name.startswith(_DRAWS_AND_SPEAKS):
            continue
        known.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        known.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return known.hexdigest()[:16]


def cached(
    model: GeoPixModel,
    dialogue: Dialogue,
    stores: Sequence[Source],
    todo: Sequence[Job],
    folder: Path,
    watch: Watch,
) -> Answers:
    """The states of all jobs, read now where no file holds them yet.

    Args:
        model: In evaluation mode.
        dialogue: Its own.
        stores: Features of the windows.
        todo: See `jobs`.
        folder: One for every `key_of`; a file is there whole or not at all.
        watch: Told how many windows are read.

    Raises:
        AnswersError: If a file is damaged.
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
    return Answers(*(torch.cat(column) for column in zip(*(vars(part).values() for part in parts), strict=True)))


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
    stores: Sequence[Source],
    todo: Sequence[Job],
    tell: Callable[[int], None],
) -> Answers:
    keys = [[facts["key"] for facts in store.facts] for store in stores]
    states: list[Tensor] = []
    told: list[tuple[int, int, int]] = []
    for first in range(0, len(todo), AT_ONCE):
        some = todo[first : first + AT_ONCE]
        images = [stores[job.store].look([job.place], [0])[0] for job in some]
        features = torch.stack([image.features for image in images])
        states += dialogue_states(model, dialogue, features, [job.turns for job in some])
        for job, image in zip(some, images, strict=True):
            read = image.facts["key"] == keys[job.store][job.place]  # else another came in its place
            told += [place if read else UNREAD for place in _places(job)]
        tell(first + len(some))
    store, place, target = torch.tensor(told).unbind(dim=1)
    return Answers(torch.cat(states).cpu(), store.contiguous(), place.contiguous(), target.contiguous())


def _places(job: Job) -> list[tuple[int, int, int]]:
    """Of every target of a job its store, window and number there, in the order of the questions."""
    return [(job.store, job.place, target) for turn in job.turns for target in turn.targets]


def _checked(path: Path, todo: Sequence[Job]) -> Answers:
    """The states of a file, if it holds what the jobs ask for.

    Raises:
        AnswersError: If it does not.
    """
    wanted = [place for job in todo for place in _places(job)]
    try:
        found: Mapping[str, Tensor] = load_file(path)
        states = Answers(found["states"], found["store"], found["place"], found["target"])
        told = torch.stack([states.store, states.place, states.target], dim=1).tolist()
    except (OSError, SafetensorError, KeyError, RuntimeError) as error:
        raise AnswersError(f"{path} is damaged ({error}); delete it, it is made again") from error
    as_wanted = len(told) == len(wanted) == len(states.states) and all(
        tuple(one) in (other, UNREAD) for one, other in zip(told, wanted, strict=True)
    )
    if not as_wanted or states.states.ndim != 3:
        raise AnswersError(f"{path} holds states of other targets than it should; delete it, it is made again")
    if not torch.isfinite(states.states).all():
        raise AnswersError(f"{path} holds numbers that are not finite; delete it, it is made again")
    return states
