from __future__ import annotations

import re

import pytest
from detectron2.config import get_cfg
from detectron2.data import MetadataCatalog

from segtron.errors import UserError
from segtron.evaluation import (
    CityscapesInstanceEvaluator,
    CityscapesSemSegEvaluator,
    CocoInstanceEvaluator,
    SemSegEvaluator,
    build_evaluators,
)


@pytest.fixture
def dataset(request):
    name = f"set_for_{request.node.name}"
    MetadataCatalog.get(name).set(
        thing_classes=["a"],
        thing_dataset_id_to_contiguous_id={24: 0},
        stuff_classes=["b"],
        stuff_dataset_id_to_contiguous_id={7: 0},
        **request.param,
    )
    yield name
    MetadataCatalog.remove(name)


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        ({"evaluator_type": "coco"}, [CocoInstanceEvaluator]),
        (
            {"evaluator_type": "cityscapes_instance"},
            [CocoInstanceEvaluator, CityscapesInstanceEvaluator],
        ),
        ({"evaluator_type": "sem_seg"}, [SemSegEvaluator]),
        ({"evaluator_type": "cityscapes_sem_seg"}, [CityscapesSemSegEvaluator]),
    ],
    indirect=["dataset"],
)
def test_evaluators_follow_the_dataset(dataset, expected, tmp_path):
    evaluators = build_evaluators(get_cfg(), dataset, str(tmp_path))._evaluators
    assert [type(evaluator) for evaluator in evaluators] == expected


@pytest.mark.parametrize("dataset", [{"evaluator_type": "coco"}], indirect=True)
def test_detections_that_count_follow_the_config(dataset):
    cfg = get_cfg()
    cfg.TEST.DETECTIONS_PER_IMAGE = 400
    assert build_evaluators(cfg, dataset)._evaluators[0]._max_detections == 400
    cfg.TEST.DETECTIONS_PER_IMAGE = 20
    assert build_evaluators(cfg, dataset)._evaluators[0]._max_detections == 100


@pytest.mark.parametrize("dataset", [{"evaluator_type": "lvis"}, {}], indirect=True)
def test_unknown_type_is_named(dataset):
    with pytest.raises(UserError, match=re.escape(dataset) + " has the evaluator type"):
        build_evaluators(get_cfg(), dataset)
