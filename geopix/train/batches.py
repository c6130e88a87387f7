"""What a training step is fed, as a function of (seed, step): a resumed run sees what it would have seen (§III-C)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from geopix.classes import ClassVocabulary, wordings
from geopix.config import Stage
from geopix.data.askable import MOST_COUNTED_OFF
from geopix.data.describe import reading_order
from geopix.data.mixture import KINDS, SHARES, ask
from geopix.data.turns import VIEWS
from geopix.dialogue import Dialogue, Encoded
from geopix.losses import CellFacts, cell_facts
from geopix.records import Instance, Turn
from geopix.train.features import CachedImage
from geopix.train.order import Order


class Source(Protocol):
    """Images by number: a `geopix.train.features.FeatureStore` or a `geopix.train.sets.SetSource`.

    ``unreadable`` gathers what could not be read, for whoever reports it.
    """

    unreadable: list[str]

    @property
    def facts(self) -> Iterable[dict[str, Any]]:
        """What is true of every image."""

    def __len__(self) -> int: ...

    def places(self, masked: bool) -> Sequence[int]:
        """The images to draw from; those with a mask, where the stage is about masks."""

    def look(self, places: Sequence[int], views: Sequence[int]) -> list[CachedImage]:
        """Some images, each in a view of `geopix.data.turns`."""


@dataclass(frozen=True)
class Batch:
    """One step's input; shapes in the order of images B, targets m.

    ``features`` (B, L, patches, channels); ``coverage`` (B, m, 96, 96) in 0..1; ``class_ids`` (B, m);
    ``present`` (B, m) whether a place holds a target; ``cells`` what is true of every cell;
    ``phrases`` B times m strings (mask side alone) and ``rows`` (B, m) where their states are kept; or of whole
    dialogues ``ids``, ``positions``, ``branches`` (see `geopix.model.llm.branching`), ``answers``, all (B, n), and
    ``groups`` (B, m). ``told`` (B, words) are the shares of the words that were said of the image (projector alone).
    ``names`` says which images, as "store: key".
    """

    features: Tensor
    coverage: Tensor
    class_ids: Tensor
    present: Tensor
    cells: CellFacts
    phrases: list[list[str]] | None = None
    rows: Tensor | None = None
    ids: Tensor | None = None
    positions: Tensor | None = None
    branches: Tensor | None = None
    answers: Tensor | None = None
    groups: Tensor | None = None
    told: Tensor | None = None
    names: tuple[str, ...] = ()


class Sampler:
    """Gives micro-batches by number; a step of the optimiser has `Stage.accumulate` of them.

    A stage told in steps draws its images with replacement; one told in epochs goes through `Order`, and what is asked
    about an image depends on its position alone, however many images a micro-batch has and whichever device it is on.
    ``stage`` is the given one, told in steps.

    Args:
        stage: How many images, turns and targets.
        stores: The sources that the stage names.
        vocabulary: Class slots.
        dialogue: Needed for the dialogue stages only.
        grid_side: Cells along a side of the features.
        told: For the projector alone, how the words said of an image share it, see `geopix.train.phrases.ToldWords`;
            None where nothing was said of any, and images without masks have nothing to teach.
    """

    def __init__(
        self,
        stage: Stage,
        stores: Mapping[str, Source],
        vocabulary: ClassVocabulary,
        dialogue: Dialogue | None,
        grid_side: int,
        told: Callable[[dict[str, Any]], Tensor] | None = None,
    ) -> None:
        self.stage, self.vocabulary, self.dialogue, self.grid_side = stage, vocabulary, dialogue, grid_side
        self.told = told
        self.stores: list[Source] = [stores[name] for name in stage.sources]
        shares = np.array(list(stage.sources.values()), dtype=np.float64)
        self.shares = shares / shares.sum()
        self.kinds = {**SHARES, **stage.questions}
        if unknown := self.kinds.keys() - set(KINDS):
            raise ValueError(f"questions: there is no kind {min(unknown)!r}; there are {sorted(KINDS)}")
        masked = stage.language != "dialogue" and told is None
        self.places = [store.places(masked=masked) for store in self.stores]
        for name, places in zip(stage.sources, self.places, strict=True):
            if not places:
                raise ValueError(f"the store {name!r} holds nothing that a stage of {stage.language} can use")
        self.order = Order(stage.seed, [len(places) for places in self.places], list(stage.sources.values()))
        self.stage = stage.in_steps(len(self.order))

    def batch(self, number: int) -> Batch:
        """A micro-batch, counted through all steps."""
        if self.stage.epochs:
            positions = range(number * self.stage.images, (number + 1) * self.stage.images)
            chosen = [self.order[position] for position in positions]
            rngs = [np.random.default_rng((self.stage.seed, 1, position)) for position in positions]
        else:
            rng = np.random.default_rng((self.stage.seed, number))
            chosen, rngs = [self._draw(rng) for _ in range(self.stage.images)], [rng] * self.stage.images
        images = self._look(chosen, rngs)
        if self.stage.language == "dialogue":
            return self._dialogues(images, rngs)
        if self.stage.language == "words":
            told = None if self.told is None else torch.stack([self.told(image.facts) for image in images])
            return self._assemble(images, [[] for _ in images], told=told)
        meant = [
            [_target(image, rng) for _ in range(self.stage.targets)] for image, rng in zip(images, rngs, strict=True)
        ]
        targets = [[index for index, _ in row] for row in meant]
        return self._assemble(images, targets, phrases=[[phrase for _, phrase in row] for row in meant])

    def _draw(self, rng: np.random.Generator) -> tuple[int, int]:
        source = int(rng.choice(len(self.stores), p=self.shares))
        return source, int(rng.integers(len(self.places[source])))

    def _look(self, chosen: Sequence[tuple[int, int]], rngs: Sequence[np.random.Generator]) -> list[CachedImage]:
        """The images of (source, place among the useful ones) pairs, each source asked once."""
        views = [int(rng.integers(VIEWS)) if self.stage.turned else 0 for rng in rngs]
        found: dict[int, CachedImage] = {}
        for number, store in enumerate(self.stores):
            rows = [row for row, (source, _) in enumerate(chosen) if source == number]
            if rows:
                wanted = [self.places[number][chosen[row][1]] for row in rows]
                found |= zip(rows, store.look(wanted, [views[row] for row in rows]), strict=True)
        return [found[row] for row in range(len(chosen))]

    def _dialogues(self, images: Sequence[CachedImage], rngs: Sequence[np.random.Generator]) -> Batch:
        if self.dialogue is None:
            raise ValueError("a dialogue stage needs a dialogue")
        packed: list[Packed] = []
        targets: list[list[int]] = []
        for image, rng in zip(images, rngs, strict=True):
            dialogues: list[Encoded] = []
            wanted: list[int] = []
            while not dialogues:  # all of a crowd may be more than there are places: then something else is asked
                for _ in range(self.stage.dialogues):
                    turns: list[Turn] = []
                    for turn in ask(image.facts, self.stage.turns, rng, self.kinds):
                        if len(wanted) + len(turn.targets) <= self.stage.targets:
                            turns.append(self._tagged(turn, rng))
                            wanted += turn.targets
                            if turn.begun:
                                break
                    if turns:
                        dialogues.append(self.dialogue.encode(turns))
            packed.append(pack(dialogues, self.dialogue.image_id))
            targets.append(wanted)
        length, places = max(len(item.ids) for item in packed), max(1, max(map(len, targets)))
        ids = torch.full((len(images), length), self.dialogue.end_id)
        positions, branches = torch.zeros_like(ids), torch.full_like(ids, -1)
        answers = torch.zeros_like(ids, dtype=torch.bool)
        groups = torch.ones(len(images), places, dtype=torch.long)
        for row, item in enumerate(packed):
            size = len(item.ids)
            ids[row, :size] = torch.tensor(item.ids)
            positions[row, :size] = torch.tensor(item.positions)
            branches[row, :size] = torch.tensor(item.branches)
            answers[row, :size] = torch.tensor(item.answers)
            groups[row, : len(item.groups)] = torch.tensor(item.groups, dtype=torch.long)
        return self._assemble(
            images, targets, ids=ids, positions=positions, branches=branches, answers=answers, groups=groups
        )

    def _tagged(self, turn: Turn, rng: np.random.Generator) -> Turn:
        """The turn, at times with its task's tag in front."""
        if not self.stage.tags or turn.question.startswith("[") or rng.random() >= self.stage.tags:
            return turn
        return replace(turn, question=f"[{turn.task}] {turn.question}")

    def _assemble(self, images: Sequence[CachedImage], targets: list[list[int]], **language: Any) -> Batch:
        places = max(1, max(map(len, targets)))
        side = images[0].masks.shape[-1]
        coverage = torch.zeros(len(images), places, side, side)
        class_ids = torch.full((len(images), places), self.vocabulary.unknown_id)
        present = torch.zeros(len(images), places, dtype=torch.bool)
        for row, (image, wanted) in enumerate(zip(images, targets, strict=True)):
            if wanted:
                slots = [self.vocabulary.id(image.facts["instances"][index]["class"]) for index in wanted]
                coverage[row, : len(wanted)] = image.masks[wanted].float() / 255
                class_ids[row, : len(wanted)] = torch.tensor(slots)
                present[row, : len(wanted)] = True
        cells = [self._cells(image) for image in images]
        stacked = CellFacts(
            *(torch.stack(parts) for parts in zip(*(vars(cell).values() for cell in cells), strict=True))
        )
        features = torch.stack([image.features for image in images])
        names = tuple(f"{image.store}: {image.facts['key']}" for image in images)
        return Batch(features, coverage, class_ids, present, stacked, names=names, **language)

    def _cells(self, image: CachedImage) -> CellFacts:
        slots = [self.vocabulary.id(instance["class"]) for instance in image.facts["instances"]]
        coverage = torch.nn.functional.adaptive_avg_pool2d(image.masks.float() / 255, self.grid_side)
        facts = cell_facts(torch.tensor(slots, dtype=torch.long), coverage, len(self.vocabulary) + 1)
        masked = all(instance.get("masked", True) for instance in image.facts["instances"])
        if not image.facts["complete"] or not masked:  # what is not annotated may well be there
            facts.classes[~facts.owned] = -1
        return facts


