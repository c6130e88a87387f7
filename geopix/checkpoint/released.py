"""The checkpoint that the paper's authors published, with a memory that does nothing (docs/paper.md, §III-B)."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from geopix.checkpoint.files import CheckpointError, fill, read_folder, read_json, read_pickle
from geopix.checkpoint.llava import assemble, llava_config
from geopix.dialogue import Dialogue
from geopix.model.geopix import GeoPixModel
from geopix.model.released import ReleasedMaskPredictor, fourier_table

PICKLES = ("*.pth", "*.bin", "*.model")
"""What the release needs from the hub besides settings and safetensors; read as tensors, never run."""
NO_MEMORY = (
    "these weights carry no working memory: the code that they come from computes the class-wise memory and drops it, "
    "so only the scaling and the norm that are left of it are used"
)
MEND = "fetch the authors' release again"

_FOLDERS = ("seg", "pec", "clm")
_DICTS = ("image_neck_rough", "image_neck_detail", "text_hidden_fcs")
_LISTS = ("multiseg_scalar", "multiscale_scalar")
_SEG, _PEC = "seg.mask_decoder.", "pec.prompt_encoder."
_FREQUENCIES = (
    f"{_PEC}pe_layer.positional_encoding_gaussian_matrix", f"{_SEG}pe1.positional_encoding_gaussian_matrix",
)  # fmt: skip
_THEIRS = (
    (r"scale_projectors\.0\.", "image_neck_rough."),  # the coarse scale: hidden state -2
    (r"scale_projectors\.1\.", "image_neck_detail."),
    (r"(image_neck_\w+)\.narrow\.", r"\1.conv1."),
    (r"(image_neck_\w+)\.project\.", r"\1.conv2."),
    (r"mask_predictor\.prompt\.", "text_hidden_fcs."),
    (r"mask_predictor\.token_weights", "multiseg_scalar"),
    (r"mask_predictor\.scale_weights", "multiscale_scalar"),
    (r"mask_predictor\.(iou_token|mask_tokens)", rf"{_SEG}\1.weight"),
    (r"mask_predictor\.scale_tokens", f"{_SEG}level_embed.weight"),
    (r"mask_predictor\.no_prompt", f"{_PEC}no_mask_embed.weight"),
    (r"mask_predictor\.memory_gain", "clm.memory_attention.layers.0.scale"),
    (r"mask_predictor\.memory_norm\.", "clm.memory_attention.norm."),
    (r"mask_predictor\.hyper\.", f"{_SEG}output_hypernetworks_mlps.0.layers."),
    (r"mask_predictor\.finer\.conv\.", f"{_SEG}upsample_2x.0."),
    (r"mask_predictor\.finer\.norm\.", f"{_SEG}upsample_2x.1."),
    (r"mask_predictor\.upscaling\.conv\.", f"{_SEG}output_upscaling.0."),
    (r"mask_predictor\.upscaling\.norm\.", f"{_SEG}output_upscaling.1."),
    (r"mask_predictor\.transformers\.(\d+)\.blocks\.", rf"{_SEG}transformer.\1.layers."),
    (r"mask_predictor\.transformers\.(\d+)\.last_look\.", rf"{_SEG}transformer.\1.final_attn_token_to_image."),
    (r"mask_predictor\.transformers\.(\d+)\.last_norm\.", rf"{_SEG}transformer.\1.norm_final_attn."),
    (r"\.self_attention\.", ".self_attn."),
    (r"\.tokens_to_image\.", ".cross_attn_token_to_image."),
    (r"\.image_to_tokens\.", ".cross_attn_image_to_token."),
    (r"\.(query|key|value|out)\.", lambda found: f".{found[1][0] if found[1] != 'out' else 'out'}_proj."),
    (r"\.feed_forward\.0\.", ".mlp.lin1."),
    (r"\.feed_forward\.2\.", ".mlp.lin2."),
)  # fmt: skip
"""Our names -> theirs, one after the other."""

_BOTH, _NORM = "{weight,bias}", "{weight,bias,running_mean,running_var,num_batches_tracked}"
_UNUSED = f"""
{_SEG}output_hypernetworks_mlps.{{1,2,3}}.layers.{{0,1,2}}.{_BOTH}
{_SEG}iou_prediction_head.layers.{{0,1,2}}.{_BOTH}
{_PEC}point_embeddings.{{0,1,2,3}}.weight
{_PEC}not_a_point_embed.weight
{_PEC}mask_downscaling.{{0,1,3,4,6}}.{_BOTH}
clm.memory_encoder.mask_downsampler.layer{{1,2,3}}.{{conv1,conv2,downsample.0}}.weight
clm.memory_encoder.mask_downsampler.layer{{1,2,3}}.{{bn1,bn2,downsample.1}}.{_NORM}
clm.memory_encoder.fuser.gate
clm.memory_encoder.{{pix_feat_proj,fuser.dwconv,fuser.norm,fuser.pwconv1,fuser.pwconv2}}.{_BOTH}
clm.learnable_memory.memory
clm.memory_fuser.model.{{0,3,6}}.{_BOTH}
clm.memory_fuser.model.{{1,4,7}}.{_NORM}
clm.memory_attention.layers.0.self_attn.{{in_proj_weight,in_proj_bias,out_proj.weight,out_proj.bias}}
clm.memory_attention.layers.0.cross_attn_image.{{q_proj_weight,k_proj_weight,v_proj_weight,in_proj_bias}}
clm.memory_attention.layers.0.cross_attn_image.out_proj.{_BOTH}
clm.memory_attention.layers.0.{{self_attn_pos,cross_attn_image_pos}}.pe
clm.memory_attention.layers.0.{{linear1,linear2,norm1,norm2,norm3}}.{_BOTH}
"""
"""Tensors of the release that no mask depends on: they must be there, and are left there."""


def is_release(folder: Path) -> bool:
    """Whether a folder is laid out as the authors' checkpoint."""
    return all((folder / part).is_dir() for part in ("vlm", *_FOLDERS))


