"""Files that name classes, in the forms that tools write."""

from pathlib import Path

import pytest

from segtron.data.converters.class_files import find_class_file, is_background, read_class_file
from segtron.errors import UserError

COLOURS = {0: (0, 0, 0), 1: (128, 64, 128)}


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labelmap.txt", "# label:color_rgb:parts\nback ground:0,0,0::\nStraße:128,64,128:a,b:"),
        ("class_dict.csv", "name,r,g,b\nback ground,0,0,0\nStraße,128,64,128\n"),
        ("label_colors.txt", "0 0 0\tback ground\n128 64 128\t\tStraße\n"),
        ("any.txt", "back ground 0 0 0\n\nStraße 128 64 128\n"),
    ],
)  # fmt: skip
def test_names_with_colours(tmp_path: Path, name: str, text: str) -> None:
    classes = read_class_file(write(tmp_path, name, text))
    assert classes.names == {0: "back ground", 1: "Straße"}
    assert classes.colours == COLOURS


@pytest.mark.parametrize(
    ("name", "text", "names"),
    [
        ("classes.txt", "\ufeffcat\r\nbig dog\r\n\r\n", {0: "cat", 1: "big dog"}),
        ("obj.names", "bus 3\ncar", {0: "bus 3", 1: "car"}),
        ("a.yaml", "[cat, dog]", {0: "cat", 1: "dog"}),
        ("a.yml", "names: {7: dog, 3: cat}", {3: "cat", 7: "dog"}),
        ("a.yaml", "classes:\n- 1\n- '2'", {0: "1", 1: "2"}),
        ("a.yaml", "{0: background, 255: object}", {0: "background", 255: "object"}),
    ],
)
def test_names_alone(tmp_path: Path, name: str, text: str, names: dict) -> None:
    classes = read_class_file(write(tmp_path, name, text))
    assert classes.names == names
    assert list(classes.names) == sorted(names)
    assert not classes.colours


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "", "names no classes"),
        ("a.txt", "# kinds\ncat\n\ndog\n", r"a\.txt:3 is empty, .* here 1; name the class"),
        ("a.txt", "cat\ndog\ncat", "'cat' is the class of value 0 and of 2"),
        ("a.txt", "cat 1 2 300\ndog 1 2 3", r"'cat' has the colour \[1, 2, 300\]"),
        ("a.txt", "cat 1 2 3\ndog 1 2 3", r"'dog' has the colour \[1, 2, 3\]"),
        ("a.txt", "x" * 1001, "more than 1000 characters"),
        ("a.yaml", "names: 5", "names no classes"),
        ("a.yaml", "{-1: cat}", "-1 is no value of a class"),
        ("a.yaml", "{true: cat}", "True is no value of a class"),
        ("a.yaml", "{cat: 3}", "'cat' is no value of a class"),
        ("a.yaml", "[cat, no]", "value 1 is called False"),
        ("a.yaml", "[cat, ' ']", "value 1 is called ' '"),
        ("a.yaml", "[cat", "a.yaml:1: broken YAML"),
        ("a.yaml", "!!python/object/apply:os.getcwd []", "a.yaml:1: broken YAML"),
        ("a.yaml", "a: &a [x]\nb: *a", r"a.yaml:2: broken YAML \(it uses an alias"),
        ("a.yaml", "? [1, 2]\n: x", "broken YAML"),
        ("a.yaml", "[" * 2000, "broken YAML"),
        ("a.yaml", "a: 2020-13-01", "broken YAML"),
        ("a.yaml", "a: \x01", "broken YAML"),
    ],
)  # fmt: skip
def test_mistakes_are_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_class_file(write(tmp_path, name, text))


def test_files_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"a\.txt is not a text file in UTF-8"):
        read_class_file(tmp_path / "a.txt")
    (tmp_path / "b.txt").write_bytes(b"x" * (2**20 + 1))
    with pytest.raises(UserError, match=r"b\.txt is too large"):
        read_class_file(tmp_path / "b.txt")
    with pytest.raises(UserError, match=r"cannot read the class names .*missing\.txt"):
        read_class_file(tmp_path / "missing.txt")


def test_usual_names_are_found(tmp_path: Path) -> None:
    assert find_class_file(tmp_path) is None
    write(tmp_path, "labelmap.txt", "x")
    assert find_class_file(tmp_path) == tmp_path / "labelmap.txt"


def test_background_is_told_by_its_name() -> None:
    assert [name for name in ("_background_", "Background", "back") if is_background(name)] == [
        "_background_",
        "Background",
    ]
