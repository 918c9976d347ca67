"""OUTPUT_DIR: an earlier run is kept, other files are left alone."""

from pathlib import Path

import pytest

from segtron.engine.output_dir import check_writable, set_earlier_run_aside
from segtron.errors import UserError


def names(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_an_earlier_run_is_kept_and_a_user_file_stays(tmp_path: Path) -> None:
    for run in (1, 2):
        (tmp_path / "metrics.json").write_text(f"run {run}")
        (tmp_path / "model_final.pth").write_text(f"run {run}")
        (tmp_path / "inference" / "val").mkdir(parents=True)
        (tmp_path / "inference" / "val" / "predictions.json").write_text(f"run {run}")
        (tmp_path / "notes.txt").write_text("mine")
        with set_earlier_run_aside(tmp_path):
            assert not (tmp_path / "metrics.json").exists()
    assert names(tmp_path) == [
        *(
            f"earlier_run_{run}/{name}"
            for run in (1, 2)
            for name in ("inference/val/predictions.json", "metrics.json", "model_final.pth")
        ),
        "notes.txt",
    ]
    assert (tmp_path / "earlier_run_2" / "metrics.json").read_text() == "run 2"


@pytest.mark.parametrize(
    ("file", "place"),
    [
        ("report/report.html", "earlier_run_1/report/report.html"),
        ("report/thesis.txt", "report/thesis.txt"),  # a folder of one's own
    ],
)
def test_a_report_goes_with_its_run(tmp_path: Path, file: str, place: str) -> None:
    (tmp_path / "metrics.json").touch()
    (tmp_path / "report").mkdir()
    (tmp_path / file).touch()
    with set_earlier_run_aside(tmp_path):
        assert names(tmp_path) == ["earlier_run_1/metrics.json", place]


def test_a_folder_without_a_run_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a.pth").touch()
    with set_earlier_run_aside(tmp_path):
        assert names(tmp_path) == ["a.pth"]


def test_a_run_that_fails_before_its_first_checkpoint_gives_way(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text("earlier")
    with pytest.raises(UserError), set_earlier_run_aside(tmp_path):
        (tmp_path / "metrics.json").write_text("failed")
        raise UserError("an image is broken")
    assert names(tmp_path) == ["failed_run_1/metrics.json", "metrics.json"]
    assert (tmp_path / "metrics.json").read_text() == "earlier"


def test_a_run_that_fails_after_a_checkpoint_stays(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text("earlier")
    with pytest.raises(UserError), set_earlier_run_aside(tmp_path):
        (tmp_path / "last_checkpoint").touch()
        raise UserError("the disk is full")
    assert names(tmp_path) == ["earlier_run_1/metrics.json", "last_checkpoint"]


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"OUTPUT_DIR .*file/below cannot be written"):
        check_writable(tmp_path / "file" / "below")
    check_writable(tmp_path / "new" / "folder")
    assert names(tmp_path) == ["file"]