@dataclass(frozen=True)
class Packed:
    """Several dialogues about one image as one sequence: the image once, then what each says about it.

    ``positions`` are those that every dialogue would have alone; ``branches`` as `geopix.model.llm.branching` reads
    them; the rest as in `geopix.dialogue.Encoded`.
    """

    ids: list[int]
    positions: list[int]
    branches: list[int]
    answers: list[bool]
    groups: list[int]


def pack(dialogues: Sequence[Encoded], image_id: int) -> Packed:
    """Dialogues that begin alike up to the image's last token, in one sequence."""
    first = dialogues[0].ids
    shared = len(first) - first[::-1].index(image_id)
    ids, positions = first[:shared], list(range(shared))
    branches, answers, groups = [0] * shared, [False] * shared, []
    for number, item in enumerate(dialogues, start=1):
        groups += [len(ids) + group - shared for group in item.groups]
        ids = ids + item.ids[shared:]
        positions += range(shared, len(item.ids))
        branches += [number] * (len(item.ids) - shared)
        answers += item.answers[shared:]
    return Packed(ids, positions, branches, answers, groups)


def _target(image: CachedImage, rng: np.random.Generator) -> tuple[int, str]:
    """An object of the image with a mask, and a phrase that means it."""
    facts = image.facts
    counted = facts.get("counted", True)
    able = [index for index in range(len(facts["instances"])) if _meant(facts, index)]
    index = able[int(rng.integers(len(able)))]
    instance = facts["instances"][index]
    words = wordings(instance["class"])
    noun = words[0] if rng.random() < 0.7 else words[int(rng.integers(len(words)))]
    phrases = instance["phrases"]
    if not phrases or (rng.random() < 0.1 and counted):
        phrases = [counted_off(facts, index)]
    return index, str(phrases[int(rng.integers(len(phrases)))]).format(noun)


def _meant(facts: dict[str, Any], index: int) -> bool:
    """Whether an object has a mask and there are words for it."""
    instance = facts["instances"][index]
    return instance.get("masked", True) and (instance["phrases"] or facts.get("counted", True))


def counted_off(facts: dict[str, Any], index: int) -> str:
    """How an answer to "all of them" names an object: its place in reading order; in a crowd its class alone."""
    name = facts["instances"][index]["class"]
    members = [other for other, instance in enumerate(facts["instances"]) if instance["class"] == name]
    if len(members) > MOST_COUNTED_OFF:
        return "the {}"
    order, phrases = reading_order(
        [Instance(name, name, tuple(facts["instances"][member]["box"])) for member in members], tuple(facts["size_hw"])
    )
    return phrases[order.index(members.index(index))]
