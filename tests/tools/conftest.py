"""Running tools as a user does, in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from segtron.data.toytown import make_toytown

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture(scope="session")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for DETECTRON2_DATASETS with a small toytown, which also passes for Cityscapes."""
    root = tmp_path_factory.mktemp("datasets")
    make_toytown(root / "toytown", train=6, val=4, size=(96, 192), seed=3)
    (root / "cityscapes").symlink_to(root / "toytown")
    return root


def assert_one_sentence(code: int, stderr: str, words: Sequence[str]) -> None:
    """A user's mistake: exit code 2 and one line, with these words in it."""
    assert code == 2, stderr
    (line,) = [line for line in stderr.splitlines() if line.startswith("error: ")]
    for word in words:
        assert word in line
    assert "Traceback" not in stderr


@pytest.fixture
def run_here(run_script: Callable[..., tuple[Any, str, str]]) -> Callable[..., tuple[Any, str]]:
    """Run a tool in this process; gives exit code and stderr."""

    def run_tool(tool: str, *args: Any) -> tuple[Any, str]:
        code, _, stderr = run_script(TOOLS / tool, *args)
        return code, stderr

    return run_tool
