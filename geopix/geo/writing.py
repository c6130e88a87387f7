"""Answers out: polygons, label rasters, COCO and pictures, whole or not at all (§III-A, the masks of Fig. 1)."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import secrets
import warnings
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image as PillowImage
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from geopix.geo.frame import Frame, ImageError
from geopix.geo.vectors import encode_vectors
from geopix.records import Answer, Image, Instance, Mask, encode_mask, mask_box

SUFFIXES: Final = (".png", ".gpkg", ".geojson", ".tif", ".tiff", ".json")
"""What the suffix of an output may be: picture, GeoPackage, GeoJSON, label raster, COCO."""


def check_output(path: Path, overwrite: bool, source: str | None = None) -> None:
    """Says what stands in the way of writing a file, before the model has worked for it.

    Args:
        path: Where the output shall go.
        overwrite: Whether it may replace a file.
        source: The image that was read (`Frame.source`); it is never replaced.

    Raises:
        ImageError: If the suffix is unknown, the folder is missing or not writable, a file is there and ``overwrite``
            is not set, or the output is the input.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ImageError(f"{path} has the suffix '{path.suffix}'; an output ends in one of {', '.join(SUFFIXES)}.")
    if path.is_dir():
        raise ImageError(f"{path} is a folder; name a file in it.")
    if path.exists() and not path.is_file():
        raise ImageError(f"{path} is not a regular file; name another output.")
    if source is not None and os.path.realpath(path) == os.path.realpath(source):
        raise ImageError(f"{path} is the image itself, which is never overwritten; name another output.")
    if path.exists() and not overwrite:
        raise ImageError(f"{path} exists already; name another file, or add --overwrite to replace it.")
    folder = Path(os.path.realpath(path)).parent
    if not folder.is_dir():
        raise ImageError(f"there is no folder {folder}; make it first, for example with: mkdir -p '{folder}'")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ImageError(f"the folder {folder} is read-only for you; name an output in another folder.")


def write(
    answer: Answer, image: Image, frame: Frame, path: Path, *, question: str, overwrite: bool = False
) -> str | None:
    """Writes an answer; the suffix picks the form. The file appears whole or not at all.

    - ``.gpkg``: a layer "instances" of valid MultiPolygons with holes, in the image's CRS; columns id, phrase, class,
      class_score, score, area_m2 (geodesic), question, model. Every instance is one row, in the order of the answer.
    - ``.geojson``: the same in longitude and latitude (WGS 84), as RFC 7946 demands, whatever the image's CRS.
    - ``.tif``, ``.tiff``: the instances' numbers from 1 as uint32 on the image's own grid, 0 (nodata) elsewhere;
      where masks overlap the smaller one is on top. Instances without a mask fill their box.
    - ``.json``: COCO instances with compressed run lengths (a box polygon where there is no mask).

    An answer without instances gives a valid empty file. Off the map polygons are in pixels, x right and y down.
    Pictures (``.png``) need a drawing: `geopix.render.overlay`, then `write_png`.

    Args:
        answer: What was said; its masks are (H, W) bool.
        image: (H, W, 3) uint8 RGB, the image that was asked; only its size is used, to refuse another image's masks.
        frame: Where the image lies.
        path: The output.
        question: What was asked.
        overwrite: Whether an existing file may be replaced.

    Returns:
        A sentence for the user about what the file cannot hold, or None.

    Raises:
        ImageError: As `check_output` does, and if the sizes differ or the disk takes no more.
    """
    check_output(path, overwrite, frame.source)
    for what, size_hw in [
        ("the image", image.shape[:2]),
        ("the answer", answer.size_hw),
        *((f"mask {n}", one.mask.shape) for n, one in enumerate(answer.instances, 1) if one.mask is not None),
    ]:
        if tuple(size_hw) != frame.size_hw:
            raise ImageError(f"{what} is {tuple(size_hw)} px (height, width), but {frame.source} is {frame.size_hw}.")
    suffix = path.suffix.lower()
    if suffix in (".gpkg", ".geojson"):
        data = encode_vectors(answer, frame, "GPKG" if suffix == ".gpkg" else "GeoJSON", question)
    elif suffix in (".tif", ".tiff"):
        data = _encode_labels(answer, frame)
    elif suffix == ".json":
        data = json.dumps(_coco(answer, frame, question), ensure_ascii=True).encode()
    else:
        raise ImageError(f"{path} is a picture, and an answer is none; draw it with geopix.render.overlay first.")
    _save(path, data, overwrite)
    if suffix == ".json" or frame.on_map:
        return None
    if suffix.startswith(".tif"):
        return f"{frame.source} has no map coordinates, so neither has {path}."
    return (
        f"{frame.source} has no map coordinates: the polygons in {path} are in pixels "
        "(x right, y down from the top-left corner), without a CRS and without areas."
    )


