"""Descriptions that mean one object (§IV-C): phrases from geometry, and whoever else may be asked to write them.

`describe` and `reading_order` are what questions for training are made from; `run` describes a whole set.
"""

from __future__ import annotations

from geopix.data.describe.phrases import ORDINALS, describe, of_an_only_one, reading_order

__all__ = ["ORDINALS", "describe", "of_an_only_one", "reading_order"]
