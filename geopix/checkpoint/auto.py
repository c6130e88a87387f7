"""GeoPix under transformers' Auto classes: importing `geopix.checkpoint` is what tells them of it (§V-A)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel, AutoProcessor, BatchFeature, ProcessorMixin

from geopix.dialogue import TEMPLATES, Dialogue
from geopix.model.configuration import GeoPixConfig
from geopix.model.encoder import IMAGENET_MEAN, IMAGENET_STD, Letterbox, to_pixels
from geopix.model.geopix import GeoPixModel
from geopix.records import Image


class GeoPixProcessor(ProcessorMixin):
    """Images and questions -> the pixels and ids that `GeoPixModel` reads.

    Args:
        tokenizer: A transformers tokenizer.
        image_size, image_mean, image_std, template, tokens_per_scale: As in `GeoPixConfig`.
        image_tokens: How many tokens an image takes.
        n_scales: L.
        marks_phrases: See `Dialogue`.
    """

    def __init__(
        self,
        tokenizer: Any,
        image_size: int = 336,
        image_mean: Sequence[float] = IMAGENET_MEAN,
        image_std: Sequence[float] = IMAGENET_STD,
        image_tokens: int = 144,
        template: str = "chatml",
        n_scales: int = 2,
        tokens_per_scale: int = 3,
        marks_phrases: bool = True,
    ) -> None:
        super().__init__(tokenizer)  # type: ignore[no-untyped-call]
        self.image_size, self.image_mean, self.image_std = image_size, list(image_mean), list(image_std)
        self.image_tokens, self.template = image_tokens, template
        self.n_scales, self.tokens_per_scale, self.marks_phrases = n_scales, tokens_per_scale, marks_phrases

    @property
    def dialogue(self) -> Dialogue:
        """What an `Assistant` takes beside the model; the tokenizer gets the tokens of ours that it lacks."""
        size = self.n_scales, self.tokens_per_scale, self.image_tokens
        return Dialogue(self.tokenizer, *size, TEMPLATES[self.template], self.marks_phrases)

    def __call__(self, images: Image | Sequence[Image], text: str | Sequence[str]) -> BatchFeature:
        """One question about each image.

        Args:
            images: (H, W, 3) uint8 RGB each, as arrays or Pillow's images.
            text: The questions, as many.

        Returns:
            "pixel_values" (B, 3, S, S) for `GeoPixModel.see`; "input_ids" (B, n), padded on the left, for
            `LanguageModel.embed`; "attention_mask" (B, n), 1 where there is a token.

        Raises:
            ValueError: If there are not as many images as questions, or one is no RGB image.
        """
        questions = [text] if isinstance(text, str) else list(text)
        pictures = [np.asarray(one) for one in (images if isinstance(images, list | tuple) else [images])]
        if not questions or len(pictures) != len(questions):
            raise ValueError(f"{len(pictures)} images for {len(questions)} questions; give one image for each question")
        for picture in pictures:
            if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
                raise ValueError(f"an image is {picture.dtype} {picture.shape}, expected uint8 (height, width, 3) RGB")
        squares = [Letterbox((one.shape[0], one.shape[1]), self.image_size).apply(one) for one in pictures]
        dialogue = self.dialogue
        prompts = [dialogue.question(question, first=True) for question in questions]
        longest = max(map(len, prompts))
        inputs: dict[str, Tensor] = {
            "pixel_values": to_pixels(squares, self.image_mean, self.image_std),
            "input_ids": torch.tensor([[dialogue.end_id] * (longest - len(one)) + one for one in prompts]),
            "attention_mask": torch.tensor([[0] * (longest - len(one)) + [1] * len(one) for one in prompts]),
        }
        return BatchFeature(inputs)


def processor_of(tokenizer: Any, config: Any) -> GeoPixProcessor:
    """The processor that goes with a model's `GeoPixConfig`."""
    return GeoPixProcessor(
        tokenizer,
        image_size=config.image_size,
        image_mean=config.image_mean,
        image_std=config.image_std,
        image_tokens=config.image_tokens,
        template=config.template,
        n_scales=len(config.encoder_layers),
        tokens_per_scale=config.tokens_per_scale,
        marks_phrases=config.mask_path == "geopix",  # the authors' answers don't mark their phrases
    )


AutoConfig.register(GeoPixConfig.model_type, GeoPixConfig, exist_ok=True)
AutoModel.register(GeoPixConfig, GeoPixModel, exist_ok=True)
AutoProcessor.register(GeoPixConfig, GeoPixProcessor, exist_ok=True)
