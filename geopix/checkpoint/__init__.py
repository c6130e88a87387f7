"""Load and save models (§V-A): the embedded nano, whole folders, the hub; every wrong tensor is an error."""

from geopix.checkpoint.describe import describe
from geopix.checkpoint.files import CheckpointError
from geopix.checkpoint.folder import save
from geopix.checkpoint.nano import NANO, TRAINED, fresh_nano, save_nano, trained_tensors
from geopix.checkpoint.open import fast_dtype, load

__all__ = [
    "NANO", "TRAINED", "CheckpointError", "describe", "fast_dtype", "fresh_nano", "load", "save", "save_nano",
    "trained_tensors",
]  # fmt: skip
