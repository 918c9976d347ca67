"""What the checker can find: each kind of problem with its severity, meaning and remedy.

The table of docs/checking.md is made of this one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad a problem is."""

    ERROR = "error"  # training or scoring stops, or is wrong
    WARNING = "warning"  # something is lost, or is most probably a mistake
    NOTE = "note"  # worth knowing


@dataclass(frozen=True)
class Code:
    """A kind of problem.

    Attributes:
        severity: how bad it is.
        meaning: what is wrong, as a sentence without its full stop.
        remedy: what to do.
        is_mended: whether `segtron.data.checks.mend` puts it right.
    """

    severity: Severity
    meaning: str
    remedy: str
    is_mended: bool = False


def _error(meaning: str, remedy: str, *, mended: bool = False) -> Code:
    return Code(Severity.ERROR, meaning, remedy, mended)


def _warning(meaning: str, remedy: str, *, mended: bool = False) -> Code:
    return Code(Severity.WARNING, meaning, remedy, mended)


def _note(meaning: str, remedy: str, *, mended: bool = False) -> Code:
    return Code(Severity.NOTE, meaning, remedy, mended)


_STRUCTURE = {
    "not-json": _error("the file is no JSON", "export it again"),
    "not-coco": _error(
        "the file is JSON, but lacks one of COCO's lists",
        "export it as COCO instances or COCO panoptic, or convert it (datasets/convert.py)",
    ),
    "entry-type": _error("an entry of a list is no object", "export the file again"),
    "field-missing": _error("an entry lacks a field", "export the file again with this field"),
    "field-type": _error(
        "a field holds a value of a kind that COCO does not allow there",
        "correct the value, or export the file again",
    ),
    "id-repeated": _error(
        "two images or two categories have one id", "give each its own id, or remove one"
    ),
    "id-type": _error(
        "an id is a number in one place and text in another", "write it in one way", mended=True
    ),
    "size-value": _error(
        "an image's height or width is no number of pixels",
        "write the picture's own size",
        mended=True,
    ),
    "file-name": _error(
        "a file's name leads out of its folder, or no file can have it",
        "write the path below the folder of the images, with forward slashes",
    ),
    "no-images": _error("the file lists no images", "export it again"),
    "no-categories": _error("the file has no categories", "export it again with its class names"),
    "no-annotations": _warning(
        "the file has no annotations", "label the images, or use the file for nothing but testing"
    ),
    "unknown-image": _error(
        "an annotation is of an image that is not listed",
        "list the image, or remove the annotation",
    ),
    "unknown-category": _error(
        "an object is of a category that is not listed", "list the category, or correct the id"
    ),
    "annotation-id-repeated": _warning(
        "two annotations have one id, so that pycocotools sees the last of them alone",
        "give each its own id",
        mended=True,
    ),
    "annotation-id-missing": _note(
        "an annotation has no id that is a whole number from 1, which pycocotools needs",
        "number the annotations",
        mended=True,
    ),
    "reader-refuses": _error(
        "Segtron's reader refuses the file for a reason that no other check has named",
        "see the message",
    ),
}
_GEOMETRY = {
    "box-value": _error(
        "a box is not [x, y, width, height] in pixels",
        "write it so, or take the mask's box",
        mended=True,
    ),
    "box-corners": _error(
        "a box is [x0, y0, x1, y1], which COCO does not have",
        "write [x, y, width, height]",
        mended=True,
    ),
    "box-outside": _warning("a box reaches beyond its image", "clip it", mended=True),
    "box-empty": _warning(
        "a box has no area, so that its object is not learnt", "take the mask's box", mended=True
    ),
    "box-off": _warning("a box is not that of its mask", "take the mask's box", mended=True),
    "segmentation-value": _error(
        "a segmentation is neither polygons [x, y, x, y, …] nor run lengths",
        "correct it, or remove the annotation",
    ),
    "coordinates-normalised": _error(
        "a polygon's coordinates are shares of the image's sides, not pixels",
        "multiply x by the image's width and y by its height",
    ),
    "rle-size": _error(
        "run lengths are for another size than the image's", "encode the mask of this image"
    ),
    "rle-counts": _error(
        "run lengths do not add up to the image's pixels", "encode the mask again"
    ),
    "polygon-short": _warning(
        "a polygon has fewer than three corners and is left out", "remove it", mended=True
    ),
    "polygon-crossing": _warning(
        "a polygon crosses itself, so that its mask has holes nobody drew", "draw it again"
    ),
    "polygon-outside": _warning("a polygon reaches beyond its image", "clip it", mended=True),
    "mask-empty": _warning(
        "an object has no pixel and is not learnt", "remove its annotation", mended=True
    ),
    "area-value": _error(
        "an area is no number of pixels from 0", "take the mask's area", mended=True
    ),
    "area-wrong": _warning(
        "an area is not that of its mask, which puts the object among small, medium or large "
        "ones wrongly",
        "take the mask's area",
        mended=True,
    ),
    "area-missing": _note(
        "an annotation has no area, which pycocotools needs", "take the mask's area", mended=True
    ),
    "object-repeated": _warning(
        "an object is listed twice in just the same way", "remove one", mended=True
    ),
}
_CROWDS = {
    "crowd-value": _error("iscrowd is neither 0 nor 1", "write 0 or 1", mended=True),
    "crowd-missing": _note(
        "an annotation has no iscrowd, which pycocotools needs", "write 0", mended=True
    ),
    "crowd-polygons": _warning(
        "a crowd has polygons; COCO keeps them for single objects, and other programs refuse it",
        "encode it as run lengths, or set iscrowd to 0",
        mended=True,
    ),
    "crowd-only": _warning(
        "all objects of a class are crowds, of which nothing is learnt",
        "set iscrowd to 0 where one object is meant",
    ),
    "crowd-stuff": _warning(
        "a segment of a stuff class is a crowd; only things come in crowds", "set iscrowd to 0"
    ),
    "parts-many": _note(
        "one object has more than 16 parts; is it a group that is not told apart?",
        "split it into objects, or set iscrowd to 1",
    ),
}
_CLASSES = {
    "class-unused": _warning("a class has no object", "remove it, or label objects of it"),
    "class-unnamed": _warning("a class has no name but blanks", "name it"),
    "class-repeated": _error("two classes have one name", "rename one, or make them one class"),
    "class-similar": _warning(
        "the names of two classes differ in case or blanks only", "make them one class"
    ),
    "class-gap": _note(
        "ids of categories leave numbers out; models number the classes without gaps",
        "nothing, unless another program takes ids for places",
    ),
    "class-many": _error("there are more than 255 classes", "use fewer"),
    "isthing-value": _error("isthing is neither 0 nor 1", "write 1 for things, 0 for stuff"),
    "class-differs": _error(
        "two sets have different classes, or number them differently",
        "export both with one list of classes",
    ),
    "class-untrained": _warning(
        "a class has objects to be found in one set, and none in the set to learn from",
        "split the data anew, so that each class is in both parts",
    ),
}
_IMAGES = {
    "image-folder": _error(
        "no image of the file was found in any likely folder", "name the folder with --images"
    ),
    "image-missing": _error("an image does not exist", "restore it, or remove its entry"),
    "image-unreadable": _error(
        "an image can't be read: it is cut off, broken, no image, or of a kind without shades",
        "restore it, save it as PNG or JPEG, or remove its entry",
    ),
    "image-size": _error(
        "an image has another size than its entry says",
        "correct the entry, or restore the picture that was labelled",
        mended=True,
    ),
    "image-turned": _error(
        "an entry has the size that its picture has before it is turned as its EXIF data say; the "
        "labels lie across the picture",
        "convert the labels to the upright picture, or turn the pixels and remove the EXIF data",
    ),
    "image-exif": _note(
        "a picture is turned or mirrored as its EXIF data say; were its labels drawn on it so?",
        "draw a few (tools/visualize_data.py --source annotation)",
    ),
    "image-name-repeated": _warning(
        "two entries name one picture", "make them one entry with all annotations"
    ),
    "image-empty": _note(
        "an image has no object; training leaves it out, unless "
        "DATALOADER.FILTER_EMPTY_ANNOTATIONS is False",
        "nothing, if it shows none",
    ),
    "image-unlisted": _note(
        "a picture lies in the folder, but no entry names it", "label it, or ignore it"
    ),
    "file-repeated": _warning("two files of a set are the same", "remove one"),
    "picture-repeated": _warning("two files of a set show the same picture", "remove one"),
    "file-in-two-sets": _error(
        "a file is in two sets, so that a model is tested on what it has learnt",
        "remove it from one",
    ),
    "picture-in-two-sets": _warning(
        "two sets have files that show the same picture", "remove it from one"
    ),
    "set-in-two-roles": _warning(
        "a set is trained on and tested on", "test on images that are not learnt"
    ),
}
_PANOPTIC = {
    "annotation-repeated": _error(
        "two annotations are of one image", "make them one, which lists all segments"
    ),
    "annotation-missing": _error(
        "an image has no annotation",
        "remove its entry, or add an annotation with an empty 'segments_info' and a black PNG",
    ),
    "png-folder": _error(
        "the folder of the panoptic PNGs does not exist", "name it with --panoptic"
    ),
    "png-missing": _error("a panoptic PNG does not exist", "restore it"),
    "png-unreadable": _error(
        "a panoptic PNG can't be read, or is no colour picture of 8 bits a channel", "restore it"
    ),
    "png-size": _error(
        "a panoptic PNG has another size than its image", "write it in the size of the image"
    ),
    "segment-id": _error(
        "a segment's id is not from 1 to 16,777,215, or an image has it twice",
        "give each segment of an image its own id",
    ),
    "segment-unlisted": _error(
        "a PNG has a segment that the JSON does not list",
        "write both from the same annotation",
    ),
    "segment-empty": _error(
        "the JSON lists a segment that has no pixel in the PNG",
        "remove it, or write both from the same annotation",
        mended=True,
    ),
    "segment-area": _error(
        "a segment's area is not its number of pixels", "count them", mended=True
    ),
    "segment-box": _warning(
        "a segment's box is not that of its pixels", "take that of its pixels", mended=True
    ),
}
_LABELS = {
    "label-missing": _error(
        "an image has no label file", "add it, take the image out, or set 'label_suffix'"
    ),
    "label-shared": _error("two images would have one label file", "rename one"),
    "label-unreadable": _error(
        "a label file can't be read, or is of another kind than the config says",
        "restore it, or correct 'label_format'",
    ),
    "label-size": _error(
        "a label file has another size than its image", "write it in the size of the image"
    ),
    "label-value": _error(
        "a label file has a value that is no class and not ignored",
        "correct the file, or name the value in 'classes' or 'ignore'",
    ),
    "label-ignored": _warning(
        "a label file has nothing but ignored pixels", "label the image, or take it out"
    ),
    "label-binary": _error(
        "label files are masks of 0 and 255, but 255 is ignored, so that one class is left",
        "name both values as in 'classes: {0: background, 255: object}'",
    ),
}
CODES: dict[str, Code] = {
    **_STRUCTURE,
    **_GEOMETRY,
    **_CROWDS,
    **_CLASSES,
    **_IMAGES,
    **_PANOPTIC,
    **_LABELS,
}
