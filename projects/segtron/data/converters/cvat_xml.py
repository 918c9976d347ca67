"""CVAT's XML, read element by element, so that memory holds one image or track at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import iterparse

from segtron.data.converters.shapes import numbers
from segtron.errors import UserError

ROOT = "annotations"
_DEEPEST = 50


class NoCvatError(UserError):
    """A file is XML, but of something else."""


def read_children(path: Path) -> Iterator[Element]:
    """The elements below the root, each as soon as it is complete.

    Raises:
        UserError: the file is missing, no XML, or defines entities or a document type, which can
            stand for more than memory holds.
        NoCvatError: the root isn't CVAT's.
    """
    try:
        with open(path, "rb") as file:
            yield from _children(iterparse(file, events=("start", "end"), forbid_dtd=True), path)
    except OSError as error:
        raise UserError(f"cannot read the annotations {path}: {error.strerror}") from error


def _children(events: Iterator[tuple[str, Element]], path: Path) -> Iterator[Element]:
    depth, root = 0, None
    while (event := _next(events, path)) is not None:
        kind, element = event
        depth += 1 if kind == "start" else -1
        if root is None:
            root = element
            if root.tag != ROOT:
                raise NoCvatError(
                    f"{path} is no XML of CVAT: it holds <{root.tag[:40]}>, not <{ROOT}>; export "
                    "it as 'CVAT for images 1.1' or 'CVAT for video 1.1'"
                )
        if depth > _DEEPEST:
            raise UserError(f"{path} nests deeper than CVAT's XML does; export it again")
        if depth == 1 and kind == "end":
            yield element
            root.clear()  # else it would keep what was read


def _next(events: Iterator[tuple[str, Element]], path: Path) -> tuple[str, Element] | None:
    try:
        return next(events, None)
    except ParseError as error:
        raise UserError(
            f"{path}:{error.position[0]} is broken XML ({error}); export it again"
        ) from (error)
    except DefusedXmlException as error:
        raise UserError(
            f"{path} defines a document type or entities, which CVAT never does; export it again"
        ) from error
    # An encoding that doesn't exist, or that expat doesn't read.
    except (LookupError, ValueError) as error:
        raise UserError(f"{path} is broken XML ({error}); export it again") from error


def whole_number(element: Element, name: str, where: str) -> int:
    """An attribute that is a whole number.

    Raises:
        UserError: it isn't.
    """
    text = element.get(name, "")
    try:
        return int(text)
    except ValueError as error:
        raise _no_number(element, name, where) from error


def lengths(element: Element, names: Iterable[str], where: str) -> list[float]:
    """Attributes that are coordinates or lengths, in pixels.

    Raises:
        UserError: one of them isn't.
    """
    values = []
    for name in names:
        try:
            values.append(float(element.get(name, "")))
        except ValueError as error:
            raise _no_number(element, name, where) from error
    return numbers(values, where)


def _no_number(element: Element, name: str, where: str) -> UserError:
    text = element.get(name)
    found = (
        f"has no {name!r}" if text is None else f"has {name!r} {text[:40]!r}, which is no number"
    )
    return UserError(f"{where} {found}; export it again")
