"""The lists of a COCO JSON, instances or panoptic: what is usable, and what is wrong with the rest.

The rules are those of `segtron.data.json_file` and `segtron.data.coco`, which stop at the first
problem; here all are entered.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from segtron.data.checks.fields import has_field, is_length, usable_name, whole_number
from segtron.data.checks.problems import Problems, shown
from segtron.data.json_file import read_json
from segtron.errors import UserError


@dataclass(frozen=True)
class Images:
    """The I images of a file that have an id of their own.

    Attributes:
        numbers: places in the file's list.
        ids: their ids.
        names: their `file_name`, None where it is no usable path.
        sizes: (I, 2) int64, height and width as the file has them, 0 where they are no size.
        row_of: id -> place in these lists.
    """

    numbers: list[int]
    ids: list[int | str]
    names: list[str | None]
    sizes: np.ndarray
    row_of: dict[int | str, int]

    def entry(self, row: int) -> str:
        """What to call an image in messages."""
        name = self.names[row]
        return f"images[{self.numbers[row]}]" + (f" ({name})" if name else "")


@dataclass(frozen=True)
class Categories:
    """The C categories of a file that have an id of their own.

    Attributes:
        numbers: places in the file's list.
        ids: their ids.
        names: their names, None where there is none.
        is_thing: (C,) bool, by `isthing`; True where the file does not say.
        row_of: id -> place in these lists.
    """

    numbers: list[int]
    ids: list[int]
    names: list[str | None]
    is_thing: np.ndarray
    row_of: dict[int, int]

    def entry(self, row: int) -> str:
        """What to call a category in messages."""
        return f"categories[{self.numbers[row]}] ({shown(self.names[row])})"


def load(json_file: Path, problems: Problems) -> dict[str, Any] | None:
    """Read a file.

    Returns:
        A JSON object, None if there is none in it.

    Raises:
        UserError: the file does not exist or can't be read at all.
    """
    try:
        content = read_json(json_file, "annotations")
    except UserError as error:
        if isinstance(error.__cause__, OSError):
            raise
        problems.add("not-json", json_file, "", str(error).removeprefix(f"{json_file} "))
        return None
    if isinstance(content, dict):
        return content
    problems.add("not-coco", json_file, "", f"it holds a JSON {type(content).__name__}, no object")
    return None


def entries(
    content: dict[str, Any], name: str, file: Path, problems: Problems
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Places and entries of a list, without those that are no objects."""
    values = content.get(name)
    if not isinstance(values, list):
        problems.add("not-coco", file, "", f"it has no list '{name}'")
        return
    progress = tqdm(values, desc=f"checking {name} of {file.name}", delay=2, leave=False)
    for number, entry in enumerate(progress):
        if isinstance(entry, dict):
            yield number, entry
        else:
            problems.add(
                "entry-type", file, f"{name}[{number}]", f"it is no object but {shown(entry)}"
            )


def read_images(content: dict[str, Any], file: Path, problems: Problems) -> Images:
    """Check the list of images."""
    numbers: list[int] = []
    ids: list[int | str] = []
    names: list[str | None] = []
    sizes: list[tuple[int, int]] = []
    row_of: dict[int | str, int] = {}
    first_type: type | None = None
    for number, entry in entries(content, "images", file, problems):
        place = (file, _image_entry(number, entry))
        name = _file_name(entry, place, problems)
        size = _size(entry, place, problems)
        if not has_field(entry, "id", (int, str), place, problems):
            continue
        image_id = entry["id"]
        first_type = first_type or type(image_id)
        if type(image_id) is not first_type:
            problems.add(
                "id-type",
                *place,
                f"its id is {shown(image_id)}, but that of the first image is "
                + ("a number" if first_type is int else "text"),
            )
        if image_id in row_of:
            other = numbers[row_of[image_id]]
            problems.add("id-repeated", *place, f"its id {shown(image_id)} is images[{other}]'s")
            continue
        row_of[image_id] = len(ids)
        numbers.append(number)
        ids.append(image_id)
        names.append(name)
        sizes.append(size)
    if isinstance(content.get("images"), list) and not content["images"]:
        problems.add("no-images", file, "", "its list 'images' is empty")
    return Images(numbers, ids, names, np.array(sizes, np.int64).reshape(-1, 2), row_of)


