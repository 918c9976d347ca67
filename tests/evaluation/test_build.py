from __future__ import annotations

import re
from pathlib import Path

import pytest
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.modeling import META_ARCH_REGISTRY

from segtron.config.defaults import get_default_config
from segtron.errors import UserError
from segtron.evaluation import (
    CityscapesInstanceEvaluator,
    CityscapesSemSegEvaluator,
    CocoInstanceEvaluator,
    PanopticEvaluator,
    SemSegEvaluator,
    build_evaluators,
)
from segtron.evaluation.build import OUTPUTS


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


@pytest.fixture
def panoptic_set(request):
    name = f"panoptic_set_for_{request.node.name}"
    MetadataCatalog.get(name).set(
        thing_classes=["road", "car"],
        stuff_classes=["road", "car"],
        thing_dataset_id_to_contiguous_id={26: 1},
        stuff_dataset_id_to_contiguous_id={7: 0},
        **request.param,
    )
    yield name
    MetadataCatalog.remove(name)


def config(architecture: str) -> CfgNode:
    cfg = get_default_config()
    cfg.MODEL.META_ARCHITECTURE = architecture
    return cfg


@pytest.mark.parametrize("as_type", [str, Path])
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
def test_evaluators_follow_the_dataset(dataset, expected, as_type, tmp_path):
    evaluators = build_evaluators(config("PanopticFPN"), dataset, as_type(tmp_path))._evaluators
    assert [type(evaluator) for evaluator in evaluators] == expected


@pytest.mark.parametrize(
    ("panoptic_set", "expected"),
    [
        (
            {"evaluator_type": "coco_panoptic_seg"},
            [CocoInstanceEvaluator, SemSegEvaluator, PanopticEvaluator],
        ),
        (
            {"evaluator_type": "cityscapes_panoptic_seg"},
            [
                CocoInstanceEvaluator,
                CityscapesInstanceEvaluator,
                CityscapesSemSegEvaluator,
                PanopticEvaluator,
            ],
        ),
    ],
    indirect=["panoptic_set"],
)
def test_evaluators_of_panoptic_sets(panoptic_set, expected):
    for architecture in ("PanopticFPN", "UnifiedPanopticFPN", "BottomUpPanoptic", "MyOwn"):
        evaluators = build_evaluators(config(architecture), panoptic_set)._evaluators
        assert [type(evaluator) for evaluator in evaluators] == expected
    # Other models are scored by what they give.
    for architecture, needs in (("GeneralizedRCNN", "instances"), ("SemanticSegmentor", "sem_seg")):
        evaluators = build_evaluators(config(architecture), panoptic_set)._evaluators
        fitting = [evaluator for evaluator in expected if evaluator.needs == needs]
        assert [type(evaluator) for evaluator in evaluators] == fitting
    with pytest.raises(UserError, match="by its panoptic segmentation .* a panoptic model"):
        build_evaluators(config("ProposalNetwork"), panoptic_set)


@pytest.mark.parametrize(
    ("dataset", "fit", "unfit", "message"),
    [
        (
            {"evaluator_type": evaluator_type},
            ["GeneralizedRCNN", "RetinaNet", "PanopticFPN", "MyOwn"],
            ["SemanticSegmentor", "ProposalNetwork"],
            " is scored by its instances and this model predicts none; take a model with instances",
        )
        for evaluator_type in ("coco", "cityscapes_instance")
    ]
    + [
        (
            {"evaluator_type": evaluator_type},
            ["SemanticSegmentor", "PanopticFPN", "MyOwn"],
            ["GeneralizedRCNN", "RetinaNet", "ProposalNetwork"],
            " is scored by its semantic segmentation and this model predicts none; take a model",
        )
        for evaluator_type in ("sem_seg", "cityscapes_sem_seg")
    ],
    indirect=["dataset"],
)
def test_what_a_model_cannot_be_scored_by_is_refused(dataset, fit, unfit, message):
    for architecture in fit:
        build_evaluators(config(architecture), dataset)
    for architecture in unfit:
        with pytest.raises(UserError, match=re.escape(dataset + message)):
            build_evaluators(config(architecture), dataset)


def test_architectures_go_by_detectron2s_names():
    assert all(name in META_ARCH_REGISTRY for name in OUTPUTS)


@pytest.mark.parametrize("dataset", [{"evaluator_type": "coco"}], indirect=True)
def test_detections_that_count_follow_the_config(dataset):
    cfg = get_default_config()
    cfg.TEST.DETECTIONS_PER_IMAGE = 400
    assert build_evaluators(cfg, dataset)._evaluators[0]._max_detections == 400
    cfg.TEST.DETECTIONS_PER_IMAGE = 20
    assert build_evaluators(cfg, dataset)._evaluators[0]._max_detections == 100


@pytest.mark.parametrize("dataset", [{"evaluator_type": "lvis"}, {}], indirect=True)
def test_unknown_type_is_named(dataset):
    with pytest.raises(UserError, match=re.escape(dataset) + " has the evaluator type"):
        build_evaluators(get_default_config(), dataset)
