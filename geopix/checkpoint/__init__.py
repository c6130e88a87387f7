"""Load and save models (§V-A): nano, our folders, LLaVA, the authors' release, the hub; wrong tensors are errors."""

from geopix.checkpoint.describe import describe
from geopix.checkpoint.files import CheckpointError
from geopix.checkpoint.folder import save
from geopix.checkpoint.llava import from_llava
from geopix.checkpoint.nano import NANO, TRAINED, fresh_nano, save_nano, trained_tensors
from geopix.checkpoint.open import convert, fast_dtype, load

__all__ = [
    "NANO", "TRAINED", "CheckpointError", "convert", "describe", "fast_dtype", "fresh_nano", "from_llava", "load",
    "save", "save_nano", "trained_tensors",
]  # fmt: skip
