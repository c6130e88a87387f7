"""Load and save models (§V-A): nano, our folders, LLaVA, the authors' release, the hub; wrong tensors are errors."""

from geopix.checkpoint.adapter import load_adapter, merge_adapters, save_adapter
from geopix.checkpoint.auto import GeoPixProcessor
from geopix.checkpoint.describe import describe
from geopix.checkpoint.files import CheckpointError
from geopix.checkpoint.folder import save
from geopix.checkpoint.llava import from_llava
from geopix.checkpoint.nano import NANO, TRAINED, fresh_nano, save_nano, trained_tensors
from geopix.checkpoint.open import fast_dtype, load
from geopix.checkpoint.publish import convert, push, push_to_hub
from geopix.checkpoint.quantize import quantization
from geopix.checkpoint.sketch import LLAVA_7B, sketch

__all__ = [
    "LLAVA_7B", "NANO", "TRAINED", "CheckpointError", "GeoPixProcessor", "convert", "describe", "fast_dtype",
    "fresh_nano", "from_llava", "load", "load_adapter", "merge_adapters", "push", "push_to_hub", "quantization", "save",
    "save_adapter", "save_nano", "sketch", "trained_tensors",
]  # fmt: skip
