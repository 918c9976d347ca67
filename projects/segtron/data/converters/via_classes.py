"""The class of a region of VIA: which of its attributes holds it, and what the attribute says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from segtron.data.converters.labelled_image import as_attribute
from segtron.errors import UserError

DEFAULT_CLASS = "object"
# What people call the attribute, the likeliest first.
USUAL_NAMES = ("class", "label", "category", "type", "name", "object", "class_name", "label_name")


class ClassReader:
    """Reads the class of regions.

    Attributes:
        attribute: the attribute that holds it; None where regions have none.
    """

    def __init__(
        self,
        regions: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]],
        described: Sequence[Any],
        attribute: str | None,
        default: str | None,
        where: str,
    ) -> None:
        """
        Args:
            regions: all of the source, each with its picture's entry.
            described: what projects say of regions' attributes, {name: {...}} each.
            attribute: the one to read; None to find it.
            default: the class of regions without one; None if they shall have none.
            where: what to call the source.

        Raises:
            UserError: no region and no file has the attribute, or there are several and none has
                one of the `USUAL_NAMES`.
        """
        of_regions: dict[str, None] = {}
        of_files: dict[str, None] = {}
        for region, entry in regions:
            of_regions.update(dict.fromkeys(_attributes(region, "region_attributes")))
            of_files.update(dict.fromkeys(_attributes(entry, "file_attributes")))
        for names in described:
            of_regions.update(dict.fromkeys(names if isinstance(names, dict) else ()))
        if attribute is None:
            attribute = _find(list(of_regions), where)
        elif attribute not in of_regions and attribute not in of_files:
            known = ", ".join(map(repr, [*of_regions, *of_files])) or "none"
            raise UserError(
                f"{where} has no attribute {attribute!r}; there are: {known}; choose with "
                "--class-attribute"
            )
        self.attribute = attribute
        self._of_file = attribute is not None and attribute not in of_regions
        self._default = DEFAULT_CLASS if attribute is None and default is None else default

    def read(self, region: Mapping[str, Any], entry: Mapping[str, Any]) -> tuple[str | None, str]:
        """The class of a region of a picture's entry; or None and what is wrong."""
        values = (
            _attributes(entry, "file_attributes")
            if self._of_file
            else _attributes(region, "region_attributes")
        )
        names = _chosen(values.get(self.attribute))
        if len(names) > 1:
            return None, f"is of several classes: {', '.join(names)}"
        if names:
            return names[0], ""
        return self._default, f"has no class in its attribute {self.attribute!r}"

    def others(self, region: Mapping[str, Any]) -> dict[str, str | float | bool]:
        """A region's attributes other than the class; of those with several choices, whether each
        was chosen."""
        others: dict[str, str | float | bool] = {}
        for name, value in _attributes(region, "region_attributes").items():
            if name == self.attribute and not self._of_file:
                continue
            if isinstance(value, dict):
                others |= {f"{name}: {choice}": True for choice in _chosen(value)}
            elif (attribute := as_attribute(value)) is not None:
                others[name] = attribute
        return others


def _attributes(entry: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    values = entry.get(field)
    return values if isinstance(values, dict) else {}


def _find(names: list[str], where: str) -> str | None:
    """The attribute that holds the class; None where there is none."""
    if len(names) <= 1:
        return names[0] if names else None
    for usual in USUAL_NAMES:
        for name in names:
            if name.strip().lower() == usual:
                return name
    raise UserError(
        f"{where}: regions have the attributes {', '.join(map(repr, names))}; say with "
        "--class-attribute which of them is the class"
    )


def _chosen(value: Any) -> list[str]:
    """What an attribute says: its text, or which of its check boxes are ticked."""
    if isinstance(value, dict):
        return [str(name).strip() for name, ticked in value.items() if ticked in (True, "true")]
    is_text = isinstance(value, str | int | float) and not isinstance(value, bool)
    text = str(value).strip() if is_text else ""
    return [text] if text else []
