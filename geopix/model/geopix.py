"""GeoPix whole (Fig. 2): encoder, projectors, language model and mask predictor as one transformers model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from geopix.classes import VHR10
from geopix.model.encoder import VisionEncoder
from geopix.model.llm import LanguageModel
from geopix.model.mask_predictor import MaskPrediction, MaskPredictor
from geopix.model.memory import MemoryBank
from geopix.model.projectors import MultiModalProjector, ScaleProjector
from geopix.model.relations import Scene


class GeoPixConfig(PreTrainedConfig):
    """Sizes of a GeoPix model.

    Args:
        vision_config, text_config: transformers' own configs of the encoder and the LLM, as dicts or objects.
        image_size: Side of the letterboxed square in pixels (336 in the paper, §V-A).
        encoder_layers: Hidden state of every scale, coarse first; the first also feeds the LLM. L is its length.
        merge: Side of the square of patches that becomes one image token.
        tokens_per_scale: N of T_seg, segmentation tokens of one scale.
        mask_width: Channels of the mask path; a multiple of 32.
        decoder_blocks: Two-way blocks in a scale's decoder.
        memory: {"fusion", "capacity", "width" (D), "side" (H = W in cells), "layers" (depth of SA), "top_k",
            "folded" (whether the weights hold F(h) instead of the bank)}.
        class_names: The slots of the bank but for the last, "unknown".
        image_token_id: Id of "<image>".
    """

    model_type = "geopix"
    sub_configs: ClassVar[dict[str, Any]] = {"vision_config": AutoConfig, "text_config": AutoConfig}

    def __init__(
        self,
        vision_config: Any = None,
        text_config: Any = None,
        image_size: int = 336,
        encoder_layers: Sequence[int] = (8, 6),
        merge: int = 2,
        tokens_per_scale: int = 3,
        mask_width: int = 128,
        decoder_blocks: int = 3,
        memory: dict[str, Any] | None = None,
        class_names: Sequence[str] = VHR10,
        image_token_id: int = 0,
        **kwargs: Any,
    ) -> None:
        self.vision_config = _sub_config(vision_config)
        self.text_config = _sub_config(text_config)
        self.image_size = image_size
        self.encoder_layers = list(encoder_layers)
        self.merge = merge
        self.tokens_per_scale = tokens_per_scale
        self.mask_width = mask_width
        self.decoder_blocks = decoder_blocks
        self.memory = {**DEFAULT_MEMORY, **(memory or {})}
        self.class_names = list(class_names)
        self.image_token_id = image_token_id
        super().__init__(**kwargs)

    @property
    def grid_side(self) -> int:
        """Patches along a side of the letterboxed square."""
        return int(self.image_size // self.vision_config.patch_size)

    @property
    def image_tokens(self) -> int:
        """Tokens that an image takes in the LLM."""
        return (self.grid_side // self.merge) ** 2


DEFAULT_MEMORY = {
    "fusion": "conv3d", "capacity": 64, "width": 64, "side": 12, "layers": 1, "top_k": 3, "folded": False,
}  # fmt: skip


@dataclass(frozen=True)
class Seen:
    """What is computed once per image: image tokens (B, m, hidden), SA(F_img) of every scale (B, n, width), and what
    the cells say of themselves."""

    tokens: Tensor
    scales: list[Tensor]
    scene: Scene

    def image(self, index: int) -> Seen:
        """One image's part, as a batch of one."""
        one = slice(index, index + 1)
        return Seen(self.tokens[one], [scale[one] for scale in self.scales], self.scene.image(index))


