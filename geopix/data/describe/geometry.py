"""The describer that needs no network and no model (§IV-C): the same image gives the same words."""

from __future__ import annotations

from geopix.data.describe.sentences import sentences
from geopix.data.describe.task import Task, UnusableError
from geopix.records import Instance, decode_mask


class Geometry:
    """Describes by arrangement, place, order and size; says nothing of what geometry can't tell apart."""

    name = "geometry"
    learns = False

    def describe(self, task: Task) -> dict[int, tuple[str, ...]]:
        """See `geopix.data.describe.task.Describer`; the image itself is not looked at."""
        size_hw = task.entry.size_hw
        whole = all(one.counts is not None for one in task.entry.objects)  # or areas of masks and boxes would be mixed
        try:
            instances = [
                Instance(
                    one.class_name,
                    one.class_name,
                    one.box_xyxy_px,
                    decode_mask({"size": size_hw, "counts": one.counts}) if whole else None,
                )
                for one in task.entry.objects
            ]
        except ValueError as error:
            raise UnusableError("annotations can't be used", str(error)) from error
        said = sentences(instances, size_hw, task.entry.key)
        return {index: said[index] for index in task.wanted}

    def stop(self) -> None:
        """Nothing is ever under way."""
