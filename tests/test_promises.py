"""What the documents promise, held against the disk: the tree, the settings, the contract, the names in the tables."""

from __future__ import annotations

import fnmatch
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
MAX_BYTES = 40_000_000
TEXT = {".cfg", ".json", ".md", ".py", ".sh", ".toml", ".txt", ".yaml", ".yml", ""}
FOLDERS = ("geopix", "docs", "tests", "configs", "runs", "benchmarks", "examples")


def shipped(folder: Path = ROOT) -> Iterator[Path]:
    """Files of the repository, without what .gitignore leaves out."""
    ignored = [line.rstrip("/") for line in (ROOT / ".gitignore").read_text().splitlines()]
    for path in sorted(folder.iterdir()):
        if path.name == ".git" or any(fnmatch.fnmatch(path.name, pattern) for pattern in ignored):
            continue
        if path.is_dir():
            yield from shipped(path)
        else:
            yield path


def documents() -> list[Path]:
    return [path for path in shipped() if path.suffix == ".md"]


def tree_in_readme() -> list[str]:
    """The paths of the README's tree: two spaces a level, the name first, then what it is."""
    block = (ROOT / "README.md").read_text().split("## Layout", 1)[1].split("```text\n", 1)[1].split("```", 1)[0]
    folders: list[str] = []
    paths = []
    for line in block.splitlines():
        depth, name = (len(line) - len(line.lstrip())) // 2, line.split()[0]
        folders = [*folders[:depth], name.rstrip("/")]
        paths.append("/".join(folders) + ("/" if name.endswith("/") else ""))
    return paths


def rows(document: str, header: str) -> list[list[str]]:
    """The cells of the table under a header row that begins with the given words."""
    lines = (ROOT / document).read_text().splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith(header))
    cells = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        cells.append([cell.strip() for cell in line.strip().strip("|").split("|")])
    return cells


def test_every_path_of_the_readme_tree_exists() -> None:
    paths = tree_in_readme()
    assert len(paths) > 20
    for path in paths:
        found = ROOT / path
        assert found.is_dir() if path.endswith("/") else found.is_file(), f"the README's tree names {path}"


def test_the_readme_tree_names_every_module() -> None:
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "geopix").rglob("*.py")}
    named = set(tree_in_readme())
    missing = {module for module in modules if not module.endswith("/__init__.py")} - named
    assert not missing, f"not in the README's tree: {sorted(missing)}"


def test_the_readme_names_only_targets_of_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    for document in documents():
        named = set(re.findall(r"(?:`|^|\n|URL )make ([a-z-]+)", document.read_text()))
        assert named <= targets, f"{document.name} names {sorted(named - targets)}"


def test_the_readme_names_only_commands_that_exist() -> None:
    from geopix.apps.cli import app

    commands = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    commands |= {str(group.typer_instance.info.name) for group in app.registered_groups if group.typer_instance}
    named = set(re.findall(r"^(?:\.venv/bin/)?geopix ([a-z]+)", (ROOT / "README.md").read_text(), flags=re.MULTILINE))
    assert named
    assert named <= commands


def test_documents_name_only_files_that_exist() -> None:
    name = re.compile(r"(?<![\w./-])((?:" + "|".join(FOLDERS) + r")/[\w./-]*)")
    for document in documents():
        if document.name == "log.md":  # a dated log may name what is gone by now
            continue
        text = document.read_text()
        for path in name.findall(text):
            path = path.rstrip(".")
            assert (ROOT / path).exists(), f"{document.name} names {path}, which does not exist"
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (document.parent / target).exists(), f"{document.name} links to {target}, which does not exist"


def test_names_in_the_paper_table_stand_in_the_files_it_names() -> None:
    table = rows("docs/paper.md", "| Paper |")
    assert len(table) > 10
    for symbol, _, names, files in table:
        text = "".join((ROOT / file).read_text() for file in re.findall(r"`([^`]+)`", files))
        for name in re.findall(r"`(\w+)`", names):
            assert re.search(rf"\b{name}\b", text), f"docs/paper.md says that {symbol} is {name} in {files}"


def test_every_settings_file_builds() -> None:
    from geopix import config
    from geopix.ablation import plan
    from geopix.data.assembly import recipe

    for path in sorted((ROOT / "configs").glob("*.yaml")):
        if path.stem == "ablation":
            plan.load(path)
        else:
            recipe.load(path) if path.stem.endswith("_t") else config.load(path)


def test_every_module_opens_with_what_it_is() -> None:
    for path in (ROOT / "geopix").rglob("*.py"):
        assert path.read_text().startswith('"""'), f"{path.relative_to(ROOT)} has no docstring on its first line"


def test_the_import_contract_is_exhaustive_and_names_what_exists() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert [contract["containers"] for contract in contracts] == [["geopix"], ["geopix.model"]]
    for contract in contracts:
        assert contract["type"] == "layers"
        assert contract["exhaustive"]
        assert "ignore_imports" not in contract
        folder = ROOT / contract["containers"][0].replace(".", "/")
        for name in re.findall(r"\w+", " ".join(contract["layers"])):
            assert (folder / name).is_dir() or (folder / f"{name}.py").is_file(), f"no room {name} in {folder.name}"


def test_parts_are_pinned_by_hash_and_the_rest_by_version() -> None:
    def pins(file: str) -> list[str]:
        return [line for line in (ROOT / file).read_text().splitlines() if line and not line.startswith("#")]

    assert all(re.fullmatch(r"[\w-]+==[\d.]+ --hash=sha256:[0-9a-f]{64}", pin) for pin in pins("parts.txt"))
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pins("constraints.txt"))
    assert "torch==2.13.0" in pins("constraints.txt")


def test_no_file_is_heavier_than_a_clone_should_carry() -> None:
    heavy = [path.name for path in shipped() if path.stat().st_size > MAX_BYTES]
    assert not heavy, f"over {MAX_BYTES / 1e6:.0f} MB: {heavy}"


def test_no_text_names_a_path_of_some_machine() -> None:
    place = re.compile(r"(?<![\w.$}])/(?:wor[k]|tm[p]|roo[t]|hom[e]|User[s])/")
    for path in shipped():
        if path.suffix in TEXT:
            found = place.search(path.read_text())
            assert found is None, f"{path.relative_to(ROOT)} names {found.group() if found else ''}"


def test_continuous_integration_runs_both_commands() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert {"make check", "make test"} <= set(script.read_text().splitlines())
