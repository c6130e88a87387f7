"""Load and save: the embedded nano and models saved by `save_pretrained` (§V-A); every wrong tensor is an error."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any, Literal

import torch
from peft import PeftModel
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, Dinov2Model
from transformers.utils import logging as transformers_logging

from geopix import parts
from geopix.dialogue import Dialogue
from geopix.model.geopix import GeoPixConfig, GeoPixModel
from geopix.model.llm import add_lora, extend_vocabulary

NANO = Path(__file__).parent / "weights" / "nano"
"""The tensors that we trained; the two frozen parts come from packages (`geopix.parts`)."""
TRAINED = "trained.safetensors"
_AGAIN = "install GeoPix again, or export the model again"

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")

Device = Literal["auto", "cpu", "cuda"]


class CheckpointError(ValueError):
    """A model that can't be loaded: unknown, incomplete, damaged, or not ours."""


def load(name: str = "nano", device: str = "auto") -> tuple[GeoPixModel, Dialogue]:
    """A model ready to answer, with the dialogue that its tokenizer speaks.

    Args:
        name: "nano", a folder that `save` wrote, or the hub id of such a folder ("owner/model"); only for a hub id
            the network is used, unless the hub's cache has the model already.
        device: "auto" takes CUDA where there is one.

    Raises:
        CheckpointError: Saying what is missing or wrong and the command that helps.
    """
    where = _device(device)
    # Their progress bars and reports of tensors are for developers; what matters is checked and said below.
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    if name == "nano":
        model, dialogue = load_nano(NANO)
    elif name and Path(name).is_dir():
        model, dialogue = _load_folder(Path(name))
    elif _HUB_ID.fullmatch(name):
        model, dialogue = _load_folder(_from_hub(name))
    else:
        raise CheckpointError(f"there is no model '{name}': give 'nano' or a folder that holds a saved GeoPix model")
    _convert(model, where, fast_dtype(where))
    model.train(False)
    return model, dialogue


def save(model: GeoPixModel, dialogue: Dialogue, folder: Path) -> None:
    """Write a whole model with its tokenizer, for `load(str(folder))`.

    Args:
        model: Its adapter merged; folded or not.
        dialogue: Whose tokenizer the model was trained with.
        folder: Made if need be.

    Raises:
        ValueError: If the adapter is still apart.
    """
    if isinstance(model.language.llm, PeftModel):
        raise ValueError("a whole model is saved without an adapter; merge it first: llm.merge_and_unload()")
    model.config.memory["folded"] = model.mask_predictor.memory.folded is not None
    model.config.text_config.vocab_size = model.language.causal.get_input_embeddings().num_embeddings
    model.save_pretrained(folder)
    dialogue.tokenizer.save_pretrained(folder)


