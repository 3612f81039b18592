"""The wheel holds every package folder and every data file of the three parts."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("store", "actors", "runtime")
LEFTOVERS = ("__pycache__", ".mypy_cache", ".ruff_cache")


def _setuptools() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]


def _files() -> list[Path]:
    """Every file of the three parts, relative to the repository."""
    return sorted(
        path.relative_to(ROOT)
        for part in PARTS
        for path in (ROOT / part).rglob("*")
        if path.is_file() and not any(name in path.parts for name in LEFTOVERS) and path.suffix != ".pyc"
    )


def test_every_folder_with_python_or_sql_files_is_listed_as_a_package():
    """A folder that is not listed would be importable here and missing for users."""
    parents = {path.parent for path in _files() if path.suffix in {".py", ".sql"}}
    folders = {"perdure." + ".".join(parent.parts) for parent in parents}
    assert folders == set(_setuptools()["packages"])


def test_every_data_file_is_covered_by_package_data():
    """A data file that no pattern names would be missing from the wheel."""
    patterns = _setuptools()["package-data"]["*"]
    packages = {path.parent for path in _files() if path.name == "__init__.py"}
    covered = {
        found.relative_to(ROOT)
        for package in packages
        for pattern in patterns
        for found in (ROOT / package).glob(pattern)
    }
    assert [path for path in _files() if path.suffix != ".py" and path not in covered] == []


def test_every_package_is_typed_and_initialised():
    """Each of the three parts says that it has types, and every package has an `__init__.py`."""
    assert all((ROOT / part / "py.typed").is_file() for part in PARTS)
    folders = {path.parent for path in _files() if path.suffix == ".py"}
    assert [folder for folder in folders if not (ROOT / folder / "__init__.py").is_file()] == []


@pytest.mark.integration
def test_the_built_wheel_holds_exactly_the_files_of_the_three_parts(tmp_path: Path):
    """Build for real, from a copy, and compare names."""
    source = tmp_path / "source"
    for part in PARTS:
        shutil.copytree(ROOT / part, source / part, ignore=shutil.ignore_patterns(*LEFTOVERS))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w"]
    subprocess.run([*command, str(tmp_path), str(source)], check=True, capture_output=True, timeout=300)

    (wheel,) = tmp_path.glob("perdure-*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == {str(Path("perdure") / path) for path in _files()}
