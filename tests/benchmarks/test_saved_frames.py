from __future__ import annotations

import json

import numpy as np
import pytest

from segtron.benchmarks.frames import INSTANCE_SET, PANOPTIC_SET, SEM_SEG_SET, Frames
from segtron.benchmarks.saved_frames import SavedFrames
from segtron.benchmarks.ways import in_memory
from segtron.evaluation.cityscapes_instance import CityscapesInstanceEvaluator
from segtron.evaluation.cityscapes_sem_seg import CityscapesSemSegEvaluator
from segtron.evaluation.panoptic import PanopticEvaluator


@pytest.fixture(scope="module")
def frames(tmp_path_factory) -> Frames:
    return Frames(tmp_path_factory.mktemp("frames"), 2, size=(64, 128), most_instances=12, seed=1)


@pytest.fixture(scope="module")
def repeated(frames, tmp_path_factory) -> SavedFrames:
    return SavedFrames(frames, tmp_path_factory.mktemp("saved"), num_instances=12, repeats=3)


def test_every_repeat_has_its_files(repeated):
    names = [f"benchburg_00000{i}_00002{n}" for i in range(2) for n in range(2)]
    names += [f"benchburg_00000{i}_000019" for i in range(2)]
    for folder, suffix in (
        (repeated.gt_folder / "benchburg", "_gtFine_instanceIds.png"),
        (repeated.gt_folder / "benchburg", "_gtFine_labelIds.png"),
        (repeated.instances, "_leftImg8bit_pred.txt"),
        (repeated.labels, "_leftImg8bit_pred.png"),
    ):
        found = {path.name for path in folder.glob(f"*{suffix}")}
        assert found == {f"{name}{suffix}" for name in names}
    for json_file, field in ((repeated.gt_json, "image_id"), (repeated.pred_json, "image_id")):
        annotations = json.loads(json_file.read_text())["annotations"]
        assert len({annotation[field] for annotation in annotations}) == 6
    assert len(repeated.masks()) == 2 * 12


@pytest.mark.parametrize(
    ("task", "evaluator", "records", "output"),
    [
        (
            "cityscapes-instance",
            CityscapesInstanceEvaluator(INSTANCE_SET),
            "instance_records",
            lambda frames, i: frames.instances(i, 12),
        ),
        (
            "cityscapes-semantic",
            CityscapesSemSegEvaluator(SEM_SEG_SET),
            "sem_seg_records",
            Frames.sem_seg,
        ),
        ("panoptic", PanopticEvaluator(PANOPTIC_SET), "panoptic_records", Frames.panoptic),
    ],
)
def test_files_are_scored_as_the_outputs_are(
    frames, repeated, tmp_path, task, evaluator, records, output
):
    """IoU and PQ of repeats are those of each frame once; AP is that too, but for ties."""
    run = in_memory(evaluator, getattr(frames, records), lambda i: output(frames, i))()
    once = SavedFrames(frames, tmp_path / "once", num_instances=12)
    for saved, workers in ((once, 1), (once, 2), (repeated, 2)):
        ((name, scores),) = saved.scorers()[task](workers).items()
        for metric, value in scores.items():
            expected = run.result[f"{name}/{metric}"]
            tolerance = 5 if saved is repeated and "AP" in metric else 1e-9
            assert value == pytest.approx(expected, abs=tolerance, nan_ok=True)
        assert np.isfinite(list(scores.values())).any()
