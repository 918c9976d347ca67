"""What setup.py says of the package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def egg_info(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the package's metadata."""
    folder = tmp_path_factory.mktemp("metadata")
    command = [sys.executable, "setup.py", "-q", "egg_info", "--egg-base", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder / "segtron.egg-info"


def test_extras_have_the_pins_of_development(egg_info: Path) -> None:
    sections = (egg_info / "requires.txt").read_text().split("\n\n")
    extras = {name: lines for name, *lines in map(str.splitlines, sections) if name[:1] == "["}
    assert set(extras) == {"[albumentations]", "[export]"}
    assert [line.partition("==")[0] for line in extras["[albumentations]"]] == ["albumentations"]
    assert [line.partition("==")[0] for line in extras["[export]"]] == [
        "onnx",
        "onnxruntime",
        "onnxscript",
    ]
    pins = (ROOT / "requirements" / "development.txt").read_text().splitlines()
    assert {line for lines in extras.values() for line in lines} < set(pins)


def test_what_reads_the_repository_is_not_installed(egg_info: Path) -> None:
    sources = (egg_info / "SOURCES.txt").read_text().splitlines()
    assert "projects/segtron/visualization/templates/report/page.html" in sources
    assert not [path for path in sources if "/benchmarks/" in path]
    # What setup.py reads has to be there when a wheel is built from the source distribution.
    assert "requirements/development.txt" in sources


@pytest.mark.parametrize(
    "path", [*ROOT.glob("tools/*.py"), *ROOT.glob("datasets/*.py")], ids=lambda path: path.name
)
def test_command_lines_can_be_run_by_name(path: Path) -> None:
    assert path.read_text(encoding="utf-8").startswith("#!/usr/bin/env python\n")
    assert path.stat().st_mode & 0o111
