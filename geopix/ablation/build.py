"""The model of a row, and where its weights begin: the same rule for every row (§V-F)."""

from __future__ import annotations

import copy
import re
from typing import cast

import torch
from torch import Tensor, nn

from geopix.ablation.plan import Design
from geopix.config import Stage
from geopix.dialogue import Dialogue
from geopix.model.configuration import GeoPixConfig
from geopix.model.geopix import GeoPixModel
from geopix.model.llm import add_lora
from geopix.model.mask_predictor import MaskPredictor
from geopix.model.memory import MaskEncoder

FRESH = re.compile(
    r"scale_projectors\.|mask_predictor\.memory(_encoders)?\.|"
    r"mask_predictor\.attention\.\d+\.(cross_attention|memory_norm|memory_gain)"
)
"""What some row changes, or was trained against what some row changes: new in every row, the default's too."""

START = (
    "Start: the scale projectors, the memory bank, its fusion, the mask encoders and the cross attention begin anew in "
    "every row, the default's too, by the row's seed; all else of the mask path begins with the model's weights."
)


def build(base: GeoPixModel, dialogue: Dialogue, design: Design, seed: int, full: Stage | None = None) -> GeoPixModel:
    """The model of a row before training.

    Args:
        base: Whose language side, encoder and weights it has; its memory may be folded.
        dialogue: Of the base.
        design: The row's.
        seed: Of what is new.
        full: The stage, where the language model trains too: then it is a copy with an adapter; None shares it.
    """
    torch.manual_seed(seed)
    config = cast(GeoPixConfig, copy.deepcopy(base.config))
    config.memory = {**config.memory, "fusion": design.fusion, "capacity": design.capacity, "folded": False}
    config.shared_projector = design.shared_projector
    if design.one_token != "no":
        config.encoder_layers, config.tokens_per_scale = config.encoder_layers[:1], 1
    llm = base.language.causal if full is None else copy.deepcopy(base.language.causal)
    llm.requires_grad_(False)
    model = GeoPixModel(config, base.encoder.backbone, llm)
    if design.one_token != "no":
        _one_scale(model.trainable_predictor, base.trainable_predictor, 0 if design.one_token == "coarse" else -1)
    moved: nn.Module = model
    moved.to(base.device, base.dtype)
    _start(model, base)
    if full is not None:
        model.language.llm = add_lora(
            model.language.causal, full.lora_rank, full.lora_alpha, full.lora_dropout, dialogue.new_ids
        )
    model.multimodal_projector.requires_grad_(full is not None)
    return model


def parameters_of_fusion(model: GeoPixModel) -> int:
    """The learnable parameters that Table IX counts: F's, without the bank."""
    named = model.trainable_predictor.named_parameters()
    return sum(parameter.numel() for name, parameter in named if name.startswith("memory.fusion."))


def _one_scale(own: MaskPredictor, theirs: MaskPredictor, scale: int) -> None:
    """A single scale takes the decoder of one of several, and masks as fine as that one's; what tells where objects
    stand reads all of the encoder's layers, as in every row."""
    encoder = theirs.memory_encoders[scale]
    assert isinstance(encoder, MaskEncoder)
    own.decoders = nn.ModuleList([copy.deepcopy(theirs.decoders[scale])])
    own.memory_encoders = nn.ModuleList([MaskEncoder(encoder.patch, own.memory_position.table.shape[1])])
    own.ordinal = copy.deepcopy(theirs.ordinal)


@torch.no_grad()
def _start(model: GeoPixModel, base: GeoPixModel) -> None:
    """Copy what no row changes; where a row has less of something, it is the first of it."""
    theirs = base.state_dict()
    fewer = len(model.encoder.layers) < len(base.encoder.layers)
    for name, tensor in model.state_dict().items():
        if not name.startswith(("mask_predictor.", "multimodal_projector.")) or FRESH.match(name):
            continue
        if fewer and name.startswith("mask_predictor.decoders."):  # is its own copy already
            continue
        tensor.copy_(_first(theirs[name], tensor))
    if fewer:
        model.trainable_predictor.scale_weights.fill_(float(base.trainable_predictor.scale_weights.sum()))


def _first(theirs: Tensor, own: Tensor) -> Tensor:
    return theirs[tuple(slice(size) for size in own.shape)] if own.ndim else theirs
