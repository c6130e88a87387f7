"""Batches of the mask side out of kept answers: what a step sees, as a function of (seed, step) (§III-C, §V-F)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from geopix.classes import ClassVocabulary
from geopix.config import Stage
from geopix.dialogue import Dialogue
from geopix.train.answers import Answers
from geopix.train.batches import Batch, Sampler, Source
from geopix.train.features import CachedImage, UnreadableError

_TRIES = 100
"""Windows in a row that may have lost their picture since their answers were read."""


class AnswerSampler(Sampler):
    """Draws windows whose answers were kept, and of every window some of its targets.

    A batch carries the rows of its states, and `look_up` finds them: so the training loop needs to know nothing of
    what is kept. A window with fewer answers than `Stage.targets` gives some of them twice.

    Args:
        stage: How many images and targets; its sources are the shares of the stores.
        stores: In the order in which the answers count them.
        vocabulary, dialogue, grid_side: See `geopix.train.batches.Sampler`.
        answers: See `geopix.train.answers`.
        like: Whose precision and device looked-up states have.
        tokens: How many segmentation tokens of a group are used, from the first on.
    """

    def __init__(
        self,
        stage: Stage,
        stores: Mapping[str, Source],
        vocabulary: ClassVocabulary,
        dialogue: Dialogue,
        grid_side: int,
        answers: Answers,
        like: Tensor,
        tokens: int,
    ) -> None:
        super().__init__(stage, stores, vocabulary, dialogue, grid_side)
        self.table, self.target = answers.states[:, :tokens].to(like), answers.target.tolist()
        self.rows: dict[tuple[int, int], list[int]] = defaultdict(list)
        for row, place in enumerate(zip(answers.store.tolist(), answers.place.tolist(), strict=True)):
            self.rows[place].append(row)
        self.places = [sorted(place for store, place in self.rows if store == own) for own in range(len(self.stores))]
        if empty := [name for name, places in zip(stage.sources, self.places, strict=True) if not places]:
            raise ValueError(f"the store {empty[0]!r} has no window whose answers were kept")
        self.keys = [[facts["key"] for facts in store.facts] for store in self.stores]

    def batch(self, number: int) -> Batch:
        """A micro-batch, counted through all steps.

        Raises:
            UnreadableError: If one window after the other can't be read any more.
        """
        rng = np.random.default_rng((self.stage.seed, number))
        images, drawn = [], []
        for _ in range(self.stage.images):
            image, rows = self._window(rng)
            images.append(image)
            drawn.append(rng.choice(rows, self.stage.targets, replace=len(rows) < self.stage.targets).tolist())
        targets = [[self.target[row] for row in rows] for rows in drawn]
        phrases = [
            [f"the {image.facts['instances'][target]['class']}" for target in of_image]
            for image, of_image in zip(images, targets, strict=True)
        ]
        return self._assemble(images, targets, rows=torch.tensor(drawn), phrases=phrases)

    def look_up(self, batch: Batch) -> Tensor:
        """The states of a batch's targets, (B, m, L * tokens per scale, hidden)."""
        assert batch.rows is not None
        return self.table[batch.rows.to(self.table.device)]

    def _window(self, rng: np.random.Generator) -> tuple[CachedImage, list[int]]:
        for _ in range(_TRIES):
            source, index = self._draw(rng)
            place = self.places[source][index]
            (image,) = self.stores[source].look([place], [0])
            if image.facts["key"] == self.keys[source][place]:
                return image, self.rows[source, place]
        raise UnreadableError(f"{_TRIES} windows in a row can't be read; delete the feature store to build it anew")