def _image_entry(number: int, entry: dict[str, Any]) -> str:
    name = entry.get("file_name")
    return f"images[{number}] ({name})" if isinstance(name, str) else f"images[{number}]"


def _file_name(entry: dict[str, Any], place: tuple[Path, str], problems: Problems) -> str | None:
    if not has_field(entry, "file_name", str, place, problems):
        return None
    return usable_name(entry["file_name"], place, problems)


def _size(entry: dict[str, Any], place: tuple[Path, str], problems: Problems) -> tuple[int, int]:
    """Height and width, (0, 0) where they are no size."""
    if all(is_length(entry.get(side)) for side in ("height", "width")):
        return int(entry["height"]), int(entry["width"])
    said = " x ".join(shown(entry[s]) if s in entry else "nothing" for s in ("width", "height"))
    problems.add("size-value", *place, f"width x height are {said}")
    return 0, 0


def read_categories(
    content: dict[str, Any], file: Path, problems: Problems, *, is_panoptic: bool = False
) -> Categories:
    """Check the list of categories.

    Args:
        content: of the file.
        file: the file.
        problems: what is wrong is entered there.
        is_panoptic: whether each must say if it is a thing.
    """
    numbers: list[int] = []
    ids: list[int] = []
    names: list[str | None] = []
    is_thing: list[bool] = []
    row_of: dict[int, int] = {}
    for number, entry in entries(content, "categories", file, problems):
        place = (file, f"categories[{number}]")
        named = has_field(entry, "name", str, place, problems)
        thing = _is_thing(entry, place, problems) if is_panoptic else True
        if not has_field(entry, "id", int, place, problems):
            continue
        if entry["id"] in row_of:
            other = numbers[row_of[entry["id"]]]
            problems.add("id-repeated", *place, f"its id {entry['id']} is categories[{other}]'s")
            continue
        row_of[entry["id"]] = len(ids)
        numbers.append(number)
        ids.append(entry["id"])
        names.append(entry["name"] if named else None)
        is_thing.append(thing)
    if isinstance(content.get("categories"), list) and not content["categories"]:
        problems.add("no-categories", file, "", "its list 'categories' is empty")
    return Categories(numbers, ids, names, np.array(is_thing, bool), row_of)


def _is_thing(entry: dict[str, Any], place: tuple[Path, str], problems: Problems) -> bool:
    if not has_field(entry, "isthing", (int, bool), place, problems):
        return True
    if entry["isthing"] in (0, 1):
        return bool(entry["isthing"])
    problems.add("isthing-value", *place, f"'isthing' is {shown(entry['isthing'])}")
    return True


def find_image(
    annotation: dict[str, Any], images: Images, place: tuple[Path, str], problems: Problems
) -> int:
    """The row of an annotation's image, -1 and a problem if there is none."""
    if not has_field(annotation, "image_id", (int, str), place, problems):
        return -1
    image_id = annotation["image_id"]
    row = images.row_of.get(image_id, -1)
    if row < 0:
        number = whole_number(image_id)
        twin = str(image_id) if isinstance(image_id, int) else number
        if twin in images.row_of:
            problems.add(
                "id-type",
                *place,
                f"'image_id' is {shown(image_id)}, but the image's id is {shown(twin)}",
            )
        else:
            problems.add("unknown-image", *place, f"no image has the id {shown(image_id)}")
    return row


def find_category(
    entry: dict[str, Any], categories: Categories, place: tuple[Path, str], problems: Problems
) -> int:
    """The row of an object's category, -1 and a problem if there is none."""
    if not has_field(entry, "category_id", int, place, problems):
        return -1
    row = categories.row_of.get(entry["category_id"], -1)
    if row < 0:
        problems.add("unknown-category", *place, f"no category has the id {entry['category_id']}")
    return row
