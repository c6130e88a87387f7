"""COCO instance annotations -> Sample: NWPU VHR-10 and the Sentinel-2 ports, our small SAMRS (§IV-A)."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PillowImage
from pycocotools import mask as coco_mask

from geopix.classes import canonical
from geopix.records import Instance, Mask, Sample, Split, decode_mask, mask_box


def read_coco(
    annotations: Path,
    images: Path,
    *,
    source: str,
    split: Split = "train",
    keep: Collection[str] | None = None,
    complete: bool = True,
) -> Iterator[Sample]:
    """Yield a sample for every annotated image of a COCO file.

    Args:
        annotations: The JSON file; segmentations may be polygons, compressed or uncompressed run lengths.
        images: Folder of the images; where a name is not there, the same stem with ``.png`` is taken.
        source: Name put before the file name in ``Sample.key``.
        split: The split the samples belong to.
        keep: File names to read; all when None.
        complete: Whether every object of the file's classes is annotated.

    Raises:
        ValueError: If a segmentation does not fit its image.
        OSError: If an image can't be read.
    """
    table: dict[str, Any] = json.loads(annotations.read_text(encoding="utf-8"))
    names = {category["id"]: canonical(category["name"]) for category in table["categories"]}
    by_image: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for annotation in table["annotations"]:
        by_image[annotation["image_id"]].append(annotation)
    for entry in table["images"]:
        file = entry["file_name"]
        if keep is not None and file not in keep:
            continue
        path = images / Path(file).name
        image = _read_rgb(path if path.is_file() else path.with_suffix(".png"))
        size_hw = image.shape[:2]
        instances = []
        for annotation in by_image[entry["id"]]:
            mask = _mask(annotation["segmentation"], size_hw)
            if mask.any():
                name = names[annotation["category_id"]]
                instances.append(Instance(phrase=name, class_name=name, box_xyxy_px=mask_box(mask), mask=mask))
        yield Sample(f"{source}/{file}", image, tuple(instances), split=split, complete=complete)


def read_vhr10(root: Path, split: Split) -> list[Sample]:
    """One split of NWPU VHR-10 as whole images; the folder holds annotations.json, split.json and images/.

    Raises:
        OSError: If a file is missing or can't be read.
    """
    keep = set(json.loads((root / "split.json").read_text(encoding="utf-8"))[split])
    return list(read_coco(root / "annotations.json", root / "images", source="nwpu_vhr10", split=split, keep=keep))


def _read_rgb(path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    with PillowImage.open(path) as picture:
        return np.asarray(picture.convert("RGB"), dtype=np.uint8)


def _mask(segmentation: Any, size_hw: tuple[int, int]) -> Mask:
    if isinstance(segmentation, str):  # VHR-10's file holds its polygons as text
        segmentation = json.loads(segmentation)
    if isinstance(segmentation, dict):
        return decode_mask(segmentation)
    polygons = [list(map(float, polygon)) for polygon in segmentation if len(polygon) >= 6]
    if not polygons:
        return np.zeros(size_hw, dtype=np.bool_)
    height, width = size_hw
    merged = coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))
    return np.asarray(coco_mask.decode(merged), dtype=np.bool_)
