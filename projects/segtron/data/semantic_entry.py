"""The `semantic` entries of DATASETS.REGISTER: what their fields may hold and what they mean.

    {name: mine, type: semantic, images: photos, labels: masks, classes: [sky, ground]}

Label values are places in `classes`, unless that is a mapping {value: name}. Optional fields:

- `ignore`: a value, or a list of values, of pixels without a class; 255 if it is left out.
- `label_format`: "ids" (one-channel PNGs, the default), "indices" (palette PNGs whose indices are
  the ids, such as Pascal VOC's) or "colors" (pictures in the colours of `palette`).
- `palette`: an RGB colour a class, in their order, to draw them in and to read "colors". With the
  latter, `classes` is a list, and `ignore` holds a colour or a list of colours.
- `label_suffix`: how label files end, ".png" if it is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from segtron.data.sem_seg import (
    IGNORED,
    MAX_CLASSES,
    ColorEncoding,
    IdEncoding,
    LabelEncoding,
    is_color,
)
from segtron.errors import UserError

FORMATS = ("ids", "indices", "colors")
# Gets a field's value and says what is wrong with it, "" if nothing is.
Check = Callable[[Any], str]


def check_text(value: Any) -> str:
    """For paths and suffixes."""
    return "" if isinstance(value, str) and value else f"is {value!r}; it must be a text"


def check_format(value: Any) -> str:
    """For the kinds of label files."""
    return "" if value in FORMATS else f"is {value!r}; it must be one of {', '.join(FORMATS)}"


def check_classes(value: Any) -> str:
    """For a list of names or a mapping from label values to names."""
    names = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(names, list) or not names:
        return f"is {value!r}; it must be a list of names, or a mapping {{value: name}}"
    if isinstance(value, dict) and not all(_is_label_value(v) for v in value):
        return "has a key that is no label value; these are whole numbers from 0 to 65535"
    for name in names:
        if not isinstance(name, str) or not name:
            return f"holds {name!r}, which is no name; put it in quotes"
        if names.count(name) > 1:
            return f"names {name!r} twice"
    if len(names) == 1:
        return (
            f"has the one name {names[0]!r}, which leaves nothing to tell it from; name the rest "
            f"as a class too, such as [background, {names[0]}]"
        )
    if len(names) > MAX_CLASSES:
        return f"has {len(names)} names; at most {MAX_CLASSES} classes are supported"
    return ""


def check_palette(value: Any) -> str:
    """For a list of colours."""
    if not isinstance(value, list) or not all(is_color(color) for color in value):
        return f"is {value!r}; it must be a list of colours [red, green, blue] from 0 to 255"
    for color in value:
        if value.count(color) > 1:
            return f"has the colour {color} twice"
    return ""


def check_ignore(value: Any) -> str:
    """For a label value, a colour, or a list of these."""
    values = value if isinstance(value, list) else [value]
    if not all(_is_label_value(v) or is_color(v) for v in values):
        return (
            f"is {value!r}; it must be a label value from 0 to 65535, a colour, or a list of them"
        )
    return ""


def check_semantic_entry(entry: Mapping[str, Any], where: str) -> None:
    """Make sure that the fields of an entry fit each other.

    Raises:
        UserError: names the fields.
    """
    palette, num_classes = entry.get("palette"), len(entry["classes"])
    if palette is not None and len(palette) != num_classes:
        raise UserError(
            f"{where}: 'palette' has {len(palette)} colours and 'classes' {num_classes} names; "
            "give each class a colour"
        )
    in_colors = _in_colors(entry)
    if in_colors and palette is None:
        raise UserError(f"{where}: 'label_format' is 'colors'; give each class one in 'palette'")
    if in_colors and isinstance(entry["classes"], dict):
        raise UserError(
            f"{where}: 'label_format' is 'colors', so label files have no values; make 'classes' a "
            "list of names, in the order of 'palette'"
        )
    # A config that is saved sorts its mappings, but not the palette.
    if palette is not None and isinstance(entry["classes"], dict):
        values = list(entry["classes"])
        if values != sorted(values):
            raise UserError(
                f"{where}: 'classes' has its values in the order {values}; with a 'palette', write "
                "them in ascending order, and the colours in that of the classes"
            )
    classes = palette if in_colors else _values(entry)
    for mark in _ignored(entry) if "ignore" in entry else ():
        if is_color(mark) != in_colors:
            raise UserError(
                f"{where}: 'ignore' holds {mark!r}; label files are "
                + ("pictures here, so it must be a colour" if in_colors else "no pictures here")
            )
        if mark in classes:
            raise UserError(
                f"{where}: {mark!r} is a class and in 'ignore'; leave it out of one of them"
            )


def class_names(entry: Mapping[str, Any]) -> list[str]:
    """Names of the classes in the order of the model's outputs."""
    classes = entry["classes"]
    return [classes[value] for value in sorted(classes)] if isinstance(classes, dict) else classes


def label_encoding(entry: Mapping[str, Any]) -> LabelEncoding:
    """What the label files' values stand for."""
    if _in_colors(entry):
        return ColorEncoding(
            colors=tuple(tuple(color) for color in entry["palette"]),
            ignored=tuple(tuple(color) for color in _ignored(entry)),
        )
    return IdEncoding(
        values=_values(entry),
        ignored=tuple(_ignored(entry)),
        indexed=entry.get("label_format") == "indices",
    )


def class_ids(entry: Mapping[str, Any]) -> tuple[int, ...]:
    """The ids by which label files call the classes; where they are pictures, 0 to K - 1."""
    return tuple(range(len(entry["classes"]))) if _in_colors(entry) else _values(entry)


def ignores_unasked(entry: Mapping[str, Any]) -> bool:
    """Whether 255 is ignored though the entry does not say so."""
    return "ignore" not in entry and IGNORED in _ignored(entry)


def _in_colors(entry: Mapping[str, Any]) -> bool:
    return entry.get("label_format") == "colors"


def _values(entry: Mapping[str, Any]) -> tuple[int, ...]:
    classes = entry["classes"]
    return tuple(sorted(classes)) if isinstance(classes, dict) else tuple(range(len(classes)))


def _ignored(entry: Mapping[str, Any]) -> list[Any]:
    """What stands for no class: values or colours."""
    if "ignore" not in entry:
        free = not _in_colors(entry) and IGNORED not in _values(entry)
        return [IGNORED] if free else []
    given = entry["ignore"]
    # Three numbers are one colour, or three values.
    single = not isinstance(given, list) or (_in_colors(entry) and is_color(given))
    return [given] if single else given


def _is_label_value(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**16