class GeoPixModel(PreTrainedModel):
    """GeoPix as a transformers model; `geopix.load` wraps it into an `Assistant`.

    Args:
        config: Sizes.
        encoder, llm: Ready parts to use in place of freshly made ones.
    """

    config_class = GeoPixConfig
    base_model_prefix = "geopix"
    _supports_sdpa = True

    def __init__(self, config: GeoPixConfig, encoder: Any = None, llm: Any = None) -> None:
        super().__init__(config)
        if encoder is None:
            encoder = AutoModel.from_config(config.vision_config)
        if llm is None:
            llm = AutoModelForCausalLM.from_config(config.text_config)
        for part in (encoder, llm):
            # Ready parts lose their choice when transformers propagates ours to the sub-configs they share; without
            # one, the language model would attend to what comes after, silently.
            part.set_attn_implementation("sdpa")
        n_scales, channels = len(config.encoder_layers), config.vision_config.hidden_size
        self.encoder = VisionEncoder(encoder, tuple(config.encoder_layers))
        self.language = LanguageModel(llm, config.image_token_id)
        self.scale_projectors = nn.ModuleList(ScaleProjector(channels, config.mask_width) for _ in range(n_scales))
        self.multimodal_projector = MultiModalProjector(channels, self.language.hidden, config.merge)
        memory = config.memory
        n_classes = len(config.class_names) + 1
        bank = MemoryBank(n_classes, n_scales, memory["capacity"], memory["width"], memory["side"], memory["fusion"])
        if memory["folded"]:
            bank.expect_folded()
        self.mask_predictor = MaskPredictor(
            channels=n_scales * channels,
            hidden=self.language.hidden,
            tokens_per_scale=config.tokens_per_scale,
            width=config.mask_width,
            grid_side=config.grid_side,
            n_scales=n_scales,
            n_classes=n_classes,
            memory=bank,
            memory_layers=memory["layers"],
            decoder_blocks=config.decoder_blocks,
            top_k=memory["top_k"],
        )
        self.post_init()
        # transformers looks for tied weights among direct children only; the LLM is a grandchild.
        tied = getattr(self.language.llm, "all_tied_weights_keys", {})
        self.all_tied_weights_keys |= {f"language.llm.{one}": f"language.llm.{other}" for one, other in tied.items()}

    def _init_weights(self, module: nn.Module) -> None:
        """Every part initialises itself; transformers' generic draw would undo that."""

    def see(self, pixels: Tensor) -> Seen:
        """Letterboxed, normalised pixels (B, 3, S, S) -> everything about the images that no question changes."""
        return self.see_features(self.encoder(pixels))

    def see_features(self, features: Tensor) -> Seen:
        """The same from the encoder's features (B, L, patches, channels), as training caches them."""
        return Seen(self.multimodal_projector(features[:, 0]), *self.see_scales(features))

    def see_scales(self, features: Tensor) -> tuple[list[Tensor], Scene]:
        """Only the mask path's half of `see_features`; see `MaskPredictor.see`."""
        projected = [projector(features[:, scale]) for scale, projector in enumerate(self.scale_projectors)]
        return self.mask_predictor.see(projected, features)

    def predict_masks(
        self, seen: Seen, embeddings: Tensor, class_ids: Tensor | None = None, refine: bool = True
    ) -> MaskPrediction:
        """Masks of m targets in each image; see `MaskPredictor.forward`.

        ``embeddings`` is (B, m, L * tokens per scale, hidden), as `segmentation_embeddings` gathers them.
        """
        groups = embeddings.unflatten(2, (self.mask_predictor.n_scales, -1))
        return self.mask_predictor(seen.scales, seen.scene, groups.to(seen.scales[0].dtype), class_ids, refine)

    def segmentation_embeddings(self, hidden: Tensor, groups: Tensor) -> Tensor:
        """Last hidden states at the positions that predict the segmentation tokens.

        Args:
            hidden: (B, n, hidden).
            groups: (B, m) the position of every group's first token; a place to spare may point anywhere past 0.

        Returns:
            (B, m, L * tokens per scale, hidden).
        """
        size = self.mask_predictor.n_scales * self.config.tokens_per_scale
        offsets = torch.arange(-1, size - 1, device=hidden.device)
        rows = torch.arange(len(hidden), device=hidden.device)[:, None, None]
        return hidden[rows, groups[..., None] + offsets]


def _sub_config(config: Any) -> Any:
    if isinstance(config, dict):
        return AutoConfig.for_model(**config)
    return config