def fast_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the processor multiplies it natively, float32 elsewhere."""
    if device.type == "cpu":
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    else:
        native = torch.cuda.is_bf16_supported()
    return torch.bfloat16 if native else torch.float32


def fresh_nano(settings: dict[str, Any] | None = None, seed: int = 0) -> tuple[GeoPixModel, Dialogue]:
    """Nano before training: the two frozen parts, everything else new, all in float32.

    Args:
        settings: `GeoPixConfig`'s arguments that differ from its defaults.
        seed: The same seed makes the same new tensors.
    """
    torch.manual_seed(seed)
    try:
        encoder = Dinov2Model.from_pretrained(parts.directory(parts.ENCODER), dtype=torch.float32)
        folder = parts.directory(parts.LLM)
        llm = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except parts.PartsError as error:
        raise CheckpointError(str(error)) from error
    except (OSError, SafetensorError) as error:
        cache = parts.cache_directory()
        raise CheckpointError(
            f"nano's parts in {cache} can't be read ({error}); delete that folder and try again"
        ) from error
    config = GeoPixConfig(vision_config=encoder.config, text_config=llm.config, **(settings or {}))
    dialogue = _dialogue(tokenizer, config)
    config.image_token_id = dialogue.image_id
    extend_vocabulary(llm, max(dialogue.new_ids) + 1)
    llm.requires_grad_(False)
    return GeoPixModel(config, encoder, llm), dialogue


def load_nano(folder: Path) -> tuple[GeoPixModel, Dialogue]:
    """Nano from its trained tensors: adapter merged, memory folded."""
    settings = _json(folder / "nano.json")
    tensors = _tensors(folder / TRAINED)
    try:
        trained_on = settings["parts"]["encoder"], settings["parts"]["llm"]
        sizes = {**settings["config"], "memory": {**settings["config"]["memory"], "folded": True}}
        rank, alpha = int(settings["lora"]["rank"]), int(settings["lora"]["alpha"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder / 'nano.json'} lacks nano's settings ({error!r}); {_AGAIN}") from error
    for part, sha256 in zip((parts.ENCODER, parts.LLM), trained_on, strict=True):
        if part.sha256 != sha256:
            raise CheckpointError(f"{folder} was trained on another {part.name} than this GeoPix uses; {_AGAIN}")
    model, dialogue = fresh_nano(sizes)
    adapter = add_lora(model.language.causal, rank, alpha, dropout=0.0, new_ids=dialogue.new_ids)
    model.language.llm = adapter
    _fill(model, tensors, folder)
    model.language.llm = adapter.merge_and_unload()
    return model, dialogue


def save_nano(model: GeoPixModel, lora: dict[str, int], folder: Path, about: dict[str, Any]) -> None:
    """Write nano's trained tensors and settings, half precision, memory folded; ``model`` is folded in place.

    Args:
        model: With its adapter still apart.
        lora: {"rank", "alpha"} of the adapter.
        folder: Made if need be.
        about: What the model card should know (steps, costs, data).
    """
    model.mask_predictor.memory.fold()
    tensors = {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in trained_tensors(model).items()}
    config = model.config
    settings = {
        "parts": {"encoder": parts.ENCODER.sha256, "llm": parts.LLM.sha256},
        "config": {
            "image_size": config.image_size, "encoder_layers": config.encoder_layers, "merge": config.merge,
            "tokens_per_scale": config.tokens_per_scale, "mask_width": config.mask_width,
            "decoder_blocks": config.decoder_blocks, "memory": config.memory, "class_names": config.class_names,
        },
        "lora": lora,
        "about": about,
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / f".{TRAINED}", metadata={"format": "pt"})
    (folder / ".nano.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    (folder / f".{TRAINED}").replace(folder / TRAINED)
    (folder / ".nano.json").replace(folder / "nano.json")


def trained_tensors(model: GeoPixModel) -> dict[str, Tensor]:
    """Everything that training made: all but the frozen encoder and the LLM's own weights."""
    return {
        name: tensor
        for name, tensor in model.state_dict().items()
        if not name.startswith("encoder.") and (not name.startswith("language.") or _is_adapter(name))
    }


def describe(name: str = "nano") -> dict[str, Any]:
    """What `geopix info` prints: parts with parameter counts, bytes, sources and licences, memory, data terms.

    Raises:
        CheckpointError: As `load`.
    """
    model, _ = load(name, "cpu")
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for tensor_name, tensor in (*model.named_parameters(), *model.named_buffers()):
        part = _part_of(tensor_name)
        counts[part][0] += tensor.numel()
        counts[part][1] += tensor.numel() * tensor.element_size()
    rows = [
        {
            "part": part,
            "parameters": parameters,
            "trainable": part not in ("vision encoder", "language model"),
            "bytes": size,
            "source": _SOURCES.get(part, "trained by GeoPix") if name == "nano" else str(name),
            "licence": _LICENCES.get(part, "Apache-2.0 (research use, see data terms)"),
        }
        for part, (parameters, size) in counts.items()
    ]
    total = sum(size for _, size in counts.values())
    terms = [
        "NWPU VHR-10: research purposes only, and so are weights trained on it",
        "UC Merced captions and questions: research use",
        "Sentinel-2 ship masks: MIT, Copernicus imagery",
    ]
    return {
        "name": name,
        "parts": rows,
        "memory_bytes": int(total * 1.6 + 3e8),  # weights, activations of one image, and torch itself
        "data_terms": terms if name == "nano" else [],
    }


_SOURCES = {
    "vision encoder": f"{parts.ENCODER.requirement} (DINOv2 ViT-S/14)",
    "language model": f"{parts.LLM.requirement} (SmolLM2-135M-Instruct, LoRA merged)",
}
_LICENCES = {"vision encoder": parts.ENCODER.licence, "language model": parts.LLM.licence}


def _part_of(name: str) -> str:
    for prefix, part in (
        ("encoder.", "vision encoder"),
        ("language.", "language model"),
        ("scale_projectors.", "scale projectors"),
        ("multimodal_projector.", "multi-modal projector"),
        ("mask_predictor.memory.", "class-wise memory (folded)"),
    ):
        if name.startswith(prefix):
            return part
    return "mask predictor"


