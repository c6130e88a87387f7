"""What was said of an image, drawn on it: masks for segmentation tokens, boxes for words (§III-A, Fig. 2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from geopix.classes import ClassVocabulary
from geopix.dialogue import Dialogue, Mention, Spoken
from geopix.model.encoder import Letterbox
from geopix.model.geopix import GeoPixModel, Seen
from geopix.model.mask_predictor import ClassQuery
from geopix.records import Box, Instance, mask_box

Whose: TypeAlias = Literal["text", "mixture", "top-1", "unknown", "none"]


class Drawing:
    """Draws mentions.

    Args:
        model: In evaluation mode.
        dialogue: Its words.
        class_query: Whose memory refines a mask: of the class that the phrase names, else the predicted ones mixed
            ("text"); always the predicted ones, mixed or the first alone; the slot for unknown classes; or none.
            `GeoPixModel.predict_masks` takes any other choice.
    """

    def __init__(self, model: GeoPixModel, dialogue: Dialogue, class_query: Whose = "text") -> None:
        self.model, self.dialogue, self.class_query = model, dialogue, class_query
        self.vocabulary = ClassVocabulary(tuple(model.config.class_names))

    def instances(
        self, seen: Seen, box: Letterbox, spoken: Spoken, embeddings: Sequence[Tensor]
    ) -> tuple[Instance, ...]:
        """Every mention as an instance of the image: masks from the mask predictor, boxes from the words.

        Args:
            seen: The image, as the model sees it.
            box: How it was laid into the model's square.
            spoken: The answer, read back.
            embeddings: Of every group its states (n, hidden), the first the one that predicts it.
        """
        masked = [mention for mention in spoken.mentions if mention.group is not None]
        found = iter(self._masked(seen, box, masked, embeddings) if masked else [])
        return tuple(self._boxed(one, box) if one.group is None else next(found) for one in spoken.mentions)

    def _masked(
        self, seen: Seen, box: Letterbox, mentions: Sequence[Mention], embeddings: Sequence[Tensor]
    ) -> list[Instance]:
        named = [self.vocabulary.named_in(mention.phrase) for mention in mentions]
        groups = torch.stack([embeddings[mention.group or 0] for mention in mentions])[None]
        query: ClassQuery = "mixture"  # where a class is named, it is not used
        if self.class_query != "text" and self.class_query != "unknown":
            query = self.class_query
        out = self.model.predict_masks(seen, groups, self._class_ids(named), query)
        instances = []
        for index, mention in enumerate(mentions):
            class_id, class_score = named[index], None
            if out.class_logits is not None:
                chances = out.class_logits[0, index].float().softmax(dim=-1)
                class_id = int(chances.argmax()) if class_id is None else class_id
                class_score = float(chances[class_id])
            mask = box.to_mask(out.logits[0, index])
            asked_box = self._stands_for_box(embeddings[mention.group or 0])
            instances.append(
                Instance(
                    phrase=mention.phrase,
                    class_name=self.vocabulary.name(self.vocabulary.unknown_id if class_id is None else class_id),
                    box_xyxy_px=mask_box(mask),
                    mask=None if asked_box else mask,
                    class_score=class_score,
                    score=None if out.iou is None else float(out.iou[0, index].float().sigmoid()),
                )
            )
        return instances

    def _stands_for_box(self, embedding: Tensor) -> bool:
        """Whether a group (n, hidden) was said where the model would have opened a box, see `geopix.assistant`."""
        if self.model.config.written_boxes:
            return False
        logits = self.model.language.words(embedding[None, :1])[0, 0]
        return bool(logits[list(self.dialogue.box_ids)].max() > logits[self.dialogue.group_ids[0]])

    def _class_ids(self, named: Sequence[int | None]) -> Tensor | None:
        """Q_c where somebody names it, (1, m) with -1 where it is predicted: decision 1 of docs/paper.md."""
        if self.class_query == "text":
            slots = [-1 if slot is None else slot for slot in named]
        elif self.class_query == "unknown":
            slots = [self.vocabulary.unknown_id] * len(named)
        else:
            return None
        return torch.tensor([slots], device=self.model.device)

    def _boxed(self, mention: Mention, box: Letterbox) -> Instance:
        height, width = box.size_hw
        x1, y1, x2, y2 = mention.box or (0.0, 0.0, 0.0, 0.0)
        pixels: Box = (x1 * width, y1 * height, x2 * width, y2 * height)
        class_id = self.vocabulary.named_in(mention.phrase)
        name = self.vocabulary.name(self.vocabulary.unknown_id if class_id is None else class_id)
        return Instance(phrase=mention.phrase, class_name=name, box_xyxy_px=pixels)
