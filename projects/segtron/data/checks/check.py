"""Everything that is wrong with data sets, and with one beside another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from segtron.data.checks.checked_set import CheckedSet, DataSet
from segtron.data.checks.classes import compare_classes
from segtron.data.checks.duplicates import check_duplicates
from segtron.data.checks.images import ListedImage, check_entries, check_pictures, check_unlisted
from segtron.data.checks.pictures import Picture, look_at
from segtron.data.checks.problems import Problems
from segtron.data.each_item import go_through
from segtron.memory import garbage_kept


@dataclass(frozen=True)
class Check:
    """What a check has found.

    Attributes:
        sets: that were checked.
        problems: of all of them.
        pictures: by path, the files that were read.
    """

    sets: Sequence[CheckedSet]
    problems: Problems
    pictures: dict[Path, Picture]


def check(sets: Sequence[DataSet], *, with_pixels: bool = True) -> Check:
    """Look for everything that is wrong with data sets.

    Args:
        sets: those of one role are taken for parts of one set, others are compared.
        with_pixels: whether pictures and label PNGs are read.

    Raises:
        UserError: a file or folder that a set is read from does not exist.
    """
    problems = Problems()
    with garbage_kept():
        checked = [data_set.read(problems, with_pixels=with_pixels) for data_set in sets]
    for one in checked:
        check_entries(one.listed, problems)
    pictures: dict[Path, Picture] = {}
    if with_pixels:
        paths = list(dict.fromkeys(image.path for one in checked for image in one.listed))
        seen = go_through(look_at, paths, "reading images")
        pictures = dict(zip(paths, seen, strict=True))
        _check_files(checked, pictures, problems)
    _compare(checked, problems)
    return Check(checked, problems, pictures)


def _check_files(
    checked: Sequence[CheckedSet], pictures: dict[Path, Picture], problems: Problems
) -> None:
    # Instances, segments and labels of one folder name the same images, and may differ on sizes.
    seen: set[tuple[Path, tuple[int, int]]] = set()
    by_role: dict[str, list[ListedImage]] = defaultdict(list)
    for one in checked:
        new = [image for image in one.listed if (image.path, image.size) not in seen]
        seen.update((image.path, image.size) for image in new)
        check_pictures(new, pictures, problems)
        by_role[one.role] += one.listed
    repeated = {one.name for one in _trained_and_tested(checked, problems)}
    for one in checked:
        if one.name in repeated:
            own = set(one.listed)
            by_role[one.role] = [image for image in by_role[one.role] if image not in own]
    owned = {image.path for role, images in by_role.items() if role for image in images}
    by_role[""] = [image for image in by_role[""] if image.path not in owned]
    check_duplicates(list(by_role.items()), pictures, problems)
    image_dirs = {one.image_dir for one in checked if one.image_dir is not None}
    check_unlisted([image.path for one in checked for image in one.listed], image_dirs, problems)


def _trained_and_tested(checked: Sequence[CheckedSet], problems: Problems) -> list[CheckedSet]:
    """Sets that come again in another role."""
    found = []
    first_of: dict[str, CheckedSet] = {}
    for one in checked:
        first = first_of.setdefault(one.name, one)
        if first.role != one.role:
            problems.add("set-in-two-roles", one.name, "", f"it is in {first.role} and {one.role}")
            found.append(one)
    return found


def _compare(checked: Sequence[CheckedSet], problems: Problems) -> None:
    for first, second in combinations(checked, 2):
        same_kind = first.kind == second.kind and first.name != second.name
        if not same_kind or first.classes is None or second.classes is None:
            continue
        if not first.classes.names or not second.classes.names:
            continue
        compare_classes(
            (first.name, first.classes),
            (second.name, second.classes),
            problems,
            first_is_learnt=first.is_learnt and not second.is_learnt,
        )
