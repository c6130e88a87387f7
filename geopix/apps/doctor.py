"""``geopix doctor``: whether this machine can run the model (Fig. 2), and the command that mends what is missing.

Runs with nothing but typer and rich installed: everything else may be what is missing.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import platform
import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console

from geopix import parts
from geopix.apps import show
from geopix.apps.errors import clean

TORCH = "2.13.0"
"""The one release that the constraints allow: others may pull gigabytes of CUDA."""

PACKAGES = {
    "transformers": "transformers",
    "peft": "peft",
    "accelerate": "accelerate",
    "gguf": "gguf",
    "onnx": "onnx",
    "safetensors": "safetensors",
    "tokenizers": "tokenizers",
    "jaxtyping": "jaxtyping",
    "numpy": "numpy",
    "scipy": "scipy",
    "pillow": "PIL",
    "pycocotools": "pycocotools",
    "defusedxml": "defusedxml",
    "rasterio": "rasterio",
    "affine": "affine",
    "pyogrio": "pyogrio",
    "shapely": "shapely",
    "pyproj": "pyproj",
    "typer": "typer",
    "rich": "rich",
    "pydantic": "pydantic",
    "pyyaml": "yaml",
}
"""Distribution -> module. torch has a line of its own."""

NATIVE = ("rasterio", "pyogrio", "shapely", "pyproj")
"""Packages that are really imported: their C libraries can be broken where the package is present."""

WEIGHTS = ("nano.json", "trained.safetensors")
"""The files of nano's trained weights."""

DISK_BYTES = 1_000_000_000
"""Free disk that nano asks for while its parts are converted."""

MEMORY_BYTES = 2_000_000_000
"""Free memory that nano asks for at work on one image."""

# The repository, or the folder that the package was installed into.
_ROOT = Path(__file__).resolve().parents[2]

Level = Literal["ok", "note", "missing"]


@dataclass(frozen=True)
class Finding:
    """One thing looked at; ``mend`` is a command for the user where something helps."""

    level: Level
    what: str
    found: str
    mend: str | None = None


def run() -> bool:
    """Print every finding and the commands that mend; whether nothing needed is missing."""
    findings = list(examine())
    marks = {"ok": "ok", "note": "note", "missing": "MISSING"}
    rows = [(marks[finding.level], finding.what, finding.found) for finding in findings]
    Console(highlight=False).print(show.table(("", "what", "found"), rows))
    mends = dict.fromkeys(finding.mend for finding in findings if finding.mend)
    if mends:
        print("\nTo mend it, run:")
        for mend in mends:
            print(clean(f"  {mend}"))
    missing = sum(finding.level == "missing" for finding in findings)
    print(f"\nNeeded and missing: {missing}." if missing else "\nAll that is needed is here.")
    return not missing


def examine() -> Iterator[Finding]:
    """Everything that matters, in the order in which it would fail."""
    yield python_version(sys.version_info[:3])
    yield torch_version()
    yield from map(package, PACKAGES)
    for part in (parts.ENCODER, parts.LLM):
        yield packaged_part(part)
        yield converted_part(part)
    yield weights()
    yield disk()
    yield memory(free_memory())


def python_version(version: tuple[int, ...]) -> Finding:
    """Python 3.11 or newer, given as (major, minor, micro)."""
    found = f"{'.'.join(map(str, version))} on {platform.system()} {platform.machine()}"
    if version >= (3, 11):
        return Finding("ok", "Python", found)
    return Finding("missing", "Python", f"{found}; 3.11 or newer is needed", "python3.11 -m venv .venv && make setup")


def torch_version() -> Finding:
    """torch, its threads, and the CUDA device if there is one."""
    mend = _pip(f"torch=={TORCH}")
    try:
        torch = importlib.import_module("torch")
    except Exception as error:  # a broken torch fails in many ways: ImportError, OSError, AttributeError
        return Finding("missing", "torch", _why(error), mend)
    found = f"{torch.__version__}, {torch.get_num_threads()} threads, {_cuda(torch)}"
    if str(torch.__version__).partition("+")[0] == TORCH:
        return Finding("ok", "torch", found)
    return Finding("note", "torch", f"{found}; tested with {TORCH}", mend)


def _cuda(torch: object) -> str:
    try:
        cuda = getattr(torch, "cuda")  # noqa: B009  torch is known at run time only
        return f"CUDA on {cuda.get_device_name()}" if cuda.is_available() else "no CUDA device (the CPU does)"
    except Exception as error:
        return f"CUDA unusable: {_why(error)} (the CPU does)"


