from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from detectron2.evaluation import DatasetEvaluator

from segtron.benchmarks.frames import Frames
from segtron.benchmarks.timing import Run
from segtron.benchmarks.ways import (
    check_agreement,
    decoding,
    in_memory,
    over_files,
    timed,
    write_instance_files,
    write_label_file,
    write_labels,
)
from segtron.data.cityscapes import THING_LABELS


@pytest.fixture(scope="module")
def frames(tmp_path_factory) -> Frames:
    return Frames(tmp_path_factory.mktemp("frames"), 2, size=(64, 128), most_instances=12, seed=1)


class TestAgreement:
    def test_equal_within_the_tolerance(self):
        check_agreement({"AP": 30.0, "more": 1.0}, {"AP": 30.0 + 1e-10}, tolerance=1e-9)

    @pytest.mark.parametrize(
        ("ours", "theirs"),
        [
            ({"AP": 30.0}, {"AP": 30.0 + 1e-8}),
            ({"AP": math.nan}, {"AP": 30.0}),
            ({"AP": 30.0}, {"AP": math.nan}),
            ({}, {"AP": 30.0}),
        ],
    )
    def test_unequal(self, ours, theirs):
        with pytest.raises(RuntimeError, match="disagree: AP"):
            check_agreement(ours, theirs, tolerance=1e-9)

    def test_undefined_on_both_sides(self):
        check_agreement({"AP": math.nan}, {"AP": math.nan, "AP-void": math.nan}, tolerance=0)


class Counting(DatasetEvaluator):
    def reset(self):
        self.seen = []

    def process(self, inputs, outputs):
        self.seen += [
            (record["image_id"], output) for record, output in zip(inputs, outputs, strict=True)
        ]

    def evaluate(self):
        print("not to be seen")
        return {"task": {"number": len(self.seen)}}


def test_in_memory_feeds_each_image_once_in_each_run(capsys):
    evaluator = Counting()
    way = in_memory(evaluator, [{"image_id": "a"}, {"image_id": "b"}], lambda i: i * 10)
    for _ in range(2):
        run = way()
        assert evaluator.seen == [("a", 0), ("b", 10)]
        assert run.result == {"task/number": 2}
        assert run.seconds > 0
    assert capsys.readouterr().out == ""


def test_over_files_counts_both_parts_and_leaves_nothing(tmp_path):
    def write(folder, record, output):
        (folder / f"{record['image_id']}.txt").write_text(output)

    def score(folder):
        texts = {path.name: path.read_text() for path in folder.iterdir()}
        assert texts == {"a.txt": "output 0", "b.txt": "output 1"}
        return Run(100.0, {"task/AP": 5.0})

    records = [{"image_id": "a"}, {"image_id": "b"}]
    run = over_files(records, lambda i: f"output {i}", write, score, tmp_path)()
    assert run.seconds > 100
    assert run.result == {"task/AP": 5.0}
    assert list(tmp_path.iterdir()) == []


def test_instance_files_are_what_the_official_script_reads(frames, tmp_path):
    record, output = frames.instance_records[0], frames.instances(0, 5)
    write_instance_files(tmp_path, record, output)
    (text_file,) = tmp_path.glob("*.txt")
    assert text_file.name == "benchburg_000000_000019_leftImg8bit_pred.txt"
    instances = output["instances"]
    lines = text_file.read_text().splitlines()
    assert len(lines) == 5
    for i, line in enumerate(lines):
        name, label_id, score = line.split(" ")
        mask = cv2.imread(str(tmp_path / name), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(mask, 255 * instances.pred_masks[i].numpy())
        assert int(label_id) == THING_LABELS[int(instances.pred_classes[i])].id
        assert float(score) == float(instances.scores[i])


def test_label_files_of_scores_and_of_labels_are_the_same(frames, tmp_path):
    record = frames.sem_seg_records[0]
    for name, write, output in (
        ("scores", write_label_file, frames.sem_seg(0)),
        ("labels", write_labels, {"labels": frames.label_ids(0)}),
    ):
        (tmp_path / name).mkdir()
        write(tmp_path / name, record, output)
    first, second = (
        (tmp_path / name / "benchburg_000000_000019_leftImg8bit_pred.png").read_bytes()
        for name in ("scores", "labels")
    )
    assert first == second


def test_timed_takes_any_clock():
    times = iter([3.0, 7.5])
    run = timed(lambda: {"task": {"AP": 1.0}}, clock=lambda: next(times))()
    assert (run.seconds, run.result) == (4.5, {"task/AP": 1.0})


def test_decoding_reads_every_file(tmp_path):
    paths, seen = [tmp_path / "a", tmp_path / "b"], []
    assert decoding(seen.append, paths)().result == {}
    assert seen == paths
