"""The authors' release in a few thousand parameters, laid out as they laid it out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import LlavaForConditionalGeneration

from geopix.dialogue import segmentation_tokens
from tests.tiny_llava import llava_tokenizer, tiny_llava

MANIFEST = Path(__file__).parent / "golden" / "released_manifest.json"
TINY = {4096: 48, 1024: 32, 512: 64, 2048: 256, 256: 32, 128: 16, 32: 4, 768: 96}
"""The sizes of the released modules -> those of the tiny ones: hidden, channels, widths."""


def tiny_shape(name: str, shape: list[int]) -> list[int]:
    """The shape that a tensor of the manifest has here."""
    if name.startswith("clm.learnable_memory"):
        return [2, 2, 3, 4, 8, 8]
    return [TINY.get(size, size) for size in shape]


def speaking(llava: LlavaForConditionalGeneration, tokenizer: Any) -> None:
    """Make a language model of noise answer everything with one mask: a group, then the end.

    Channel 0 of every hidden state is large and asks for [SEG0]; the last token of a group has a larger channel 1,
    which asks for the end.
    """
    first, last, end = tokenizer.convert_tokens_to_ids(["[SEG0]", "[SEG5]", "</s>"])
    whole: Any = llava
    inputs, outputs = whole.get_input_embeddings().weight, whole.get_output_embeddings().weight
    projector = whole.model.multi_modal_projector
    with torch.no_grad():
        inputs[:, :2], outputs[:, :2] = 0, 0
        inputs[:, 0], projector.linear_2.bias[0] = 20, 20
        inputs[last, 1] = 40
        outputs[first, 0], outputs[end, 1] = 50, 100


def write_release(folder: Path) -> None:
    """vlm/ split into its configs, seg/ as safetensors, pec/ and clm/ as pickles, the rest as .pth."""
    tokenizer = llava_tokenizer(["<image>", "<pad>", *segmentation_tokens(2, 3)])
    tokenizer.save_pretrained(folder)
    llava = tiny_llava(tokenizer)
    speaking(llava, tokenizer)
    llava.save_pretrained(folder / "vlm", max_shard_size="100KB")
    settings = json.loads((folder / "vlm" / "config.json").read_text())
    for part in ("vision", "text"):
        write_json(settings.pop(f"{part}_config"), folder / "vlm" / part)
    write_json(settings, folder / "vlm")
    write_json({"model_type": "GeoPix", "seg_token_num": 3, "image_feature_scale_num": 2}, folder)
    write_json({"model_type": "mask_predictor", "prompt_embed_dim": 32}, folder / "seg")
    write_json({"model_type": "prompt_encoder", "prompt_embed_dim": 32}, folder / "pec")
    write_json({"model_type": "clm", "num_class": 2, "feature_h": 8, "feature_w": 8, "output_dim": 32}, folder / "clm")
    torch.manual_seed(1)
    tensors = {name: _drawn(name, shape) for name, shape in json.loads(MANIFEST.read_text()).items()}
    for part in ("seg", "pec", "clm", "image_neck_rough", "image_neck_detail", "text_hidden_fcs"):
        own = {name.removeprefix(f"{part}."): value for name, value in tensors.items() if name.startswith(f"{part}.")}
        if part == "seg":
            save_file(own, folder / part / "model.safetensors", metadata={"format": "pt"})
        else:
            torch.save(own, folder / part / "pytorch_model.bin" if part in ("pec", "clm") else folder / f"{part}.pth")
    torch.save([torch.nn.Parameter(torch.tensor(one)) for one in (0.2, 0.3, 0.5)], folder / "multiseg_scalar.pth")
    torch.save([torch.tensor(one) for one in (0.6, 0.4)], folder / "multiscale_scalar.pth")


def change(path: Path, edit: Callable[[dict[str, Tensor]], None]) -> None:
    """Edit the tensors of one file of the release."""
    if path.suffix == ".safetensors":
        tensors = load_file(path)
        edit(tensors)
        save_file(tensors, path, metadata={"format": "pt"})
    else:
        tensors = torch.load(path, weights_only=True)
        edit(tensors)
        torch.save(tensors, path)


def write_json(settings: dict[str, Any], folder: Path) -> None:
    """A folder's config.json."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(settings))


def _drawn(name: str, shape: list[int]) -> Tensor:
    size = tiny_shape(name, shape)
    if name.endswith("num_batches_tracked"):
        return torch.zeros(size, dtype=torch.long)
    drawn = 0.3 * torch.randn(size)
    return 1 + drawn.abs() if name.endswith("running_var") else drawn
