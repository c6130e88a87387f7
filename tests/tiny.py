"""Small stand-ins that the tests of several rooms share: a tokenizer, and samples made of rectangles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from geopix.records import Box, Instance, Sample

SPECIAL = ("<|im_start|>", "<|im_end|>")


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """One token for every byte, so that any text can be said, and two special tokens; ends with "<|im_end|>"."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    letters = Tokenizer(models.BPE(vocab={letter: index for index, letter in enumerate(alphabet)}, merges=[]))
    letters.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    letters.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=letters, eos_token="<|im_end|>", additional_special_tokens=list(SPECIAL)
    )


def boxed(class_name: str, box_xyxy_px: Box) -> Instance:
    """An object of which only the box is known."""
    return Instance(class_name, class_name, box_xyxy_px)


def rectangle(class_name: str, box_xyxy_px: tuple[int, int, int, int], size_hw: tuple[int, int]) -> Instance:
    """An object whose mask fills its box."""
    left, top, right, bottom = box_xyxy_px
    mask = np.zeros(size_hw, dtype=np.bool_)
    mask[top:bottom, left:right] = True
    return Instance(class_name, class_name, box_xyxy_px, mask)


def scene(
    objects: Sequence[tuple[str, tuple[int, int, int, int]]], size_hw: tuple[int, int] = (100, 100), **more: Any
) -> Sample:
    """Rectangles on an image of which no two neighbouring pixels are alike; object k has the red value 200 + k."""
    rows, columns = np.indices(size_hw)
    image = np.stack([rows % 150, (3 * rows + 5 * columns) % 256, columns % 256], axis=-1).astype(np.uint8)
    instances = []
    for index, (class_name, box) in enumerate(objects):
        instances.append(rectangle(class_name, box, size_hw))
        image[instances[-1].mask, 0] = 200 + index
    return Sample(more.pop("key", "scene"), image, tuple(instances), **more)
