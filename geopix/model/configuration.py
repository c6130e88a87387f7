"""What a GeoPix model is made of, in numbers, as transformers keeps it (Fig. 2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from transformers import AutoConfig, PreTrainedConfig

from geopix.classes import VHR10
from geopix.model.encoder import IMAGENET_MEAN, IMAGENET_STD

DEFAULT_MEMORY = {
    "fusion": "conv3d", "capacity": 64, "width": 64, "side": 12, "layers": 1, "top_k": 3, "folded": False,
    "largest_gb": 4.0,
}  # fmt: skip


class GeoPixConfig(PreTrainedConfig):
    """Sizes of a GeoPix model.

    Args:
        vision_config, text_config: transformers' own configs of the encoder and the LLM, as dicts or objects: any
            vision transformer that yields hidden states, any causal LM.
        image_size: Side of the letterboxed square in pixels (336 in the paper, §V-A).
        image_mean, image_std: Of the channels, as the encoder was trained.
        encoder_layers: Hidden state of every scale, coarse first; the first also feeds the LLM. L is its length.
        merge: Side of the square of patches that becomes one image token.
        projector: {"inner" channels of the multi-modal projector, "norm" in front of it}.
        template: Whose words stand around a turn, see `geopix.dialogue.TEMPLATES`.
        tokens_per_scale: N of T_seg, segmentation tokens of one scale.
        mask_path: "geopix" for the paper's equations, "released" for the network that the authors published.
        mask_width: Channels of the mask path; a multiple of 32.
        mask_side: Cells along a side of its features; by default those of the encoder.
        decoder_blocks: Two-way blocks in a scale's decoder.
        shared_projector: One scale projector for all scales (Table X).
        relations: Whether objects are told apart by where they stand (ours, docs/paper.md); False is the paper alone.
        relations_in_words: Whether the LLM is told, too, what the cells say of themselves.
        written_boxes: Whether boxes are answered in written coordinates (§III-A); where not, as for an LLM too small to
            write them, with the box of a mask.
        memory: {"fusion", "capacity", "width" (D), "side" (H = W in cells), "layers" (depth of SA), "top_k",
            "folded" (whether the weights hold F(h) instead of the bank), "largest_gb" (a larger bank is refused)}.
        class_names: The slots of the bank but for the last, "unknown".
        image_token_id: Id of "<image>".
        about: What is known of its making, for `geopix info` and the model card: "base_model", "parts" (of each
            its "source" and "licence"), "data_terms", "training".
    """

    model_type = "geopix"
    sub_configs: ClassVar[dict[str, Any]] = {"vision_config": AutoConfig, "text_config": AutoConfig}

    def __init__(
        self,
        vision_config: Any = None,
        text_config: Any = None,
        image_size: int = 336,
        image_mean: Sequence[float] = IMAGENET_MEAN,
        image_std: Sequence[float] = IMAGENET_STD,
        encoder_layers: Sequence[int] = (8, 6),
        merge: int = 2,
        projector: dict[str, Any] | None = None,
        template: str = "chatml",
        tokens_per_scale: int = 3,
        mask_path: Literal["geopix", "released"] = "geopix",
        mask_width: int = 128,
        mask_side: int | None = None,
        decoder_blocks: int = 3,
        shared_projector: bool = False,
        relations: bool = True,
        relations_in_words: bool = False,
        written_boxes: bool = True,
        memory: dict[str, Any] | None = None,
        class_names: Sequence[str] = VHR10,
        image_token_id: int = 0,
        about: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.vision_config = _sub_config(vision_config)
        self.text_config = _sub_config(text_config)
        self.image_size = image_size
        self.image_mean, self.image_std = list(image_mean), list(image_std)
        self.encoder_layers = list(encoder_layers)
        self.merge = merge
        self.projector = projector or {"inner": None, "norm": True}
        self.template = template
        self.tokens_per_scale = tokens_per_scale
        self.mask_path = mask_path
        self.mask_width = mask_width
        self.mask_side = mask_side
        self.decoder_blocks = decoder_blocks
        self.shared_projector = shared_projector
        self.relations = relations
        self.relations_in_words = relations_in_words
        self.written_boxes = written_boxes
        self.memory = {**DEFAULT_MEMORY, **(memory or {})}
        self.class_names = list(class_names)
        self.image_token_id = image_token_id
        self.about = about or {}
        super().__init__(**kwargs)

    @property
    def grid_side(self) -> int:
        """Patches along a side of the letterboxed square."""
        return int(self.image_size // self.vision_config.patch_size)

    @property
    def image_tokens(self) -> int:
        """Tokens that an image takes in the LLM."""
        return (self.grid_side // self.merge) ** 2


def _sub_config(config: Any) -> Any:
    if isinstance(config, dict):
        return AutoConfig.for_model(**config)
    return config
