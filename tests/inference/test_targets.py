"""Which files a run writes, and what is said where two would be one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from segtron.errors import UserError
from segtron.inference import (
    Camera,
    FrameChoice,
    ImageFile,
    Images,
    Sink,
    Video,
    build_sinks,
    refuse_existing,
)
from segtron.inference.targets import refuse_clashes, targets

from .fake_runs import METADATA


def sinks(names, folder):
    return build_sinks(names, folder, METADATA, draw_score=0, save_score=0)


def files(*names):
    return Images([ImageFile(Path("in") / name, name) for name in names])


def video(name):
    return Video(Path("in") / name, name, FrameChoice())


@pytest.mark.parametrize(
    ("save", "sources", "told"),
    [
        (
            ["overlay", "labels"],
            [files("x/a.jpg", "b.png", "x/a.png")],
            "x/a.jpg (--save labels) and x/a.png (--save labels) would have the same name "
            "OUT/labels/x/a.png; rename one",
        ),
        (
            ["overlay", "labels"],
            [files("a.png", "labels/a.png")],
            "labels/a.png (--save overlay) and a.png (--save labels) would have the same name "
            "OUT/labels/a.png;",
        ),
        (
            ["panoptic"],
            [files("a.png", "a.jpg", "b.png", "b.jpg")],
            "a.png (--save panoptic) and a.jpg (--save panoptic) would have the same name "
            "OUT/panoptic/a.png (and 1 more names are taken twice);",
        ),
        (
            ["video"],
            [files("c.png", "d.png"), video("predictions.avi")],
            "images such as c.png (--save video) and in/predictions.avi (--save video) would have "
            "the same name OUT/predictions.mp4;",
        ),
        (
            ["video"],
            [files("c.png", "predictions/a.png", "predictions/b.png")],
            "images such as c.png (--save video) and images such as predictions/a.png "
            "(--save video) would have the same name OUT/predictions.mp4;",
        ),
        (
            ["overlay"],
            [Camera(0, FrameChoice()), files("camera-0/000000.jpg")],
            "camera:0 (--save overlay) and camera-0/000000.jpg (--save overlay) would have the "
            "same name OUT/camera-0/000000.jpg;",
        ),
    ],
)
def test_both_that_would_have_one_name_are_named(tmp_path, save, sources, told):
    message = f"results of {told}".replace("OUT", str(tmp_path))
    with pytest.raises(UserError, match=re.escape(message)):
        refuse_existing(sources, sinks(save, tmp_path))


def test_names_of_their_own_are_no_clash(tmp_path):
    sources = [files("a.png", "b.png", "x/a.png"), video("v.mp4")]
    refuse_clashes(sources, sinks(["overlay", "labels", "panoptic", "coco", "video"], tmp_path))
    refuse_clashes([files("a.png", "a.jpg", "labels/a.png")], sinks(["overlay"], tmp_path))


class Beside(Sink):
    """Writes beside overlays, and a file that another sink has, too."""

    name = "beside"
    needs = ("instances",)

    def files_of(self, image_name):
        return [self.path_of(image_name).with_suffix(".txt")]

    def files_of_all(self, sources):
        return [self.output_dir / "predictions.csv"]

    def write(self, prediction):
        return None


def test_sinks_that_write_one_file_are_named(tmp_path):
    own = Beside(tmp_path, METADATA, 0.0)
    both = [own, *sinks(["overlay", "csv"], tmp_path)]
    message = r"results of all images \(--save beside\) and all images \(--save csv\) would have"
    with pytest.raises(UserError, match=message):
        refuse_clashes([files("a.png")], both)
    # A folder of frames is shared, as long as the files in it are not.
    refuse_clashes([video("v.mp4")], [own, *sinks(["overlay"], tmp_path)])


def test_what_may_not_be_there_before(tmp_path):
    found = list(targets([files("a.png"), video("v.mp4")], sinks(["labels", "csv"], tmp_path)))
    assert {target.guarded.relative_to(tmp_path).as_posix() for target in found} == {
        *("labels/a.png", "labels/v", "predictions.csv")
    }
    (tmp_path / "labels" / "v").mkdir(parents=True)
    with pytest.raises(UserError, match=r"labels/v would be overwritten"):
        refuse_existing([files("a.png"), video("v.mp4")], sinks(["labels", "csv"], tmp_path))
