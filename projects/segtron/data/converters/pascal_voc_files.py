"""Where a data set in Pascal VOC's layout has its files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from segtron.data.converters.label_pictures import LABEL_SUFFIXES
from segtron.data.converters.labelled_image import Dropped
from segtron.data.converters.paired_folders import without_suffix
from segtron.data.converters.text_files import read_text
from segtron.data.picture_names import picture_names
from segtron.errors import UserError
from segtron.wording import count_of

_PICTURES = "JPEGImages"


class VocFiles(NamedTuple):
    """An image's files; `name` is that of the image below JPEGImages."""

    name: str
    image: Path
    classes: Path
    objects: Path


def find_root(src: Path) -> Path:
    """The folder that holds `JPEGImages`: a folder itself, or below it `VOC2012` or the like.

    Raises:
        UserError: there is none, or several.
    """
    candidates = [src, *src.glob("VOC*"), *src.glob("VOCdevkit/VOC*")]
    roots = [path for path in candidates if (path / _PICTURES).is_dir()]
    if len(roots) != 1:
        found = f"has {roots[0].name} and {roots[1].name}" if roots else "has no folder JPEGImages"
        raise UserError(f"{src} {found}; name the folder that holds JPEGImages, such as VOC2012")
    return roots[0]


def find_files(root: Path, lists: Sequence[str], dropped: Dropped) -> list[VocFiles]:
    """The images that have both maps.

    Args:
        root: the folder that holds `JPEGImages`.
        lists: see `open_pascal_voc`.
        dropped: is told of images without maps, and of maps without an image.

    Returns:
        In the order of the lists, or by name; one at least.

    Raises:
        UserError: there are none, a folder or list is missing, or two images have one name.
    """
    images = _by_stem(root / _PICTURES)
    class_dir, object_dir = _map_dir(root, "Class"), _map_dir(root, "Object")
    class_maps, object_maps = (
        {s: p for s, p in _by_stem(d).items() if p.suffix.lower() in LABEL_SUFFIXES}
        for d in (class_dir, object_dir)
    )
    chosen = _read_lists(root, lists) if lists else sorted(images)
    files, bare = [], []
    for stem in chosen:
        if stem not in images:
            dropped.add(f"{root / _PICTURES / stem}", "is in a list, but does not exist")
        elif stem in object_maps and stem in class_maps:
            name = images[stem].relative_to(root / _PICTURES).as_posix()
            files.append(VocFiles(name, images[stem], class_maps[stem], object_maps[stem]))
        else:
            bare.append(stem)
    if bare:
        # In VOC itself, most of them.
        dropped.add(
            str(root / _PICTURES),
            f"{count_of(len(bare), 'image')}, such as {images[bare[0]].name}, without a map in "
            f"{class_dir.name} and one in {object_dir.name}",
        )
    if not lists:
        for stem in sorted((class_maps.keys() | object_maps.keys()) - images.keys()):
            dropped.add(
                str(object_maps.get(stem) or class_maps[stem]), "has no image in JPEGImages"
            )
    if not files:
        raise UserError(
            f"no image of {root / _PICTURES} has a map in {class_dir.name} and one in "
            f"{object_dir.name}; boxes in Annotations alone are no segmentation"
        )
    return files


def _map_dir(root: Path, kind: str) -> Path:
    """The folder of class or object maps. labelme calls it "...PNG" where it writes arrays, too."""
    for name in (f"Segmentation{kind}PNG", f"Segmentation{kind}"):
        if (root / name).is_dir():
            return root / name
    raise UserError(
        f"{root} has no folder Segmentation{kind}; "
        + (
            "where only classes are annotated convert it with label-pngs --labels SegmentationClass"
            if kind == "Object"
            else "export it as a segmentation"
        )
    )


def _by_stem(folder: Path) -> dict[str, Path]:
    paths: dict[str, Path] = {}
    for name in picture_names(folder):
        other = paths.setdefault(without_suffix(name), folder / name)
        if other != folder / name:
            raise UserError(
                f"{other} and {folder / name} are of the same name; remove or rename one of them"
            )
    return paths


def _read_lists(root: Path, lists: Sequence[str]) -> list[str]:
    """Images in the order of the lists, none twice."""
    stems: dict[str, None] = {}
    for name in lists:
        path = root / "ImageSets" / "Segmentation" / f"{Path(name).name.removesuffix('.txt')}.txt"
        lines = read_text(path, "list of images", 2**26).splitlines()
        stems.update(
            {without_suffix(f"{line.strip()}.jpg"): None for line in lines if line.strip()}
        )
    return list(stems)
