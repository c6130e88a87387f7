"""What a language side thinks at the words of right answers, read once and kept: what the second look is fed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from geopix.dialogue import Dialogue
from geopix.model.geopix import GeoPixModel
from geopix.train.answers import AT_ONCE, AnswersError, Job, Watch, dialogue_hidden, in_files
from geopix.train.batches import Packed, Source, pack

_UNREAD = (-1, -1)
"""Stands for the place of a window that could not be read."""


@dataclass(frozen=True)
class Wordings:
    """n words that should be said: the ``states`` (n, hidden) that predict them, their ``ids``, and of each the number
    of its ``store`` and its window's ``place`` there (-1 where it could not be read), all (n,)."""

    states: Tensor
    ids: Tensor
    store: Tensor
    place: Tensor


def cached(
    model: GeoPixModel,
    dialogue: Dialogue,
    stores: Sequence[Source],
    todo: Sequence[Job],
    folder: Path,
    watch: Watch,
) -> Wordings:
    """The states at all words of all jobs' answers, read now where no file holds them yet.

    Args:
        model, dialogue, stores, todo, folder, watch: See `geopix.train.answers.cached`.

    Raises:
        AnswersError: If a file is damaged.
    """
    check = partial(_checked, dialogue)
    parts = in_files(todo, folder, partial(_read_jobs, model, dialogue, stores), check, watch)
    return Wordings(*(torch.cat(column) for column in zip(*(vars(part).values() for part in parts), strict=True)))


def _read_jobs(
    model: GeoPixModel,
    dialogue: Dialogue,
    stores: Sequence[Source],
    todo: Sequence[Job],
    tell: Callable[[int], None],
) -> Wordings:
    keys = [[facts["key"] for facts in store.facts] for store in stores]
    states: list[Tensor] = []
    ids: list[int] = []
    told: list[tuple[int, int]] = []
    for first in range(0, len(todo), AT_ONCE):
        some = todo[first : first + AT_ONCE]
        images = [stores[job.store].look([job.place], [0])[0] for job in some]
        features = torch.stack([image.features for image in images])
        hidden, packed = dialogue_hidden(model, dialogue, features, [job.turns for job in some])
        for row, (job, image, item) in enumerate(zip(some, images, packed, strict=True)):
            before, words = _said(item)
            read = image.facts["key"] == keys[job.store][job.place]  # else another came in its place
            states.append(hidden[row, torch.tensor(before, device=hidden.device)].cpu())
            ids += words
            told += [(job.store, job.place) if read else _UNREAD] * len(words)
        tell(first + len(some))
    store, place = torch.tensor(told).unbind(dim=1)
    return Wordings(torch.cat(states), torch.tensor(ids), store.contiguous(), place.contiguous())


def _said(item: Packed) -> tuple[list[int], list[int]]:
    """Where the words of the answers are predicted, and which they are."""
    places = [place for place, said in enumerate(item.answers) if said]
    return [place - 1 for place in places], [item.ids[place] for place in places]


def _checked(dialogue: Dialogue, path: Path, todo: Sequence[Job]) -> Wordings:
    """The words of a file, if it holds what the jobs ask for.

    Raises:
        AnswersError: If it does not.
    """
    wanted = []
    for job in todo:
        _, words = _said(pack([dialogue.encode([turn]) for turn in job.turns], dialogue.image_id))
        wanted += [(word, job.store, job.place) for word in words]
    try:
        found: Mapping[str, Tensor] = load_file(path)
        kept = Wordings(found["states"], found["ids"], found["store"], found["place"])
        told = torch.stack([kept.ids, kept.store, kept.place], dim=1).tolist()
    except (OSError, SafetensorError, KeyError, RuntimeError) as error:
        raise AnswersError(f"{path} is damaged ({error}); delete it, it is made again") from error
    as_wanted = len(told) == len(wanted) == len(kept.states) and all(
        word == other[0] and tuple(place) in (other[1:], _UNREAD)
        for (word, *place), other in zip(told, wanted, strict=True)
    )
    if not as_wanted or kept.states.ndim != 2:
        raise AnswersError(f"{path} holds other words than it should; delete it, it is made again")
    if not torch.isfinite(kept.states).all():
        raise AnswersError(f"{path} holds numbers that are not finite; delete it, it is made again")
    return kept
