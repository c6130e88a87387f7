"""The doctor: what is missing, and the command that mends it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from geopix import checkpoint, parts
from geopix.apps import doctor
from geopix.apps.cli import app
from geopix.apps.doctor import Finding

ROOT = Path(__file__).parents[2]
TYPER_AND_RICH = (
    "typer", "annotated_doc", "shellingham", "rich", "markdown_it", "mdurl", "pygments",
    "pydantic", "pydantic_core", "annotated_types", "typing_extensions", "typing_inspection",
)  # fmt: skip


def test_it_looks_at_every_dependency() -> None:
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in wanted}
    assert {*doctor.PACKAGES, "torch"} == names


def test_exit_code_and_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    findings = [Finding("ok", "Python", "3.11.7"), Finding("note", "memory", "little", "close a window")]
    monkeypatch.setattr(doctor, "examine", lambda: iter(findings))
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 0, result.output
    assert "close a window" in result.stdout
    assert "All that is needed is here" in result.stdout
    findings.append(Finding("missing", "torch", "not installed", "pip install torch"))
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 1
    assert "Needed and missing: 1." in result.stdout
    assert "  pip install torch\n" in result.stdout


def test_python_version() -> None:
    assert doctor.python_version((3, 11, 0)).level == "ok"
    assert doctor.python_version((3, 10, 12)).level == "missing"


def test_packages() -> None:
    assert doctor.package("numpy") == Finding("ok", "numpy", importlib.metadata.version("numpy"))


def test_a_missing_package_names_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", none)
    found = doctor.package("rasterio")
    assert (found.level, found.found) == ("missing", "not installed")
    assert found.mend is not None
    assert found.mend.endswith("rasterio")


def test_a_broken_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise OSError(f"lib{name}.so: cannot open shared object file")

    monkeypatch.setattr("importlib.import_module", broken)
    for found in (doctor.package("rasterio"), doctor.torch_version()):
        assert found.level == "missing"
        assert "cannot open shared object" in found.found


def test_parts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GEOPIX_CACHE", str(tmp_path / "not yet" / "made"))
    absent = parts.Part("encoder", "no_such_package", "no-such==1", "x", "0" * 64, "MIT", lambda source, target: None)
    found = doctor.packaged_part(absent)
    assert found.level == "missing"
    assert found.mend is not None
    assert "--no-deps" in found.mend
    assert doctor.converted_part(absent).level == "note"
    monkeypatch.setattr(parts, "is_converted", lambda part: True)
    assert doctor.packaged_part(absent).level == "note"  # what is converted needs its package no more
    assert doctor.converted_part(absent).level == "ok"


def test_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "weight_folder", lambda: tmp_path)
    (tmp_path / "trained.safetensors").write_bytes(b"0" * 2_000_000)
    found = doctor.weights()
    assert (found.level, found.found) == ("missing", f"no nano.json in {tmp_path}")
    assert found.mend is not None
    (tmp_path / "nano.json").write_text("{}")
    assert doctor.weights() == Finding("ok", "trained weights", f"2 MB in {tmp_path}")


def test_it_looks_where_the_model_is_loaded_from() -> None:
    assert doctor.weight_folder() == checkpoint.NANO
    assert checkpoint.TRAINED in doctor.WEIGHTS


def test_disk_and_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GEOPIX_CACHE", str(tmp_path / "not yet" / "made"))
    assert doctor.disk().level == "ok" or "needed" in doctor.disk().found
    monkeypatch.setattr(doctor, "DISK_BYTES", 10**18)
    assert doctor.disk().level == "missing"
    assert doctor.memory(None).level == "note"
    assert doctor.memory(10**9).level == "note"
    assert doctor.memory(10**10) == Finding("ok", "memory", "10.0 GB free")
    free = doctor.free_memory()
    assert free is None or free > 0


def test_it_runs_where_only_typer_and_rich_are_installed(tmp_path: Path) -> None:
    for name in TYPER_AND_RICH:
        spec = importlib.util.find_spec(name)
        assert spec is not None, f"{name} is not installed"
        assert spec.origin is not None
        found = Path(spec.origin).parent if spec.submodule_search_locations else Path(spec.origin)
        (tmp_path / found.name).symlink_to(found)
    (tmp_path / "geopix").symlink_to(ROOT / "geopix")
    # -S leaves the site packages out: what is not linked above does not exist.
    done = subprocess.run(
        [sys.executable, "-S", "-m", "geopix", "doctor"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert re.search(r"MISSING +torch +not installed", done.stdout)
    assert re.search(r"MISSING +rasterio +not installed", done.stdout)
    assert "torch==2.13.0" in done.stdout
