"""Training batches of the mask side out of cached states: what a step sees, as a function of (seed, step) (§V-F)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from geopix.ablation.states import States
from geopix.classes import ClassVocabulary
from geopix.config import Stage
from geopix.losses import CellFacts, cell_facts
from geopix.train.batches import Batch
from geopix.train.features import CachedImage, FeatureStore


class CachedSampler:
    """Draws windows, and of every window some of its targets with the states that were read for them.

    A batch carries the numbers of its states in the place of phrases, and `look_up` finds them: so the training loop
    needs to know nothing of a cache.

    Args:
        stage: How many images and targets; its sources are the shares of the stores.
        stores: In the order in which the states count them.
        states: See `geopix.ablation.states`.
        vocabulary: Class slots.
        grid_side: Cells along a side of the features.
        like: Whose precision and device looked-up states have.
        tokens: How many segmentation tokens of a group are used, from the first on.
    """

    def __init__(
        self,
        stage: Stage,
        stores: Sequence[FeatureStore],
        states: States,
        vocabulary: ClassVocabulary,
        grid_side: int,
        like: Tensor,
        tokens: int,
    ) -> None:
        self.stage, self.stores, self.states, self.vocabulary = stage, stores, states, vocabulary
        self.grid_side = grid_side
        self.table = states.states[:, :tokens].to(like)
        rows: dict[tuple[int, int], list[int]] = defaultdict(list)
        for row, place in enumerate(zip(states.store.tolist(), states.place.tolist(), strict=True)):
            rows[place].append(row)
        self.windows = sorted(rows.items())

    def batch(self, step: int) -> Batch:
        """The batch of a step."""
        rng = np.random.default_rng((self.stage.seed, step))
        chosen = [self.windows[int(rng.integers(len(self.windows)))] for _ in range(self.stage.images)]
        drawn = [rng.choice(rows, self.stage.targets, replace=len(rows) < self.stage.targets) for _, rows in chosen]
        images = [self.stores[store][place] for (store, place), _ in chosen]
        targets = [self.states.target[torch.from_numpy(rows)].tolist() for rows in drawn]
        slots = [
            [self.vocabulary.id(image.facts["instances"][target]["class"]) for target in of_image]
            for image, of_image in zip(images, targets, strict=True)
        ]
        cells = [self._cells(image) for image in images]
        class_ids = torch.tensor(slots)
        return Batch(
            features=torch.stack([image.features for image in images]),
            coverage=torch.stack([image.masks[wanted] for image, wanted in zip(images, targets, strict=True)]) / 255,
            class_ids=class_ids,
            present=torch.ones_like(class_ids, dtype=torch.bool),
            cells=CellFacts(*(torch.stack(part) for part in zip(*(vars(one).values() for one in cells), strict=True))),
            phrases=[[str(row) for row in rows] for rows in drawn],
        )

    def look_up(self, batch: Batch) -> Tensor:
        """The states of a batch's targets, (B, m, L * tokens per scale, hidden)."""
        assert batch.phrases is not None
        return self.table[
            torch.tensor([[int(row) for row in rows] for rows in batch.phrases], device=self.table.device)
        ]

    def _cells(self, image: CachedImage) -> CellFacts:
        slots = [self.vocabulary.id(instance["class"]) for instance in image.facts["instances"]]
        coverage = functional.adaptive_avg_pool2d(image.masks.float() / 255, self.grid_side)
        facts = cell_facts(torch.tensor(slots, dtype=torch.long), coverage, len(self.vocabulary) + 1)
        if not image.facts["complete"]:  # what is not annotated may well be there
            facts.classes[~facts.owned] = -1
        return facts
