"""COCO's files, and predictions in COCO's result format, as a labelling: to be corrected elsewhere.

See https://cocodataset.org/#format-data and https://cocodataset.org/#format-results.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as mask_util

from segtron.data.coco import (
    FARTHEST,
    categories_by_id,
    check_annotations,
    read_coco,
    standard_segmentation,
)
from segtron.data.coco_results import RESULTS_FORMAT, check_result, check_scores, name_of_result
from segtron.data.converters.class_numbers import check_class_name
from segtron.data.converters.coco_files import IMAGES
from segtron.data.converters.labelled_image import (
    Dropped,
    LabelledImage,
    LabelledObject,
    Labelling,
    as_attribute,
)
from segtron.data.converters.pictures import Picture, PictureFolder
from segtron.data.converters.shapes import NoAreaError, Segmentation, segmentation_of
from segtron.data.json_file import Fields, check_fields, read_json
from segtron.data.masks import encode_mask, with_text
from segtron.errors import UserError
from segtron.wording import count_of

SCORE = "score"
# What may be missing, one of the two as a rule.
_PLACE: Fields = {"bbox": list, "segmentation": (list, dict)}
# What tools/predict.py adds to it.
_NAMED_RESULT: Fields = {"file_name": str, "category_name": str, "segmentation": dict}


@dataclass(frozen=True)
class _Image:
    """An image with its annotations or results, and what to call these."""

    name: str
    size: tuple[int, int] | None
    entries: list[tuple[str, Mapping[str, Any]]]


def open_coco(
    src: Path,
    dropped: Dropped,
    *,
    dataset: Path | None = None,
    min_score: float = 0.0,
    images: Path | None = None,
) -> Labelling:
    """Open a COCO data set, or predictions.

    Args:
        src: a JSON file: of a data set, or a list of results.
        dropped: is told of objects without a mask or an area, and of pictures that are missing.
        dataset: the JSON file of the data set that the results are of; it is needed where these
            don't name files and classes, as those of tools/predict.py do.
        min_score: from 0 to 1; results below it are left out.
        images: the folder of the pictures; default: `images` beside the data set.

    Raises:
        UserError: a file is not COCO's format or is faulty (names that no class can have, scores
            that are no numbers), a folder or file isn't there, or `min_score` is out of range.
    """
    if not 0 <= min_score <= 1:
        raise UserError(f"--min-score is {min_score:g}; it must be from 0 to 1")
    content = read_json(src, "annotations")
    if isinstance(content, list):
        named = _of_dataset if dataset is not None else _of_names
        found, classes = named(content, src, dataset)
    else:
        if dataset is not None:
            raise UserError(f"{src} is a data set, so leave --dataset out; results are a list")
        found, classes = _annotated(src)
    names = list(dict.fromkeys(classes.values()))
    for name in names:
        check_class_name(name, str(dataset or src))
    folder = PictureFolder(images or (dataset or src).parent / IMAGES)

    def read() -> Iterator[LabelledImage]:
        for image in found:
            labelled = _read_image(image, folder, classes, min_score, dropped, src)
            if labelled is not None:
                yield labelled

    return Labelling(read(), len(found), classes=names)


def _annotated(src: Path) -> tuple[list[_Image], dict[int, str]]:
    """A data set's images and classes."""
    content = read_coco(src)
    images = {
        image["id"]: _Image(image["file_name"], (image["height"], image["width"]), [])
        for image in content["images"]
    }
    for number, annotation in enumerate(content["annotations"]):
        where = f"{src}: annotations[{number}]"
        check_scores(annotation, where)
        images[annotation["image_id"]].entries.append((where, annotation))
    return list(images.values()), {c["id"]: c["name"] for c in categories_by_id(content)}


def _of_dataset(
    results: list[Any], src: Path, dataset: Path | None
) -> tuple[list[_Image], dict[int, str]]:
    """Results for a data set's images; all of these, with results or not."""
    content = read_coco(dataset)
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    images = {i["id"]: _Image(i["file_name"], sizes[i["id"]], []) for i in content["images"]}
    classes = {c["id"]: c["name"] for c in categories_by_id(content)}
    for number, result in enumerate(results):
        _check_result(result, name_of_result(src, number))
    check_annotations(results, sizes, classes, lambda i: name_of_result(src, i))
    for number, result in enumerate(results):
        images[result["image_id"]].entries.append((name_of_result(src, number), result))
    return list(images.values()), classes


