"""A COCO JSON, of instances or panoptic, as a set to be checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segtron.data.checks.checked_set import CheckedSet, Role
from segtron.data.checks.codes import Severity
from segtron.data.checks.images import find_image_dir, listed_images
from segtron.data.checks.instance_set import read_instance_set
from segtron.data.checks.panoptic_set import read_panoptic_set
from segtron.data.checks.problems import Problems
from segtron.data.checks.structure import load, read_images
from segtron.data.coco import load_coco_instances
from segtron.data.coco_panoptic import load_coco_panoptic
from segtron.errors import UserError


@dataclass(frozen=True)
class CocoFile:
    """A JSON of COCO's; its content tells of which kind it is.

    Attributes:
        json_file: the file.
        role: what it is for.
        image_dir: the folder of its images; None to look for it.
        panoptic_dir: the folder of its PNGs, if it is panoptic; None for the one beside it.
    """

    json_file: Path
    role: Role
    image_dir: Path | None = None
    panoptic_dir: Path | None = None

    def read(self, problems: Problems, *, with_pixels: bool) -> CheckedSet:
        """See `DataSet`."""
        before = problems.count(Severity.ERROR)
        checked, image_dir = self._read(problems, with_pixels=with_pixels)
        if problems.count(Severity.ERROR) == before:
            self._ask_reader(checked.kind, image_dir or self.json_file.parent, problems)
        return checked

    def _read(self, problems: Problems, *, with_pixels: bool) -> tuple[CheckedSet, Path | None]:
        content = load(self.json_file, problems)
        if content is None:
            name = str(self.json_file)
            return CheckedSet(name, "instances", self.role.name, self.role.is_learnt), None
        images = read_images(content, self.json_file, problems)
        image_dir = self.image_dir or find_image_dir(self.json_file, images)
        if image_dir is None and with_pixels and any(images.names):
            problems.add("image-folder", self.json_file, "", "none of its images was found")
        paths = [None if n is None or image_dir is None else image_dir / n for n in images.names]
        place = (self.json_file, self.role)
        if is_panoptic(content):
            folder = self.png_dir if with_pixels else None
            checked = read_panoptic_set(content, images, paths, folder, place, problems)
        else:
            checked = read_instance_set(content, images, paths, place, problems)
        if image_dir is not None:
            checked.listed = listed_images(images, self.json_file, image_dir)
            # The JSON's own folder may hold other pictures, too.
            is_own = image_dir.resolve() not in self.json_file.resolve().parents
            checked.image_dir = image_dir if is_own else None
        return checked, image_dir

    @property
    def png_dir(self) -> Path:
        """The folder of its panoptic PNGs."""
        beside = (self.json_file.with_suffix(""), self.json_file.parent / "panoptic")
        return self.panoptic_dir or next((f for f in beside if f.is_dir()), beside[0])

    def _ask_reader(self, kind: str, image_dir: Path, problems: Problems) -> None:
        """The last word is the reader's own, in case that it has a rule that no check knows."""
        try:
            if kind == "panoptic":
                # Whether its PNGs are there is said elsewhere.
                folder = self.png_dir if self.png_dir.is_dir() else self.json_file.parent
                load_coco_panoptic(self.json_file, folder, image_dir)
            else:
                load_coco_instances(self.json_file, image_dir)
        except UserError as error:
            problems.add("reader-refuses", self.json_file, "", str(error))


def is_panoptic(content: dict[str, Any]) -> bool:
    """Whether a COCO JSON is of the panoptic kind."""
    annotations, categories = (
        [entry for entry in values if isinstance(entry, dict)] if isinstance(values, list) else []
        for values in (content.get("annotations"), content.get("categories"))
    )
    if annotations:
        return sum("segments_info" in a for a in annotations) * 2 >= len(annotations)
    return any("isthing" in category for category in categories)
