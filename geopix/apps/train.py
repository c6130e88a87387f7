"""``geopix train``: one stage of training from its settings file, resumable (§III-C)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from geopix.apps.errors import complain
from geopix.apps.show import quiet_stdout


class TrainError(ValueError):
    """A stage that can't be started or go on."""


def run(config: Path, overrides: Sequence[str], *, data: Path, runs: Path, export: Path | None) -> None:
    """Run a stage to its end, going on from the last checkpoint where there is one.

    Args:
        config: The stage's YAML file.
        overrides: ``key=value`` changes to it.
        data: The folder of the data sets.
        runs: Where feature stores, checkpoints and metrics go; made if need be.
        export: Where to write nano's inference form at the end, or None.

    Raises:
        TrainError: If a folder is missing or the training fell over, with the sentence for the user.
        ValueError: If the settings are wrong, or nano's parts can't be loaded.
        OSError: If something can't be read or written.
        KeyboardInterrupt: After Ctrl-C, saying how to go on.
    """
    from geopix import config as settings  # pydantic: not while --help is asked for

    if not config.is_file():
        raise TrainError(f"there is no settings file {config}; give a YAML file such as configs/nano_joint.yaml")
    stage = settings.load(config, overrides)
    if not data.is_dir():
        raise TrainError(f"there is no data folder {data}; give the folder that holds nwpu_vhr10 with --data")
    if export is not None and not stage.can_be_asked:
        raise TrainError(f"{config}: a stage of '{stage.language}' has no adapter to export; leave --export out")
    for folder in (runs, export):
        if folder is not None:
            _make(folder)
    try:
        with quiet_stdout():
            from geopix.train.run import run_stage  # seconds of torch: after wrong paths have been told

            run_stage(config, overrides, data, runs, export)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"stopped {stage.name}; run the same command again to continue") from None
    except FileNotFoundError as error:
        if isinstance(error.filename, (str, bytes, os.PathLike)) and _is_under(error.filename, data):
            missing = Path(os.fsdecode(error.filename))
            raise TrainError(f"{missing} is missing, and {stage.name} reads it; complete the data folder") from error
        raise
    except FloatingPointError as error:
        raise TrainError(
            f"{error}; run the same command again with on_bad_loss=skip or a lower learning_rate to continue"
        ) from error
    complain(f"{stage.name} is done: {runs / stage.name}")
    if export is not None:
        complain(f"wrote {export}")


def _make(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise TrainError(f"{folder} is a file, where a folder was expected; name another")
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise TrainError(f"{folder} can't be written; choose a folder that you may write to")


def _is_under(name: str | bytes | os.PathLike[str], folder: Path) -> bool:
    return Path(os.fsdecode(name)).absolute().is_relative_to(folder.absolute())
