"""GeoPix whole (Fig. 2): encoder, projectors, language model and mask predictor as one transformers model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForCausalLM, PreTrainedModel

from geopix.model.configuration import GeoPixConfig
from geopix.model.encoder import VisionEncoder
from geopix.model.llm import LanguageModel
from geopix.model.mask_predictor import ClassQuery, MaskPrediction, MaskPredictor, in_pieces
from geopix.model.memory import make_memory
from geopix.model.projectors import MultiModalProjector, ScaleProjector
from geopix.model.relations import OrdinalEncoding, Scene
from geopix.model.released import Neck, ReleasedMaskPredictor


@dataclass(frozen=True)
class Seen:
    """What is computed once per image: image tokens (B, m, hidden), SA(F_img) of every scale (B, n, width), and what
    the cells say of themselves (None without relations)."""

    tokens: Tensor
    scales: list[Tensor]
    scene: Scene | None

    def rows(self, index: Sequence[int]) -> Seen:
        """Chosen images as a batch, in the order given; one may come several times."""
        chosen = list(index)
        scene = None if self.scene is None else self.scene.rows(chosen)
        return Seen(self.tokens[chosen], [scale[chosen] for scale in self.scales], scene)


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
        # Whatever the configs say: no code but transformers' own, and no attention out of a hub.
        plain = {"trust_remote_code": False, "attn_implementation": "sdpa"}
        if encoder is None:
            encoder = AutoModel.from_config(config.vision_config, **plain)
        if llm is None:
            llm = AutoModelForCausalLM.from_config(config.text_config, **plain)
        for part in (encoder, llm):
            # Ready parts lose their choice when transformers propagates ours to the sub-configs they share; without
            # one, the language model would attend to what comes after, silently.
            part.set_attn_implementation("sdpa")
        n_scales, channels = len(config.encoder_layers), config.vision_config.hidden_size
        self.encoder = VisionEncoder(encoder, tuple(config.encoder_layers), config.grid_side**2)
        language = LanguageModel(llm, config.image_token_id)
        hidden = language.hidden
        side = config.mask_side or config.grid_side
        project = Neck if config.mask_path == "released" else ScaleProjector
        self.scale_projectors = nn.ModuleList(
            project(channels, config.mask_width, side) for _ in range(1 if config.shared_projector else n_scales)
        )
        self.mask_predictor: MaskPredictor | ReleasedMaskPredictor
        if config.mask_path == "released":
            self.mask_predictor = _released(config, hidden, side)
        else:
            self.mask_predictor = _mask_predictor(config, channels, hidden, side)
        ordinal = self.mask_predictor.ordinal if isinstance(self.mask_predictor, MaskPredictor) else None
        self.multimodal_projector = MultiModalProjector(
            channels,
            hidden,
            config.merge,
            config.projector["inner"] or 2 * hidden,
            config.projector["norm"],
            ordinal.described if ordinal is not None and config.relations_in_words else 0,
        )
        # Last, so that a device map fills the first device with the small parts and spreads only the LLM's layers.
        self.language = language
        self.post_init()
        # transformers asks direct children only what is tied and what stays in one piece; these are grandchildren.
        whole = (getattr(part, "_no_split_modules", None) or () for part in (encoder, llm))
        self._no_split_modules = {"MaskPredictor", "ReleasedMaskPredictor"}.union(*whole)
        tied = getattr(llm, "all_tied_weights_keys", {})
        self.all_tied_weights_keys |= {f"language.llm.{one}": f"language.llm.{other}" for one, other in tied.items()}

    def _init_weights(self, module: nn.Module) -> None:
        """Every part initialises itself; transformers' generic draw would undo that."""

    @property
    def trainable_predictor(self) -> MaskPredictor:
        """The mask predictor where it is the paper's.

        Raises:
            ValueError: If it is the authors' released one.
        """
        if isinstance(self.mask_predictor, MaskPredictor):
            return self.mask_predictor
        raise ValueError(
            "the authors' released mask path can be asked, not trained here; train a model of mask_path 'geopix', "
            "such as geopix.checkpoint.from_llava makes"
        )

    def see(self, pixels: Tensor) -> Seen:
        """Letterboxed, normalised pixels (B, 3, S, S) -> everything about the images that no question changes."""
        return self.see_features(self.encoder(pixels))

    def see_features(self, features: Tensor) -> Seen:
        """The same from the encoder's features (B, L, patches, channels), as training caches them."""
        scales, scene = self.see_scales(features)
        tokens = self.multimodal_projector(features[:, 0], None if scene is None else scene.described)
        return Seen(tokens, scales, scene)

    def see_scales(self, features: Tensor) -> tuple[list[Tensor], Scene | None]:
        """Only the mask path's half of `see_features`; see `MaskPredictor.see`."""
        last = len(self.scale_projectors) - 1  # one for all scales, or one each
        projected = [
            self.scale_projectors[min(scale, last)](features[:, scale]) for scale in range(len(self.encoder.layers))
        ]
        return self.mask_predictor.see(projected, features)

    def predict_masks(
        self,
        seen: Seen,
        embeddings: Tensor,
        class_ids: Tensor | None = None,
        query: ClassQuery = "mixture",
        refine: bool = True,
    ) -> MaskPrediction:
        """Masks of m targets in each image; see `MaskPredictor.forward`.

        ``embeddings`` is (B, m, L * tokens per scale, hidden), as `segmentation_embeddings` gathers them; m may be 0.
        """
        groups = embeddings.unflatten(2, (len(self.encoder.layers), -1)).to(seen.scales[0])
        return in_pieces(self.mask_predictor, seen.scales, seen.scene, groups, class_ids, query, refine)

    def segmentation_embeddings(self, hidden: Tensor, groups: Tensor) -> Tensor:
        """Last hidden states at the positions that predict the segmentation tokens.

        Args:
            hidden: (B, n, hidden).
            groups: (B, m) the position of every group's first token; a place to spare may point anywhere past 0.

        Returns:
            (B, m, L * tokens per scale, hidden).
        """
        size = len(self.encoder.layers) * self.config.tokens_per_scale
        offsets = torch.arange(-1, size - 1, device=hidden.device)
        rows = torch.arange(len(hidden), device=hidden.device)[:, None, None]
        return hidden[rows, groups[..., None] + offsets]


