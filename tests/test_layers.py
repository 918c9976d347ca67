"""The arrows between the parts of the package (docs/architecture.md), read from its imports."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1] / "projects"
# What each package may import besides itself, and besides the modules that lie in no package.
BELOW = {
    "config": [],
    "data": ["config"],
    "modeling": ["config", "data"],
    "evaluation": ["config", "data", "modeling"],
    "visualization": ["config", "data", "modeling", "evaluation"],
    "engine": ["config", "data", "modeling", "evaluation", "visualization"],
    "inference": ["config", "data", "modeling", "evaluation", "visualization"],
}
BELOW["benchmarks"] = list(BELOW)


class Import(NamedTuple):
    """That a module needs another, anywhere in its code.

    Attributes:
        place: file and line.
        source: the module, such as segtron.data.coco.
        target: the other; a package where the name is from its `__init__`.
        name: what is taken of it, "" for all of it.
    """

    place: str
    source: str
    target: str
    name: str


@pytest.fixture(scope="module")
def imports() -> list[Import]:
    modules = {_name_of(path): path for path in (ROOT / "segtron").rglob("*.py")}
    return [
        Import(f"{path.relative_to(ROOT)}:{line}", source, target, name)
        for source, path in modules.items()
        for line, target, name in _imports_of(path, modules.keys())
        if target.split(".")[0] == "segtron"
    ]


def _name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _imports_of(path: Path, modules: set[str]) -> Iterator[tuple[int, str, str]]:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno} is relative"
            for alias in node.names:
                module = f"{node.module}.{alias.name}"
                is_module = module in modules
                yield node.lineno, module if is_module else node.module, alias.name


def _package_of(module: str) -> str:
    """Empty for segtron itself and for modules that lie in no package of it."""
    package = module.removeprefix("segtron").removeprefix(".").partition(".")[0]
    return package if (ROOT / "segtron" / package).is_dir() else ""


def test_arrows_go_down(imports: list[Import]) -> None:
    assert {_package_of(each.source) for each in imports} == {"", *BELOW}
    turned = [
        f"{each.place} imports {each.target}"
        for each in imports
        if (source := _package_of(each.source))
        and _package_of(each.target) not in ("", source, *BELOW[source])
    ]
    assert turned == []


def test_modules_in_no_package_are_below_all(imports: list[Import]) -> None:
    turned = [
        f"{each.place} imports {each.target}"
        for each in imports
        # Importing the package enters its parts in Detectron2's registries.
        if each.source != "segtron" and not _package_of(each.source) and _package_of(each.target)
    ]
    assert turned == []


def test_no_module_needs_itself(imports: list[Import]) -> None:
    needs: dict[str, set[str]] = {}
    for each in imports:
        needs.setdefault(each.source, set()).add(each.target)
    graphlib.TopologicalSorter(needs).prepare()  # raises CycleError, which names the modules


def test_private_names_stay_in_their_module(imports: list[Import]) -> None:
    taken = [f"{each.place} takes {each.name}" for each in imports if each.name.startswith("_")]
    assert [text for text in taken if not text.endswith(" __version__")] == []
