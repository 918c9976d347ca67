"""Which images become validation data: a share of them, or a list; whole groups, if there are."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from segtron.errors import UserError

BY_FOLDER = "folder"
# Names of images are short; more is no list of them.
_LARGEST_LIST = 2**28


@dataclass(frozen=True)
class Split:
    """How to split.

    Attributes:
        share: of the images that become validation data, above 0 and below 1; None with `listed`.
        listed: a text file with a validation image a line, by its path below OUT/images, or what
            of its end is enough to tell it; with or without the suffix.
        group_by: what images that stay together have in common: "folder", or a regular expression
            whose one group finds it in the image's path; None for the groups of the source, if they
            are more than the images' folders.
        seed: of the choice; the same one chooses the same images.
    """

    share: float | None = None
    listed: Path | None = None
    group_by: str | None = None
    seed: int = 0


def check_split(split: Split) -> None:
    """Make sure, before long work, that a split can be made.

    Raises:
        UserError: the share isn't one, the regular expression is none or has not one group, or the
            list can't be read.
    """
    if split.share is not None and not 0 < split.share < 1:
        raise UserError(f"--val-share is {split.share:g}; it must be above 0 and below 1")
    if split.group_by not in (None, BY_FOLDER):
        _expression(split.group_by)
    if split.listed is not None:
        _read_list(split.listed)


def choose_validation(images: Sequence[tuple[str, str]], split: Split) -> frozenset[str]:
    """Choose the validation images.

    Args:
        images: the name of each and the group that the source says it is of, "" if it says none.
        split: how.

    Returns:
        Their names. All others are training images; there is one of each kind at least.

    Raises:
        UserError: the list names an image that isn't there, or a part of a group that `group_by`
            makes; there are too few images, or groups, to split; or one is of no group.
    """
    groups = _group(images, split)
    if split.listed is not None:
        chosen = _find_listed([name for name, _ in images], split.listed)
        if split.group_by is not None:
            _check_whole(groups, chosen, split.listed)
    else:
        chosen = _draw(groups, len(images), split)
    if len(chosen) in (0, len(images)):
        raise UserError(
            f"of {len(images)} images {len(chosen)} would be validation data, which leaves "
            f"{'none of these' if not chosen else 'none to train on'}; choose another split"
        )
    return chosen


def _group(images: Sequence[tuple[str, str]], split: Split) -> dict[str, list[str]]:
    """Names by group; an image of no group is one by itself."""
    groups: dict[str, list[str]] = {}
    for name, own in sorted(images):
        groups.setdefault(_key(name, own, split.group_by), []).append(name)
    return groups


def _key(name: str, own: str, group_by: str | None) -> str:
    folder = str(PurePosixPath(name).parent)
    if group_by is None:
        # Folders are often those of a class or of an old split, which nobody wants kept together.
        return f"group {own}" if own not in ("", folder) else f"image {name}"
    if group_by == BY_FOLDER:
        return folder
    found = _expression(group_by).search(name)
    if found is None or found[1] is None:
        raise UserError(
            f"--group-by {group_by!r} finds nothing in the image {name!r}; correct the expression"
        )
    return found[1]


def _expression(text: str) -> re.Pattern[str]:
    try:
        expression = re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise UserError(f"--group-by {text!r} is no regular expression ({error})") from error
    if expression.groups != 1:
        raise UserError(
            f"--group-by {text!r} has {expression.groups} groups in parentheses; it must have one, "
            "which finds what the images of a group have in common"
        )
    return expression


def _draw(groups: dict[str, list[str]], number: int, split: Split) -> frozenset[str]:
    """Draw groups until the share is reached, or as near as whole groups get to it."""
    if len(groups) < 2:
        what = "is only one image" if number == 1 else f"are only {number} images of one group"
        raise UserError(f"there {what}, which can't be split; choose another --group-by")
    order = list(groups)
    random.Random(split.seed).shuffle(order)
    wanted = (split.share or 0) * number
    chosen: list[str] = []
    left = []
    # One group at least is left to train on.
    for key in order[:-1]:
        if len(chosen) + len(groups[key]) <= wanted:
            chosen += groups[key]
        else:
            left.append(groups[key])
    smallest = min(left, key=len, default=[])
    if not chosen or len(chosen) + len(smallest) - wanted < wanted - len(chosen):
        chosen += smallest
    return frozenset(chosen)


def _read_list(path: Path) -> list[str]:
    try:
        if path.stat().st_size > _LARGEST_LIST:
            raise UserError(f"{path} is too large for a list of images")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"cannot read the list {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no list of images: {error}; save it as UTF-8 text") from error
    lines = [line.strip().replace("\\", "/") for line in text.splitlines()]
    names = [line for line in lines if line]
    if not names:
        raise UserError(f"{path} names no image; write one a line")
    return names


def _find_listed(names: Sequence[str], path: Path) -> frozenset[str]:
    by_ending: dict[str, set[str]] = {}
    whole = set(names)
    for name in names:
        for ending in _endings(name):
            by_ending.setdefault(ending, set()).add(name)
    chosen = []
    for listed in _read_list(path):
        found = {listed} if listed in whole else by_ending.get(listed.removeprefix("./"), set())
        if len(found) != 1:
            problem = f"{len(found)} images could be meant; name its folder, too"
            raise UserError(
                f"{path} names {listed!r}: "
                + (problem if found else "no converted image is called so; correct or remove it")
            )
        chosen += found
    return frozenset(chosen)


def _endings(name: str) -> list[str]:
    """All that an image may be called by: its path or the end of it, with and without suffix."""
    parts = PurePosixPath(name).parts
    paths = ["/".join(parts[start:]) for start in range(len(parts))]
    return [*paths, *(str(PurePosixPath(path).with_suffix("")) for path in paths)]


def _check_whole(groups: dict[str, list[str]], chosen: frozenset[str], path: Path) -> None:
    for key, members in groups.items():
        if 0 < len(chosen.intersection(members)) < len(members):
            missing = next(name for name in members if name not in chosen)
            raise UserError(
                f"{path} names a part of the group {key!r}, but not its image {missing!r}; add it, "
                "or leave --group-by out"
            )
