"""Where an image lies on the map, and the one error of this room (§III-A)."""

from __future__ import annotations

from dataclasses import dataclass

from affine import Affine


class ImageError(ValueError):
    """An image cannot be read, or an answer cannot be written; the message is one sentence for the user."""


@dataclass(frozen=True)
class Frame:
    """The place of an image on the map.

    Args:
        size_hw: Height and width in pixels.
        crs_wkt: The coordinate reference system as WKT, or None: then everything is in pixels.
        transform: (column, row) in pixels -> (x, y) in units of the CRS; the pixel at column 0 spans 0 to 1. It may
            rotate and shear. None without georeference; kept, but not used, where a CRS is missing.
        source: The file that was read, as it was named.
        notes: Sentences for the user about what was ignored in the file.
    """

    size_hw: tuple[int, int]
    crs_wkt: str | None
    transform: Affine | None
    source: str
    notes: tuple[str, ...] = ()

    @property
    def on_map(self) -> bool:
        """Whether pixels have map coordinates."""
        return self.crs_wkt is not None and self.transform is not None
