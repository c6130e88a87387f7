"""LLaVA-1.5 as the paper's backbone (§III-A, §V-A): its encoder, projector and language model, new mask parts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer, LlavaConfig
from transformers.initialization import no_init_weights

from geopix.checkpoint import hub
from geopix.checkpoint.files import CheckpointError, fill, read_folder, read_json
from geopix.checkpoint.folder import dialogue_of
from geopix.dialogue import Dialogue
from geopix.model.configuration import GeoPixConfig
from geopix.model.geopix import GeoPixModel
from geopix.model.llm import extend_vocabulary

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
FINE_LAYER = -11
"""The hidden state of the finer scale; the coarser one is LLaVA's own, -2."""
MEMORY = {"fusion": "conv3d", "capacity": 64, "width": 64, "side": 32}
"""The paper's bank, for a class; 75 of them take 2.5 GB."""
MEND = "fetch the checkpoint again, or give another one"

_PREFIXES = (
    (r"^model\.(vision_tower|multi_modal_projector)\.", r"\1."),  # transformers since 4.52, in memory and on request
    (r"^model\.language_model\.", "language_model.model."),
    (r"^lm_head\.", "language_model.lm_head."),
    (r"^vision_tower\.vision_model\.", "vision_tower."),  # transformers before 5
)
_DERIVED = (".position_ids", ".rotary_emb.inv_freq")
"""What old versions saved and every version computes."""


def from_llava(
    name: str, settings: dict[str, Any] | None = None, dtype: torch.dtype | None = None, seed: int = 0
) -> tuple[GeoPixModel, Dialogue]:
    """The paper's model before training, on a LLaVA-1.5 checkpoint.

    Args:
        name: A folder, or a hub id such as "llava-hf/llava-1.5-7b-hf".
        settings: `GeoPixConfig`'s arguments that differ from the paper's; parts of ``memory`` may be left out.
        dtype: Of the whole model; by default that of the checkpoint.
        seed: The same seed makes the same new tensors.

    Raises:
        CheckpointError: If the checkpoint can't be fetched, or a tensor is missing, unexpected or wrong; by name.
    """
    folder = hub.find(name)
    if folder is None:
        raise CheckpointError(f"there is no checkpoint '{name}': give a folder or a hub id (owner/model)")
    config, dialogue, known = llava_config(folder, folder, settings)
    if not Path(name).is_dir():
        config.about["base_model"] = name
    return assemble(config, dialogue, known, read_folder(folder, MEND), folder, dtype, seed), dialogue


def llava_config(
    folder: Path, tokenizer_folder: Path, settings: dict[str, Any] | None = None
) -> tuple[GeoPixConfig, Dialogue, int]:
    """What a checkpoint's settings and tokenizer say, before any tensor is read.

    Returns:
        The sizes of the model, the dialogue that its tokenizer speaks, and how many tokens that had before ours.

    Raises:
        CheckpointError: If they are missing, of another kind of model, or ask for what GeoPix can't be.
    """
    llava = _read_config(folder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ImportError) as error:
        said = " ".join(str(error).split())[:200]
        raise CheckpointError(f"the tokenizer in {tokenizer_folder} can't be read ({said}); {MEND}") from error
    known, own = len(tokenizer), settings or {}
    mean, std = _channels(tokenizer_folder)
    paper = {
        "vision_config": llava.vision_config,
        "text_config": llava.text_config,
        "image_size": llava.vision_config.image_size,
        "image_mean": mean,
        "image_std": std,
        "merge": 1,
        "projector": {"inner": llava.text_config.hidden_size, "norm": False},
        "template": "vicuna",
        "relations": False,
        "mask_width": 256,
        "mask_side": 32,
    }
    if "encoder_layers" not in own:
        paper["encoder_layers"] = _layers(llava, folder)
    config = GeoPixConfig(**{**paper, **own, "memory": {**MEMORY, **own.get("memory", {})}})
    dialogue = dialogue_of(tokenizer, config)
    config.image_token_id = dialogue.image_id
    return config, dialogue, known


def assemble(
    config: GeoPixConfig,
    dialogue: Dialogue,
    known: int,
    tensors: dict[str, Tensor],
    folder: Path,
    dtype: torch.dtype | None = None,
    seed: int = 0,
) -> GeoPixModel:
    """The model with LLaVA's tensors in their places, everything else new.

    Args:
        config, dialogue, known: What `llava_config` gave.
        tensors: LLaVA's, under any generation of names; see `our_names`.
        folder: Where they came from, for messages.
        dtype, seed: See `from_llava`.

    Raises:
        CheckpointError: If a tensor is missing, unexpected or wrong, naming it.
    """
    tensors = our_names(tensors, folder)
    dtype = dtype or next((one.dtype for one in tensors.values() if one.is_floating_point()), torch.float32)
    plain = {"dtype": dtype, "trust_remote_code": False, "attn_implementation": "sdpa"}
    try:
        with no_init_weights():  # all of it is read
            encoder = AutoModel.from_config(config.vision_config, **plain)
            llm = AutoModelForCausalLM.from_config(config.text_config, **plain)
    except ValueError as error:
        said = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{folder} describes no vision model and language model ({said}); {MEND}") from error
    llm.tie_weights()
    torch.manual_seed(seed)
    model = GeoPixModel(config, encoder, llm)
    for part in (model.multimodal_projector, model.scale_projectors, model.mask_predictor):
        part.to(dtype)
    fill(_places(model, tensors), tensors, folder, MEND)
    extend_vocabulary(llm, max(dialogue.new_ids) + 1, known=known)
    config.text_config.vocab_size = llm.get_input_embeddings().num_embeddings
    llm.requires_grad_(False)
    return model