def _from_hub(name: str) -> Path:
    """The hub's copy of a model, settings and safetensors only: nothing that could run."""
    from huggingface_hub import snapshot_download  # only a hub id needs it

    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors", "*.jinja", "*.txt"]))
    except Exception as error:  # the hub's client raises its own, its HTTP library's and the system's errors
        raise CheckpointError(
            f"'{name}' is no folder here and could not be fetched from the model hub ({type(error).__name__}); "
            "check the id and the network, or give 'nano' or a folder"
        ) from error


def _load_folder(folder: Path) -> tuple[GeoPixModel, Dialogue]:
    if (folder / "nano.json").is_file():
        return load_nano(folder)
    if not (folder / "config.json").is_file():
        raise CheckpointError(
            f"{folder} holds neither nano.json nor config.json, so it is no GeoPix model; "
            "give 'nano' or a folder that geopix.checkpoint.save wrote"
        )
    kind = _json(folder / "config.json").get("model_type")
    if kind != "geopix":
        raise CheckpointError(f"{folder} holds a model of type {kind!r}, not 'geopix'; give 'nano' or another folder")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        loaded: Any = GeoPixModel.from_pretrained(
            folder,
            output_loading_info=True,
            local_files_only=True,
            ignore_mismatched_sizes=True,  # told below, by name
        )
    except (OSError, SafetensorError, RuntimeError, LookupError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder} can't be loaded ({' '.join(str(error).split())}); save it again") from error
    model, found = loaded
    wrong = [f"{kind}: {sorted(map(str, names))[:3]}" for kind, names in found.items() if names]
    if wrong:
        raise CheckpointError(f"{folder} does not fit its config ({'; '.join(wrong)}); save it again")
    for name, tensor in model.state_dict().items():
        _check_finite(name, tensor, folder)
    dialogue = _dialogue(tokenizer, model.config)
    rows = model.language.causal.get_input_embeddings().num_embeddings
    if dialogue.image_id != model.config.image_token_id or max(dialogue.new_ids) >= rows:
        raise CheckpointError(
            f"the tokenizer in {folder} is not the model's: its <image> is token {dialogue.image_id}, expected "
            f"{model.config.image_token_id} of {rows}; save both with geopix.checkpoint.save"
        )
    return model, dialogue


def _dialogue(tokenizer: Any, config: GeoPixConfig) -> Dialogue:
    return Dialogue(tokenizer, len(config.encoder_layers), config.tokens_per_scale, config.image_tokens)


def _fill(model: GeoPixModel, tensors: dict[str, Tensor], folder: Path) -> None:
    """Copy trained tensors into a model; a missing, extra, misshapen or non-finite one is an error."""
    own = trained_tensors(model)
    missing, extra = own.keys() - tensors.keys(), tensors.keys() - own.keys()
    if missing or extra:
        raise CheckpointError(
            f"{folder / TRAINED} does not fit: {len(missing)} tensors missing {sorted(missing)[:2]}, "
            f"{len(extra)} unexpected {sorted(extra)[:2]}; {_AGAIN}"
        )
    for name, tensor in tensors.items():
        if tensor.shape != own[name].shape:
            shapes = f"is {tuple(tensor.shape)}, expected {tuple(own[name].shape)}"
            raise CheckpointError(f"{name} in {folder / TRAINED} {shapes}; {_AGAIN}")
        _check_finite(name, tensor, folder / TRAINED)
        own[name].copy_(tensor)


def _check_finite(name: str, tensor: Tensor, where: Path) -> None:
    if not torch.isfinite(tensor).all():
        raise CheckpointError(f"{name} in {where} holds NaN or infinity; {_AGAIN}")


def _convert(model: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    """In place, by torch's own typed method."""
    model.to(device, dtype)


def _is_adapter(name: str) -> bool:
    return "lora_" in name or "trainable_tokens_delta" in name


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing; install GeoPix again, or run: git checkout -- {path}") from error
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); install GeoPix again") from error


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing; install GeoPix again, or run: git checkout -- {path}") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} can't be read: {error}") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} does not hold a JSON object")
    return found


def _device(device: str) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise CheckpointError("there is no CUDA device here; use --device cpu, or install a CUDA build of torch")
    if device not in ("cpu", "cuda"):
        raise CheckpointError(f"'{device}' is no device: give auto, cpu or cuda")
    return torch.device(device)