def _mask_predictor(config: GeoPixConfig, channels: int, hidden: int, side: int) -> MaskPredictor:
    """The mask predictor that a config describes.

    Raises:
        ValueError: If its bank would be larger than the config allows.
    """
    n_scales, n_classes, memory = len(config.encoder_layers), len(config.class_names) + 1, config.memory
    shape = (n_classes, n_scales, memory["capacity"], memory["width"], memory["side"], memory["side"])
    kept = (*shape[:2], *shape[3:]) if memory["folded"] else shape
    size = 4e-9 * math.prod(kept)
    if memory["fusion"] != "none" and size > memory["largest_gb"]:
        raise ValueError(
            f"a memory bank of {' x '.join(map(str, kept))} takes {size:,.1f} GB in float32, and "
            f"{memory['largest_gb']} are allowed; choose a smaller capacity, width or side, or set memory['largest_gb']"
        )
    return MaskPredictor(
        hidden=hidden,
        tokens_per_scale=config.tokens_per_scale,
        width=config.mask_width,
        side=side,
        n_scales=n_scales,
        n_classes=n_classes,
        memory=make_memory(memory["fusion"], *shape[:5], folded=memory["folded"]),
        memory_size=(memory["width"], memory["side"]),
        memory_layers=memory["layers"],
        ordinal=OrdinalEncoding(n_scales * channels, config.mask_width, n_classes, config.grid_side)
        if config.relations
        else None,
        decoder_blocks=config.decoder_blocks,
        top_k=memory["top_k"],
    )


def _released(config: GeoPixConfig, hidden: int, side: int) -> ReleasedMaskPredictor:
    """The authors' mask predictor in the sizes that a config describes.

    Raises:
        ValueError: If it asks for other scales than the two that were released.
    """
    n_scales = len(config.encoder_layers)
    if n_scales != ReleasedMaskPredictor.n_scales or config.shared_projector:
        raise ValueError(
            f"the released mask path has {ReleasedMaskPredictor.n_scales} scales with a projector each, and "
            f"{n_scales} are asked for{', sharing one' * config.shared_projector}; give mask_path 'geopix'"
        )
    return ReleasedMaskPredictor(hidden, config.tokens_per_scale, config.mask_width, side, config.decoder_blocks)
