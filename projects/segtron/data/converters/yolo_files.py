"""Where YOLO's data sets have their pictures and label files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from segtron.data.converters.labelled_image import Dropped
from segtron.data.converters.pictures import PictureFolder
from segtron.data.converters.text_files import read_text, read_yaml
from segtron.data.image_io import IMAGE_SUFFIXES
from segtron.data.picture_names import picture_names
from segtron.errors import UnreadableFileError, UserError

_SPLITS = ("train", "val", "test")
_YAML = (".yaml", ".yml")
_MOST_BYTES = 2**26  # of a list of pictures


def find_yaml(src: Path) -> Path | None:
    """The data.yaml of a data set, whatever its name.

    Args:
        src: the file, or the folder that it is in.

    Returns:
        None where there is none.

    Raises:
        UserError: there is no such file or folder, or there are several.
    """
    if src.is_file():
        return src
    if not src.is_dir():
        raise UserError(f"{src} does not exist; name data.yaml, or the folder that it is in")
    files = sorted(path for path in src.iterdir() if path.suffix.lower() in _YAML)
    files = [path for path in files if _names_classes(path)]
    if len(files) > 1:
        raise UserError(f"{src} has {files[0].name} and {files[1].name}; name one of them as SRC")
    return files[0] if files else None


def _names_classes(path: Path) -> bool:
    content = read_yaml(path, "data set")
    return isinstance(content, dict) and "names" in content


def read_data_yaml(path: Path) -> Mapping[str, Any]:
    """Read a data.yaml.

    Raises:
        UserError: it is broken, or has no `names`.
    """
    content = read_yaml(path, "data set")
    if not isinstance(content, dict) or "names" not in content:
        raise UserError(f"{path} has no 'names'; a data.yaml names the classes there")
    return content


def label_name(picture: str) -> str:
    """The path of a picture's label file, given that of the picture, both with "/"."""
    *folders, last = PurePosixPath(picture).parts
    if "images" in folders:
        folders[len(folders) - 1 - folders[::-1].index("images")] = "labels"
    return "/".join([*folders, f"{os.path.splitext(last)[0]}.txt"])


def listed_pictures(
    folder: PictureFolder, data: Mapping[str, Any] | None, dropped: Dropped
) -> list[str]:
    """The pictures of a data set.

    Args:
        folder: its folder; nothing outside of it is looked for.
        data: what data.yaml says: folders of pictures or lists of them, in `train`, `val` and
            `test`, below `path`. None of them, or nothing that exists: all pictures of the folder.
        dropped: is told of folders, lists and pictures that don't exist.

    Returns:
        Paths below the folder, with "/", none twice; one at least.

    Raises:
        UserError: there are none.
    """
    pictures: dict[str, None] = {}
    data = data or {}
    for split in _SPLITS:
        values = data.get(split)
        for value in values if isinstance(values, list) else [values]:
            if value is None:
                continue
            place = _find(folder.root, data.get("path"), value)
            if place is None:
                why = f"names {repr(value)[:80]}, which is not in {folder.root}"
                dropped.add(f"data.yaml: {split}", why)
            elif (folder.root / place).is_dir():
                names = picture_names(folder.root / place)
                pictures.update((str(PurePosixPath(place, name)), None) for name in names)
            else:
                pictures.update((name, None) for name in _read_list(folder, place, dropped))
    found = list(pictures) or picture_names(folder.root)
    if not found:
        raise UserError(
            f"{folder.root} holds no image; known suffixes: {', '.join(IMAGE_SUFFIXES)}"
        )
    return found


def _find(root: Path, base: Any, value: Any) -> str | None:
    """The path below the root of what data.yaml names; "" for the root itself.

    Ways out of the folder (`../train/images`) are those of the machine that the file was written
    on, or for; what is left of them without the dots is what they lead to here.
    """
    if not isinstance(value, str):
        return None
    for start in (base, "") if isinstance(base, str) else ("",):
        joined = os.path.normpath(os.path.join(start, value).replace("\\", "/"))
        if not os.path.isabs(joined):
            below = "/".join(part for part in joined.split("/") if part not in ("..", "."))
            if os.path.exists(root / below):
                return below
    return None


def _read_list(folder: PictureFolder, place: str, dropped: Dropped) -> Iterator[str]:
    """The pictures that a text names, one a line."""
    path = folder.root / place
    lines = map(str.strip, read_text(path, "list of pictures", _MOST_BYTES).splitlines())
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        where = f"{path}:{number}"
        # Relative to the list; or else as they stand, which may be of another machine.
        beside = os.path.normpath(os.path.join(PurePosixPath(place).parent, line))
        is_beside = not beside.startswith("..") and os.path.isfile(folder.root / beside)
        try:
            picture = folder.find(beside if is_beside else line, where)
        except UnreadableFileError as error:
            dropped.add(where, str(error))
            continue
        yield picture.relative_to(folder.root).as_posix()
