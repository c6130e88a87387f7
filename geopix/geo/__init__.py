"""Images in and answers out, on the map where there is one (§III-A: the image of Fig. 1 and the masks it gets).

`read` takes PNG, JPEG and GeoTIFF; `write` gives GeoPackage, GeoJSON, a GeoTIFF of labels and COCO. This is the only
room that knows rasterio, pyogrio, shapely and pyproj.
"""

from __future__ import annotations

from geopix.geo.frame import Frame, ImageError
from geopix.geo.pieces import read_piece, size_of
from geopix.geo.reading import DEFAULT_STRETCH, MAX_PIXELS, MIN_SIDE_PX, read
from geopix.geo.writing import SUFFIXES, check_output, write, write_png

__all__ = [
    "DEFAULT_STRETCH",
    "MAX_PIXELS",
    "MIN_SIDE_PX",
    "SUFFIXES",
    "Frame",
    "ImageError",
    "check_output",
    "read",
    "read_piece",
    "size_of",
    "write",
    "write_png",
]