def write_png(image: Image, path: Path, overwrite: bool = False) -> None:
    """Writes (H, W, 3) uint8 RGB as a PNG, whole or not at all.

    Raises:
        ImageError: As `check_output` does, and if the disk takes no more.
    """
    check_output(path, overwrite)
    buffer = io.BytesIO()
    PillowImage.fromarray(image).save(buffer, "PNG")
    _save(path, buffer.getvalue(), overwrite)


def _save(path: Path, data: bytes, overwrite: bool) -> None:
    """Puts bytes in place in one step; nothing is left behind when it fails or is interrupted."""
    # Every format is made in memory first: only Python's own write reports a full disk reliably.
    target = Path(os.path.realpath(path))  # a link keeps pointing at the file it names
    draft = target.with_name(f".{target.name[:100]}.{secrets.token_hex(6)}.part")
    try:
        with draft.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if not overwrite and target.exists():
            raise ImageError(f"{path} has just been made by something else; name another file, or add --overwrite.")
        draft.replace(target)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        advice = "make room or name an output on another disk" if full else "name an output in another folder"
        reason = (error.strerror or str(error)).lower()
        raise ImageError(f"{path} cannot be written ({reason}), and nothing was left behind; {advice}.") from error
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()


def _encode_labels(answer: Answer, frame: Frame) -> bytes:
    """A tiled, deflated uint32 GeoTIFF of instance numbers."""
    labels = np.zeros(frame.size_hw, np.uint32)
    filled = [_filled(instance, frame.size_hw) for instance in answer.instances]
    for index in sorted(range(len(filled)), key=lambda index: -int(filled[index].sum())):
        labels[filled[index]] = index + 1
    profile = {"driver": "GTiff", "dtype": "uint32", "count": 1, "nodata": 0, "compress": "deflate", "predictor": 2}
    layout = {"tiled": True, "blockxsize": 256, "blockysize": 256, "bigtiff": "IF_SAFER"}
    place = {"crs": frame.crs_wkt} | ({} if frame.transform is None else {"transform": frame.transform})
    height, width = frame.size_hw
    with warnings.catch_warnings(), MemoryFile() as memory:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with memory.open(height=height, width=width, **profile, **layout, **place) as raster:
            raster.write(labels, 1)
            raster.set_band_description(1, "instance number; 0 is none")
        return bytes(memory.read())


def _filled(instance: Instance, size_hw: tuple[int, int]) -> Mask:
    """The mask of an instance, or the pixels of its box whose centres lie inside."""
    if instance.mask is not None:
        return instance.mask
    x1, y1, x2, y2 = instance.box_xyxy_px
    columns, rows = np.arange(size_hw[1]) + 0.5, np.arange(size_hw[0]) + 0.5
    inside: Mask = np.outer((rows >= y1) & (rows < y2), (columns >= x1) & (columns < x2))
    return inside


def _coco(answer: Answer, frame: Frame, question: str) -> dict[str, Any]:
    """A COCO instances file of one image; scores and phrases as further keys, which COCO tools pass over."""
    names = sorted({instance.class_name for instance in answer.instances})
    annotations: list[dict[str, Any]] = []
    for number, instance in enumerate(answer.instances, 1):
        x1, y1, x2, y2 = instance.box_xyxy_px if instance.mask is None else mask_box(instance.mask)
        area = (x2 - x1) * (y2 - y1) if instance.mask is None else int(instance.mask.sum())
        outline = [[x1, y1, x2, y1, x2, y2, x1, y2]]
        annotations.append(
            {
                "id": number,
                "image_id": 1,
                "category_id": names.index(instance.class_name) + 1,
                "segmentation": outline if instance.mask is None else encode_mask(instance.mask),
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": area,
                "iscrowd": 0,
                "phrase": instance.phrase,
                "class_score": instance.class_score,
                "score": instance.score,
            }
        )
    height, width = frame.size_hw
    return {
        "info": {"description": answer.text, "question": question, "model": answer.model},
        "images": [{"id": 1, "file_name": Path(frame.source).name, "height": height, "width": width}],
        "annotations": annotations,
        "categories": [{"id": index, "name": name, "supercategory": ""} for index, name in enumerate(names, 1)],
    }
