"""The formats that can be converted: what reads each, and what its command line looks like."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segtron.data.converters.cityscapes import open_cityscapes
from segtron.data.converters.coco_source import open_coco
from segtron.data.converters.cvat import open_cvat
from segtron.data.converters.instance_pngs import open_instance_pngs
from segtron.data.converters.label_pngs import open_label_pngs
from segtron.data.converters.labelled_image import Labelling
from segtron.data.converters.labelme import open_labelme
from segtron.data.converters.mask_folders import open_mask_folders
from segtron.data.converters.pascal_voc import open_pascal_voc
from segtron.data.converters.via import open_via
from segtron.data.converters.yolo import open_yolo
from segtron.errors import UserError

# What begins with "to-" is the command of a way back.
_NAME = re.compile(r"(?!to-)[a-z][a-z0-9-]*")
_FLAG = re.compile(r"--[A-Za-z][A-Za-z0-9-]*")
# What the command of each format has anyway.
COMMON_FLAGS = (
    "--class-list",
    "--group-by",
    "--help",
    "--link",
    "--parts",
    "--seed",
    "--val-list",
    "--val-share",
)
# The other names in what argparse gives, and the arguments that each reader has.
_TAKEN_ARGUMENTS = ("src", "out", "work", "format", "dropped")


@dataclass(frozen=True)
class Option:
    """An option of a format's command.

    Attributes:
        flag: such as "--class-name", which fills the reader's argument `class_name`; none of
            `COMMON_FLAGS`.
        help: one sentence.
        settings: what else argparse's `add_argument` gets.
    """

    flag: str
    help: str
    settings: Mapping[str, Any]

    @property
    def argument(self) -> str:
        """The reader's keyword."""
        return self.settings.get("dest") or _argument_of(self.flag)


def _argument_of(flag: str) -> str:
    return flag.removeprefix("--").replace("-", "_")


@dataclass(frozen=True)
class Format:
    """A labelling format.

    Attributes:
        summary: what it is, a few words.
        source: what SRC must be.
        open: reads it: `open(src, dropped, **options)`.
        options: of its own.
        example: what stands after `python datasets/convert.py` in a command that works.
    """

    summary: str
    source: str
    open: Callable[..., Labelling]
    options: Sequence[Option]
    example: str


def _text(flag: str, metavar: str, help: str) -> Option:
    return Option(flag, help, {"metavar": metavar})


def _texts(flag: str, metavar: str, help: str) -> Option:
    return Option(flag, help, {"metavar": metavar, "nargs": "+"})


def _number(flag: str, metavar: str, help: str) -> Option:
    return Option(flag, help, {"metavar": metavar, "type": int})


def _path(flag: str, metavar: str, help: str) -> Option:
    return Option(flag, help, {"metavar": metavar, "type": Path})


_IMAGES = _path("--images", "DIR", "the folder of the pictures, if they are not where SRC says")
_CLASSES = _path("--classes", "FILE", "a text file or YAML that names the classes")
_FOLDERS = (
    _path("--images", "DIR", "the folder of photographs, if it has no usual name in SRC"),
    _path("--labels", "DIR", "the folder of label pictures, if it has no usual name in SRC"),
    _text(
        "--label-suffix", "SUFFIX", "what takes the place of an image's suffix, such as _mask.png"
    ),
)

