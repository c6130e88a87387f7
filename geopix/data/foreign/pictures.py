"""The image folder of a foreign set: which file a name means, and how large it is (§IV)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from PIL import Image as PillowImage

from geopix.data.entries import EntryError, check_path

SUFFIXES = (".jpg", ".png", ".tif", ".jpeg", ".tiff", ".bmp")


class Pictures:
    """Finds images by the names that annotations give them.

    Args:
        root: The image folder.
        folders: Folders in it where the images may lie, the likeliest first.
    """

    def __init__(self, root: Path, folders: Sequence[str] = ("",)) -> None:
        self.root, self.there = root, root.is_dir()
        # What is not there need not be looked for in it, a hundred thousand times.
        self.folders = [folder for folder in folders if not folder or (root / folder).is_dir()] or list(folders[:1])

    def find(self, name: str) -> str:
        """The path, from the image folder, of the image that a name means.

        It may lie there under its last part only, or with another suffix; where there is none, the path that it
        should have.

        Raises:
            EntryError: If the name leads out of the folder.
        """
        check_path(name)
        path = PurePosixPath(name)
        if not self.there:
            return str(PurePosixPath(self.folders[0]) / path)
        for named in dict.fromkeys((path, PurePosixPath(path.name))):
            for folder in self.folders:
                if (self.root / folder / named).is_file():
                    return str(PurePosixPath(folder) / named)
        for suffix in SUFFIXES:
            for folder in self.folders:
                other = PurePosixPath(folder) / path.with_suffix(suffix).name
                if (self.root / other).is_file():
                    return str(other)
        return str(PurePosixPath(self.folders[0]) / path)

    def size_hw(self, path: str) -> tuple[int, int]:
        """Height and width in pixels of an image, from its header."""
        return image_size(self.root / path)


def image_size(path: Path) -> tuple[int, int]:
    """Height and width in pixels, from an image's header.

    Raises:
        EntryError: If it is missing or no image.
    """
    if not path.is_file():
        raise EntryError("image missing", str(path))
    try:
        with PillowImage.open(path) as picture:
            width, height = picture.size
    except (OSError, SyntaxError, ValueError, PillowImage.DecompressionBombError) as error:
        raise EntryError("image unreadable", f"{path} ({error})") from error
    return height, width
