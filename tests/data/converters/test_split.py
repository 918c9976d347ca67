"""Which images become validation data."""

from pathlib import Path

import pytest

from segtron.data.converters.split import Split, check_split, choose_validation
from segtron.errors import UserError

IMAGES = [(f"{folder}/{number}.jpg", "") for folder in "abcde" for number in range(4)]
NAMES = {name for name, _ in IMAGES}


def test_a_share_is_drawn_the_same_way_again() -> None:
    chosen = choose_validation(IMAGES, Split(0.25, seed=1))
    assert len(chosen) == 5 and chosen < NAMES
    assert chosen == choose_validation(IMAGES[::-1], Split(0.25, seed=1))
    assert chosen != choose_validation(IMAGES, Split(0.25, seed=2))


@pytest.mark.parametrize("share", [0.001, 0.5, 0.999])
def test_both_parts_have_an_image(share: float) -> None:
    for images in (IMAGES[:2], IMAGES):
        assert 0 < len(choose_validation(images, Split(share))) < len(images)


@pytest.mark.parametrize("group_by", ["folder", "^(.)/", r"/(\d)"])
@pytest.mark.parametrize("seed", range(5))
def test_groups_stay_together(group_by: str, seed: int) -> None:
    chosen = choose_validation(IMAGES, Split(0.4, group_by=group_by, seed=seed))
    place = 2 if group_by == r"/(\d)" else 0
    keys = {name[place] for name in chosen}
    assert chosen == {name for name in NAMES if name[place] in keys}
    assert 4 <= len(chosen) <= 10


def test_groups_of_the_source() -> None:
    images = [(f"{i}.jpg", "s1" if i < 6 else "s2" if i < 9 else "") for i in range(20)]
    for seed in range(20):
        chosen = choose_validation(images, Split(0.3, seed=seed))
        for group in ({f"{i}.jpg" for i in range(6)}, {f"{i}.jpg" for i in range(6, 9)}):
            assert group <= chosen or not group & chosen
        assert len(chosen) in (5, 6, 7)


def test_a_group_that_is_only_the_folder_counts_by_folder() -> None:
    images = [(f"train/{i}.jpg", "train") for i in range(10)]
    assert len(choose_validation(images, Split(0.3))) == 3
    with pytest.raises(UserError, match="one group"):
        choose_validation(images, Split(0.3, group_by="folder"))


def test_a_group_too_large_to_be_the_share_is_left_out() -> None:
    images = [(f"{i}.jpg", "s") for i in range(90)] + [(f"{i}.jpg", "") for i in range(90, 100)]
    for seed in range(10):
        chosen = choose_validation(images, Split(0.1, seed=seed))
        assert chosen == {f"{i}.jpg" for i in range(90, 99)} or 9 <= len(chosen) <= 10


def test_a_list_names_images_in_many_ways(tmp_path: Path) -> None:
    images = [("a.jpg", ""), ("x/b.jpg", ""), ("x/a.jpg", ""), ("y z/ü.png", ""), ("c.jpg", "")]
    file = tmp_path / "val.txt"
    file.write_text("\ufeffa.jpg\n\nb\ny z\\ü.png\r\n./c.jpg\n", encoding="utf-8")
    assert choose_validation(images, Split(listed=file)) == {
        "a.jpg",
        "x/b.jpg",
        "y z/ü.png",
        "c.jpg",
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("d.jpg", "no converted image is called so"),
        ("1.jpg", "2 images could be meant"),
        ("1", "2 images could be meant"),
        ("a/1.jpg\nb/1.jpg", "none to train on"),
        ("\n \n", "names no image"),
        ("a\0", "no converted image"),
    ],
)
def test_lists_that_are_no_split(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "val.txt").write_text(text)
    with pytest.raises(UserError, match=words):
        choose_validation([("a/1.jpg", ""), ("b/1.jpg", "")], Split(listed=tmp_path / "val.txt"))


def test_a_list_may_not_cut_a_group_that_was_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "val.txt"
    file.write_text("\n".join(f"a/{i}.jpg" for i in range(4)))
    assert len(choose_validation(IMAGES, Split(listed=file, group_by="folder"))) == 4
    file.write_text("a/0.jpg\na/2.jpg")
    with pytest.raises(UserError, match=r"group 'a', but not its image 'a/1\.jpg'"):
        choose_validation(IMAGES, Split(listed=file, group_by="folder"))
    assert len(choose_validation(IMAGES, Split(listed=file))) == 2


@pytest.mark.parametrize(
    ("images", "split", "words"),
    [
        (IMAGES[:1], Split(0.5), "only one image"),
        (IMAGES[:4], Split(0.5, group_by="folder"), "only 4 images of one group"),
        (IMAGES, Split(0.5, group_by="x(.)"), "finds nothing in the image 'a/0.jpg'"),
        (IMAGES, Split(0.5, group_by="(x)?"), "finds nothing in the image 'a/0.jpg'"),
    ],
)
def test_what_cannot_be_split(images, split, words) -> None:
    with pytest.raises(UserError, match=words):
        choose_validation(images, split)


@pytest.mark.parametrize(
    ("split", "words"),
    [
        (Split(0.0), "above 0 and below 1"),
        (Split(1.0), "above 0 and below 1"),
        (Split(0.5, group_by="("), "no regular expression"),
        (Split(0.5, group_by="a"), "has 0 groups"),
        (Split(0.5, group_by="(a)(b)"), "has 2 groups"),
        (Split(listed=Path("/no/such/list.txt")), "cannot read the list"),
    ],
)
def test_splits_are_checked_before_the_work(split, words) -> None:
    with pytest.raises(UserError, match=words):
        check_split(split)


def test_images_with_a_folder_each_are_grouped_by_the_one_above() -> None:
    images = [(f"{s}/{i}/{i}.png", s) for s in ("x", "y") for i in range(10)]
    assert len(choose_validation(images, Split(0.3))) == 6
    chosen = choose_validation(images, Split(0.5, group_by="folder"))
    assert len({name[0] for name in chosen}) == 1 and len(chosen) == 10


def test_a_list_may_spell_accents_apart(tmp_path: Path) -> None:
    (tmp_path / "val.txt").write_text("a\u0308.png", encoding="utf-8")
    split = Split(listed=tmp_path / "val.txt")
    assert choose_validation([("ä.png", ""), ("b.png", "")], split) == {"ä.png"}