# By the names of their commands; `register_format` adds to them.
FORMATS: dict[str, Format] = {
    "via": Format(
        "VGG Image Annotator 1 and 2, JSON",
        "a project or an export in JSON, or a folder with some",
        open_via,
        (
            _text("--class-attribute", "NAME", "the attribute that holds the class"),
            _text("--class-name", "NAME", "the class of regions that have none"),
            _IMAGES,
        ),
        "via balloons/via_region_data.json datasets/balloons --class-name balloon --val-share 0.2",
    ),
    "labelme": Format(
        "LabelMe, a JSON file a picture",
        "the folder that LabelMe saved to",
        open_labelme,
        (_IMAGES,),
        "labelme photos datasets/photos --val-share 0.2",
    ),
    "cvat": Format(
        "CVAT for images 1.1 and for video 1.1, XML",
        "the exported annotations.xml, or a folder with some",
        open_cvat,
        (
            _text("--class-attribute", "NAME", "the attribute that holds the class, not the label"),
            _IMAGES,
        ),
        "cvat exported/annotations.xml datasets/mine --images photos --val-share 0.2",
    ),
    "yolo": Format(
        "YOLO segmentation, a text file a picture",
        "data.yaml or its folder, or a folder with images, labels and classes.txt",
        open_yolo,
        (
            _CLASSES,
            Option(
                "--boxes", "take a line with only a box for an object", {"action": "store_true"}
            ),
        ),
        "yolo coco8-seg/data.yaml datasets/coco8 --val-list val.txt",
    ),
    "pascal-voc": Format(
        "Pascal VOC segmentation, palette PNGs",
        "the folder with JPEGImages, SegmentationClass and SegmentationObject",
        open_pascal_voc,
        (_texts("--lists", "LIST", "files of ImageSets/Segmentation, such as train val"), _CLASSES),
        "pascal-voc VOCdevkit/VOC2012 datasets/voc --val-list "
        "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt",
    ),
    "cityscapes": Format(
        "Cityscapes' layout",
        "the folder with leftImg8bit and gtFine",
        open_cityscapes,
        (_texts("--splits", "SPLIT", "of train, val and test (default: train val)"),),
        "cityscapes datasets/toytown datasets/toytown_coco --val-share 0.2",
    ),
    "mask-folders": Format(
        "folders with one mask an object",
        "a folder with images and masks, or folders that have these",
        open_mask_folders,
        (
            _text(
                "--class-name",
                "NAME",
                "the class where no folder names one (default: object)",
            ),
            _number(
                "--threshold",
                "SHADE",
                "above which a pixel is the object's, in masks with shades",
            ),
        ),
        "mask-folders stage1_train datasets/nuclei --class-name nucleus --val-share 0.2",
    ),
    "instance-pngs": Format(
        "PNGs with the ids of instances",
        "the folder with images and id maps",
        open_instance_pngs,
        (
            *_FOLDERS,
            _text("--class-name", "NAME", "the class of all objects (default: object)"),
            _number("--label-divisor", "N", "an id // N is its class, as with Cityscapes' 1000"),
            _CLASSES,
            Option(
                "--background",
                "ids of no object (default: 0)",
                {"metavar": "ID", "type": int, "nargs": "+"},
            ),
        ),
        "instance-pngs cells datasets/cells --class-name cell --val-share 0.2",
    ),
    "label-pngs": Format(
        "PNGs with the class of each pixel",
        "the folder with images and label maps",
        open_label_pngs,
        (
            _CLASSES,
            *_FOLDERS,
            _texts(
                "--ignore",
                "VALUE",
                "values, or colours like 224,224,192, without a class (default: 255)",
            ),
            _texts("--stuff", "CLASS", "classes without objects (default: background)"),
            Option(
                "--no-objects",
                "take no region for an object",
                {"action": "store_false", "dest": "objects"},
            ),
        ),
        "label-pngs plots datasets/plots --classes plots/classes.txt --val-share 0.2",
    ),
    "coco": Format(
        "COCO's own JSON, to split it",
        "a data set's JSON, or a list of results",
        open_coco,
        (
            _IMAGES,
            _path("--dataset", "FILE", "the data set that results are for"),
            Option(
                "--min-score",
                "leave out results below (default: 0)",
                {"metavar": "SCORE", "type": float},
            ),
        ),
        "coco all.json datasets/mine --images photos --val-share 0.2 --group-by folder",
    ),
}


def register_format(name: str, format: Format) -> None:
    """Make a format of one's own a command of datasets/convert.py, by a file named to `--parts`.

    Args:
        name: of the command: small letters, digits and "-".
        format: what reads it; docs/converting.md has an example.

    Raises:
        UserError: there is a format of this name, or it is no name; or an option of it has no flag
            that the command can have, or one that is taken.
    """
    if not _NAME.fullmatch(name):
        raise UserError(
            f"the format {name!r} can't be a command; take small letters, digits and '-', and no "
            "'to-' in front"
        )
    if name in FORMATS:
        raise UserError(f"there is a format {name!r} already; give yours another name")
    _check_options(name, format.options)
    FORMATS[name] = format


def _check_options(name: str, options: Sequence[Option]) -> None:
    flags = set(COMMON_FLAGS)
    arguments = {*_TAKEN_ARGUMENTS, *map(_argument_of, COMMON_FLAGS)}
    for option in options:
        where = f"the option {option.flag} of the format {name!r}"
        if not _FLAG.fullmatch(option.flag):
            raise UserError(f"{where} is no flag; take '--', a letter, and letters, digits and '-'")
        if option.flag in flags:
            raise UserError(f"{where} is there already; give it another flag")
        if option.argument in arguments:
            raise UserError(
                f"{where} fills {option.argument!r}, which has another meaning; give it another "
                "flag, or an argument's name as 'dest'"
            )
        flags.add(option.flag)
