"""``geopix convert``: the authors' release as a folder of ours, without pickles (§V-A)."""

from __future__ import annotations

from pathlib import Path

from geopix.apps.errors import complain
from geopix.apps.show import quiet_stdout


def run(model: str, out: Path) -> None:
    """Write the folder, and say on stderr where it went.

    Raises:
        ValueError: If the release can't be read or the folder is not empty, with the sentence for the user.
        OSError: If it can't be written.
    """
    with quiet_stdout():
        from geopix import checkpoint  # seconds of torch

        checkpoint.convert(model, out)
    complain(f"wrote {out}")