def _of_names(
    results: list[Any], src: Path, dataset: Path | None
) -> tuple[list[_Image], dict[int, str]]:
    """Results that name their images and classes; images without results are not known."""
    images: dict[str, _Image] = {}
    classes: dict[int, str] = {}
    for number, result in enumerate(results):
        where = name_of_result(src, number)
        _check_result(result, where)
        if not set(_NAMED_RESULT) <= set(result):
            raise UserError(
                f"{where} names no file and no class; name the data set's JSON with --dataset"
            )
        check_fields(result, _NAMED_RESULT, where, RESULTS_FORMAT)
        size = _size_of(result["segmentation"], where)
        image = images.setdefault(result["file_name"], _Image(result["file_name"], size, []))
        category = result["category_id"]
        if classes.setdefault(category, result["category_name"]) != result["category_name"]:
            raise UserError(
                f"{where}: the category {category} is {result['category_name']!r} here, "
                f"{classes[category]!r} before; predict again"
            )
        image.entries.append((where, result))
    # By the names of their images: other programs' ids need not be of one file each.
    check_annotations(
        [{**result, "image_id": result["file_name"]} for result in results],
        {name: image.size for name, image in images.items()},
        classes,
        lambda i: name_of_result(src, i),
    )
    return list(images.values()), dict(sorted(classes.items()))


def _check_result(result: Any, where: str) -> None:
    check_result(result, where)
    given = {name: types for name, types in _PLACE.items() if name in result}
    check_fields(result, given, where, RESULTS_FORMAT)


def _size_of(segmentation: Mapping[str, Any], where: str) -> tuple[int, int]:
    size = segmentation.get("size")
    is_size = isinstance(size, list) and len(size) == 2
    if not is_size or not all(isinstance(n, int) and 0 < n <= FARTHEST for n in size):
        raise UserError(f"{where}: 'size' of its 'segmentation' is not [height, width]")
    return size[0], size[1]


def _read_image(
    image: _Image,
    folder: PictureFolder,
    classes: Mapping[int, str],
    min_score: float,
    dropped: Dropped,
    src: Path,
) -> LabelledImage | None:
    where = f"{src}: {image.name!r} with {count_of(len(image.entries), 'object')}"
    picture = folder.open(image.name, where, dropped, image.size)
    if picture is None:
        return None
    objects = []
    for name, entry in image.entries:
        if entry.get(SCORE) is not None and entry[SCORE] < min_score:
            continue
        try:
            segmentation = _segmentation(entry.get("segmentation") or [], picture)
        except NoAreaError as error:
            dropped.add(name, str(error))
            continue
        objects.append(_object(entry, segmentation, classes, name))
    return LabelledImage(picture.path, picture.name, picture.height, picture.width, objects)


def _segmentation(given: Any, picture: Picture) -> Segmentation:
    standard = standard_segmentation(given)
    if isinstance(standard, dict):
        standard = with_text(standard)
        if picture.annotated_size == (picture.height, picture.width):
            return standard
        return encode_mask(picture.orient_mask(mask_util.decode(standard) > 0))
    if not standard:
        raise NoAreaError("has no mask")
    outlines = [picture.orient(np.reshape(part, (-1, 2)).astype(np.float64)) for part in standard]
    return segmentation_of(outlines, picture.height, picture.width)


def _object(
    entry: Mapping[str, Any],
    segmentation: Segmentation,
    classes: Mapping[int, str],
    where: str,
) -> LabelledObject:
    given = entry.get("attributes")
    attributes = {
        name: attribute
        for name, value in (given.items() if isinstance(given, dict) else ())
        if (attribute := as_attribute(value)) is not None
    }
    if entry.get(SCORE) is not None:
        attributes[SCORE] = round(float(entry[SCORE]), 4)
    return LabelledObject(
        classes[entry["category_id"]],
        segmentation,
        where,
        is_crowd=bool(entry.get("iscrowd")),
        attributes=attributes,
    )
