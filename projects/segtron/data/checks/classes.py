"""Classes: their names and numbers, in a set and between sets; and crowds, which have none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segtron.data.checks.instances import Instances
from segtron.data.checks.problems import Problems, shown
from segtron.data.checks.shapes import Shapes
from segtron.data.checks.structure import Categories
from segtron.data.sem_seg import MAX_CLASSES
from segtron.wording import first_few

# An object of more parts is noted.
MOST_PARTS = 16


@dataclass(frozen=True)
class ClassUse:
    """The classes of a set in the order in which models number them.

    Attributes:
        names: of the classes.
        objects: how many each has, in pixels where the set is one of labels.
    """

    names: Sequence[str]
    objects: Sequence[int]


def check_categories(
    categories: Categories, counts: np.ndarray, file: Path, problems: Problems
) -> ClassUse:
    """Enter what is wrong with a file's categories.

    Args:
        categories: of the file.
        counts: (C,) how many objects each has.
        file: the file.
        problems: what is wrong is entered there.
    """
    by_name: dict[str, int] = {}
    by_letters: dict[str, int] = {}
    for row, name in enumerate(categories.names):
        if name is None:
            continue
        entry = categories.entry(row)
        letters = " ".join(name.split()).casefold()
        if not letters:
            problems.add("class-unnamed", file, entry, f"its name is {shown(name)}")
        elif by_name.setdefault(name, row) != row:
            other = categories.entry(by_name[name])
            problems.add("class-repeated", file, entry, f"{other} has the same name")
        elif by_letters.setdefault(letters, row) != row:
            other = categories.entry(by_letters[letters])
            problems.add("class-similar", file, entry, f"its name is like that of {other}")
    for row in np.flatnonzero(counts == 0).tolist():
        problems.add("class-unused", file, categories.entry(row), "it has no object")
    _check_gaps(categories, file, problems)
    order = sorted(range(len(categories.ids)), key=categories.ids.__getitem__)
    return ClassUse(
        [categories.names[row] or "" for row in order], [int(counts[row]) for row in order]
    )


def _check_gaps(categories: Categories, file: Path, problems: Problems) -> None:
    ids = sorted(categories.ids)
    # Numbering from 0 and from 1 are both usual.
    if ids and (ids[0] not in (0, 1) or ids[-1] - ids[0] != len(ids) - 1):
        problems.add(
            "class-gap",
            file,
            "categories",
            f"{len(ids)} categories have ids from {ids[0]} to {ids[-1]}",
        )


def check_crowds(
    instances: Instances, shapes: Shapes, categories: Categories, problems: Problems
) -> None:
    """Enter crowds that are none, and objects that are rather crowds."""
    for row in np.flatnonzero(instances.is_crowd & (shapes.parts > 0)).tolist():
        parts = int(shapes.parts[row])
        problems.add(
            "crowd-polygons",
            instances.file,
            instances.entry(row),
            f"iscrowd is 1, and the segmentation has {parts} polygon{'s' * (parts != 1)}",
        )
    for row in np.flatnonzero(~instances.is_crowd & (shapes.parts > MOST_PARTS)).tolist():
        problems.add(
            "parts-many",
            instances.file,
            instances.entry(row),
            f"it has {shapes.parts[row]} polygons",
        )
    number = len(categories.ids)
    known = instances.category >= 0
    all_objects = np.bincount(instances.category[known], minlength=number)
    crowds = np.bincount(instances.category[known & instances.is_crowd], minlength=number)
    for row in np.flatnonzero((all_objects > 0) & (crowds == all_objects)).tolist():
        problems.add(
            "crowd-only",
            instances.file,
            categories.entry(row),
            f"it has {crowds[row]} objects, all with iscrowd 1",
        )


def compare_classes(
    first: tuple[str, ClassUse],
    second: tuple[str, ClassUse],
    problems: Problems,
    *,
    first_is_learnt: bool,
) -> None:
    """Enter where two sets of one kind disagree on classes.

    Args:
        first: a set's file, and its classes.
        second: another one's.
        problems: what is wrong is entered there.
        first_is_learnt: whether the first is the one to learn from, the second one to test on.
    """
    (file, classes), (other_file, others) = first, second
    if list(classes.names) != list(others.names):
        problems.add(
            "class-differs",
            other_file,
            "categories",
            f"it has {len(others.names)} ({first_few(list(map(shown, others.names)))}), {file} has "
            f"{len(classes.names)} ({first_few(list(map(shown, classes.names)))})",
        )
    elif first_is_learnt:
        for name, learnt, tested in zip(
            classes.names, classes.objects, others.objects, strict=True
        ):
            if tested and not learnt:
                problems.add(
                    "class-untrained",
                    other_file,
                    f"class {shown(name)}",
                    f"it has objects here, and none in {file}",
                )


def check_number(names: Sequence[str] | Mapping[int, str], file: Path, problems: Problems) -> None:
    """Enter it where there are more classes than maps of classes can hold."""
    if len(names) > MAX_CLASSES:
        problems.add("class-many", file, "categories", f"it has {len(names)} categories")