def package(name: str) -> Finding:
    """A package that GeoPix imports: present, and its version; native ones are imported to be sure."""
    try:
        version = importlib.metadata.version(name)
        if name in NATIVE:
            importlib.import_module(PACKAGES[name])
        elif importlib.util.find_spec(PACKAGES[name]) is None:
            raise ModuleNotFoundError(f"No module named {PACKAGES[name]!r}")
    except Exception as error:
        return Finding("missing", name, _why(error), _pip(name))
    return Finding("ok", name, version)


def packaged_part(part: parts.Part) -> Finding:
    """A pretrained part inside its pinned wheel; not needed again once it is converted."""
    what = f"{part.name} package"
    try:
        return Finding("ok", what, f"{part.requirement}: {part.source().name}")
    except (ValueError, OSError) as error:
        level: Level = "note" if parts.is_converted(part) else "missing"
        mend = None if level == "note" else _pip_part(part)
        return Finding(level, what, _why(error), mend)


def converted_part(part: parts.Part) -> Finding:
    """A part in the cache; a missing one is made at the first use."""
    what = f"{part.name} in the cache"
    if parts.is_converted(part):
        return Finding("ok", what, str(parts.cache_directory()))
    return Finding("note", what, f"will be converted once, at first use, into {parts.cache_directory()}")


def weights() -> Finding:
    """Our trained tensors of nano and their settings, inside the package."""
    folder = weight_folder()
    missing = [name for name in WEIGHTS if not (folder / name).is_file()]
    if not missing:
        size = sum((folder / name).stat().st_size for name in WEIGHTS)
        return Finding("ok", "trained weights", f"{show.megabytes(size)} in {folder}")
    in_git = (_ROOT / ".git").exists()
    mend = f"git -C {shlex.quote(str(_ROOT))} checkout HEAD -- geopix/weights" if in_git else _pip_ourselves()
    return Finding("missing", "trained weights", f"no {' and no '.join(missing)} in {folder}", mend)


def weight_folder() -> Path:
    """Where the trained weights of nano lie; `geopix.checkpoint.NANO`, which can't be imported without torch."""
    return _ROOT / "geopix" / "weights" / "nano"


def disk() -> Finding:
    """Free disk where the converted parts go."""
    folder = parts.cache_directory()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    found = f"{show.megabytes(free)} free at {folder}"
    if free >= DISK_BYTES or all(map(parts.is_converted, (parts.ENCODER, parts.LLM))):
        return Finding("ok", "disk", found)
    wanted = f"{found}; {show.megabytes(DISK_BYTES)} is needed"
    return Finding("missing", "disk", wanted, "export GEOPIX_CACHE=/a/folder/with/room")


def memory(free_bytes: int | None) -> Finding:
    """Free main memory, or None where the system does not tell."""
    if free_bytes is None:
        return Finding("note", "memory", "this system does not tell how much is free")
    found = f"{show.megabytes(free_bytes)} free"
    if free_bytes >= MEMORY_BYTES:
        return Finding("ok", "memory", found)
    wanted = f"{found}, and nano asks for about {show.megabytes(MEMORY_BYTES)}; close other programs if it runs out"
    return Finding("note", "memory", wanted)


def free_memory() -> int | None:
    """Bytes of main memory that a new program may have; None where the system does not tell."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _pip(what: str) -> str:
    constraints = _ROOT / "constraints.txt"
    held = f" -c {shlex.quote(str(constraints))}" if constraints.is_file() else ""
    return f"{_python()} -m pip install{held} {what}"


def _pip_ourselves() -> str:
    return f"{_python()} -m pip install --no-deps --force-reinstall geopix"


def _pip_part(part: parts.Part) -> str:
    listed = _ROOT / "parts.txt"
    what = f"--require-hashes -r {shlex.quote(str(listed))}" if listed.is_file() else part.requirement
    return f"{_python()} -m pip install --no-deps --force-reinstall {what}"


def _python() -> str:
    return shlex.quote(sys.executable or "python")


def _why(error: BaseException) -> str:
    if isinstance(error, importlib.metadata.PackageNotFoundError):
        return "not installed"
    if isinstance(error, ModuleNotFoundError):
        return f"not installed ({error})"
    return " ".join(clean(str(error) or type(error).__name__).split())