def load_release(folder: Path, dtype: torch.dtype | None = None) -> tuple[GeoPixModel, Dialogue]:
    """The authors' model with its dialogue.

    Args:
        folder: See `is_release`.
        dtype: Of the whole model. None keeps LLaVA's own and the mask path in single precision, to be saved as
            exactly as it was published; where the two differ such a model can't be asked.

    Raises:
        CheckpointError: Naming the file or tensor that is missing, unexpected or wrong.
    """
    config, dialogue, known = llava_config(folder / "vlm", folder, _settings(folder))
    trained = min(known, config.text_config.vocab_size)
    untrained = [one for one in dialogue.group_ids if one >= trained]
    if untrained:  # added now, they would be words that nobody taught
        names = dialogue.tokenizer.convert_ids_to_tokens(untrained)
        raise CheckpointError(f"the tokenizer in {folder} lacks {names}, or the language model does; {MEND}")
    tensors = read_folder(folder / "vlm", MEND, pickles=True)
    model = assemble(config, dialogue, known, tensors, folder / "vlm", dtype)
    if dtype is None:
        model.scale_projectors.float()
        model.mask_predictor.float()
    fill_mask_path(model.scale_projectors, model.mask_predictor, read_mask_path(folder), folder)
    return model, dialogue


def read_mask_path(folder: Path) -> dict[str, Tensor]:
    """Everything outside vlm/ as "<part>.<tensor>".

    Raises:
        CheckpointError: If a file is missing, damaged or of another kind.
    """
    tensors: dict[str, Tensor] = {}
    for part in _FOLDERS:
        read = read_folder(folder / part, MEND, pickles=True)
        tensors |= {f"{part}.{name}": tensor for name, tensor in read.items()}
    for part in _DICTS:
        named = read_pickle(folder / f"{part}.pth", MEND)
        if not isinstance(named, dict):
            raise CheckpointError(f"{folder / part}.pth holds a list, expected named tensors; {MEND}")
        tensors |= {f"{part}.{name}": tensor for name, tensor in named.items()}
    for part in _LISTS:
        listed = read_pickle(folder / f"{part}.pth", MEND)
        if not isinstance(listed, list) or not listed or any(one.numel() != 1 for one in listed):
            raise CheckpointError(f"{folder / part}.pth does not hold a list of numbers; {MEND}")
        tensors[part] = torch.stack([one.reshape(()).float() for one in listed])
    return tensors


@torch.no_grad()
def fill_mask_path(necks: nn.Module, predictor: nn.Module, tensors: dict[str, Tensor], where: Path) -> None:
    """Put the release's tensors in their places.

    Args:
        necks: The scale projectors, written to in place.
        predictor: The mask predictor, likewise.
        tensors: As `read_mask_path` names them.
        where: The folder they came from, for messages.

    Raises:
        CheckpointError: If one is missing, unexpected or wrong, by its name in the release.
    """
    assert isinstance(predictor, ReleasedMaskPredictor)
    ours = {f"scale_projectors.{name}": tensor for name, tensor in necks.state_dict().items()}
    ours |= {f"mask_predictor.{name}": tensor for name, tensor in predictor.state_dict().items()}
    tables = [ours.pop(f"mask_predictor.positions.{scale}.table") for scale in range(predictor.n_scales)]
    theirs = {_their_name(name): tensor for name, tensor in ours.items()}
    frequencies = [torch.empty(2, table.shape[1] // 2) for table in tables]
    theirs |= dict(zip(_FREQUENCIES, frequencies, strict=True))
    unused = unused_names()
    lost = sorted(unused - tensors.keys())
    if lost:
        raise CheckpointError(f"{where} does not fit: {len(lost)} tensors missing {lost[:2]}; {MEND}")
    fill(theirs, {name: tensor for name, tensor in tensors.items() if name not in unused}, where, MEND)
    for table, read in zip(tables, frequencies, strict=True):
        table.copy_(fourier_table(read, round(len(table) ** 0.5)))


def unused_names() -> set[str]:
    """The names of `_UNUSED`, its braces written out."""
    names = set()
    for line in _UNUSED.split():
        choices = [piece.split(",") for piece in re.split(r"[{}]", line)]  # outside braces there are no commas
        names |= {"".join(chosen) for chosen in itertools.product(*choices)}
    return names


def _their_name(name: str) -> str:
    for pattern, replacement in _THEIRS:
        name = re.sub(pattern, replacement, name)
    return name


def _settings(folder: Path) -> dict[str, Any]:
    """`GeoPixConfig`'s arguments as the release's own settings give them; what they leave out is as published."""
    whole, seg, clm = (read_json(folder / part / "config.json", MEND) for part in ("", "seg", "clm"))
    n_scales, tokens_per_scale = whole.get("image_feature_scale_num", 2), whole.get("seg_token_num", 3)
    sizes = {
        "mask_width": seg.get("prompt_embed_dim", 256),
        "mask_side": clm.get("feature_h", 32),
        "decoder_blocks": seg.get("mask_decoder_transformer_depth", 2),
        "tokens_per_scale": tokens_per_scale,
    }
    if n_scales != 2 or not all(isinstance(size, int) and size > 0 for size in sizes.values()):
        raise CheckpointError(f"{folder}: its settings ask for {n_scales} scales and sizes {sizes}; {MEND}")
    return {"mask_path": "released", "memory": {"fusion": "none"}, **sizes}
