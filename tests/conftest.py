"""What every test shares: shapes are checked while tests run, and nothing reaches for a network."""

from __future__ import annotations

import os

from jaxtyping import install_import_hook

# Before anything of the model is imported: jaxtyping's annotations become checks of every call's shapes.
install_import_hook(["geopix.model", "geopix.losses"], "beartype.beartype")

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
