from __future__ import annotations

from pathlib import Path

import pytest

from segtron.errors import UserError
from segtron.evaluation.cityscapes_files import find_ground_truth, find_predictions

SUFFIX = "_gtFine_labelIds.png"
FRAMES = ["aville_000000_000019", "bad-bville_000001_000019"]


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_ground_truth_by_city_and_name(tmp_path):
    touch(
        tmp_path,
        f"bad-bville/{FRAMES[1]}{SUFFIX}",
        f"aville/{FRAMES[0]}{SUFFIX}",
        f"aville/{FRAMES[0]}_gtFine_color.png",
        "aville/notes.txt",
    )
    assert find_ground_truth(tmp_path, SUFFIX) == {
        FRAMES[0]: tmp_path / "aville" / f"{FRAMES[0]}{SUFFIX}",
        FRAMES[1]: tmp_path / "bad-bville" / f"{FRAMES[1]}{SUFFIX}",
    }
    assert list(find_ground_truth(tmp_path, SUFFIX)) == FRAMES


def test_no_ground_truth_or_twice(tmp_path):
    with pytest.raises(
        UserError, match=r"no ground truth .*/<city>/\*_gtFine_labelIds.*gtFine/val"
    ):
        find_ground_truth(tmp_path, SUFFIX)
    touch(tmp_path, f"a/{FRAMES[0]}{SUFFIX}", f"b/{FRAMES[0]}{SUFFIX}")
    with pytest.raises(UserError, match=rf"a/{FRAMES[0]}.* and .*b/{FRAMES[0]}.* of the frame"):
        find_ground_truth(tmp_path, SUFFIX)


def test_names_that_are_too_long():
    folder = Path("a" * 5000)
    with pytest.raises(UserError, match="no ground truth a"):
        find_ground_truth(folder, SUFFIX)
    with pytest.raises(UserError, match="the folder a.* of predictions does not exist"):
        find_predictions(folder, ".png", FRAMES)


def test_predictions_are_found_at_any_depth_by_how_they_begin(tmp_path):
    touch(
        tmp_path,
        f"{FRAMES[0]}.png",
        f"{FRAMES[0]}_pred.txt",
        f"deep/er/{FRAMES[1]}_leftImg8bit_pred.png",
        "deep/cville_000000_000019.png",
        "other.png",
    )
    assert find_predictions(tmp_path, ".png", FRAMES) == (
        {
            FRAMES[0]: tmp_path / f"{FRAMES[0]}.png",
            FRAMES[1]: tmp_path / "deep" / "er" / f"{FRAMES[1]}_leftImg8bit_pred.png",
        },
        0,
    )


def test_a_frame_whose_name_begins_like_another(tmp_path):
    touch(tmp_path, "frame_1.png", "frame_12.png")
    assert find_predictions(tmp_path, ".png", ["frame_1", "frame_12"]).predictions == {
        "frame_1": tmp_path / "frame_1.png",
        "frame_12": tmp_path / "frame_12.png",
    }


def test_two_predictions_of_a_frame(tmp_path):
    touch(tmp_path, f"a/{FRAMES[0]}.png", f"b/{FRAMES[0]}_color.png", f"{FRAMES[1]}.png")
    with pytest.raises(
        UserError, match=rf"a/{FRAMES[0]}\.png and .*b/{FRAMES[0]}_color\.png are both predictions"
    ):
        find_predictions(tmp_path, ".png", FRAMES)


def test_missing_predictions(tmp_path):
    touch(tmp_path, f"{FRAMES[1]}.png")
    with pytest.raises(
        UserError,
        match=rf"no prediction for 1 of 2 images, first of them {FRAMES[0]}, .*"
        rf"{FRAMES[0]}\*\.png; --allow-missing scores the others",
    ):
        find_predictions(tmp_path, ".png", FRAMES)
    assert find_predictions(tmp_path, ".png", FRAMES, allow_missing=True) == (
        {FRAMES[1]: tmp_path / f"{FRAMES[1]}.png"},
        1,
    )


@pytest.mark.parametrize("allow_missing", [False, True])
def test_no_prediction_at_all(tmp_path, allow_missing):
    touch(tmp_path, f"{FRAMES[1]}.txt")
    with pytest.raises(UserError, match=r"no prediction for 2 of 2 images.*\*\.png$"):
        find_predictions(tmp_path, ".png", FRAMES, allow_missing=allow_missing)
    with pytest.raises(UserError, match=r"the folder .*none of predictions does not exist"):
        find_predictions(tmp_path / "none", ".png", FRAMES, allow_missing=allow_missing)