def our_names(tensors: dict[str, Tensor], folder: Path) -> dict[str, Tensor]:
    """The same tensors under the names "vision_tower.", "multi_modal_projector." and "language_model.".

    Raises:
        CheckpointError: If two are the same one.
    """
    renamed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        ours = name
        for pattern, replacement in _PREFIXES:
            ours = re.sub(pattern, replacement, ours)
        if ours in renamed:
            raise CheckpointError(f"{folder} holds {ours} twice, under an old and a new name; {MEND}")
        if not ours.endswith(_DERIVED):
            renamed[ours] = tensor
    return renamed


def _places(model: GeoPixModel, found: dict[str, Tensor]) -> dict[str, Tensor]:
    """The model's own tensors under LLaVA's names; of tied ones, those that the checkpoint has left out are."""
    vision = {f"vision_tower.{name}": tensor for name, tensor in model.encoder.backbone.state_dict().items()}
    language = {f"language_model.{name}": tensor for name, tensor in model.language.llm.state_dict().items()}
    for name in getattr(model.language.llm, "all_tied_weights_keys", {}):
        if f"language_model.{name}" not in found:
            del language[f"language_model.{name}"]
    projector = {
        f"multi_modal_projector.linear_{number}.{name}": tensor
        for number, place in ((1, 1), (2, 3))
        for name, tensor in model.multimodal_projector.layers[place].state_dict().items()
    }
    return {re.sub(*_PREFIXES[-1], name): tensor for name, tensor in vision.items()} | projector | language


def _read_config(folder: Path) -> Any:
    if not (folder / "config.json").is_file():
        raise CheckpointError(f"{folder} has no config.json, so it is no LLaVA checkpoint; {MEND}")
    read = read_json(folder / "config.json", MEND)
    if read.get("model_type", "llava") != "llava":
        raise CheckpointError(f"{folder} holds a model of type {read['model_type']!r}, not 'llava'; {MEND}")
    for part in ("vision", "text"):  # the authors of GeoPix keep the two apart
        if (folder / part / "config.json").is_file():
            read[f"{part}_config"] = read_json(folder / part / "config.json", MEND)
    try:
        config: Any = LlavaConfig.from_dict(read)
    except (StrictDataclassError, KeyError, TypeError, ValueError, AttributeError) as error:
        said = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{folder / 'config.json'} does not describe a LLaVA model ({said}); {MEND}") from error
    config.text_config.tie_word_embeddings = config.tie_word_embeddings
    has_class_token = "clip" in config.vision_config.model_type
    asked: list[tuple[Any, Any]] = [
        (config.projector_hidden_act, "gelu"),
        (config.multimodal_projector_bias, True),
        (config.vision_feature_select_strategy, "default" if has_class_token else "full"),
    ]
    for one, expected in asked:
        if one != expected:
            raise CheckpointError(f"{folder / 'config.json'} asks for {one!r}, and only {expected!r} is built; {MEND}")
    return config


def _layers(llava: Any, folder: Path) -> tuple[int, int]:
    """The hidden states of the two scales, counted from the embeddings (0) on: 23 and 14 of CLIP ViT-L's 24 layers."""
    states = llava.vision_config.num_hidden_layers + 1
    coarse = llava.vision_feature_layer
    if not isinstance(coarse, int) or not -states <= coarse < states or states + FINE_LAYER < 1:
        raise CheckpointError(
            f"the vision model of {folder} has {states - 1} layers, and the LLM sees layer {coarse!r} of them; name "
            "both scales, coarse first, with settings={'encoder_layers': (5, 3)}"
        )
    return coarse % states, FINE_LAYER % states


def _channels(folder: Path) -> tuple[list[float], list[float]]:
    """Mean and deviation of the colour channels: what the checkpoint's processor says, else CLIP's."""
    said: dict[str, Any] = {}
    for name in ("processor_config.json", "preprocessor_config.json"):
        if (folder / name).is_file():
            read = read_json(folder / name, MEND)
            said |= read.get("image_processor", read)
    return list(said.get("image_mean", CLIP_MEAN)), list(said.get("image_std", CLIP_STD))
