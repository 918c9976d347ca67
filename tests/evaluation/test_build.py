from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.structures import Boxes, Instances

from segtron.config.defaults import get_default_config
from segtron.data.catalog import INSTANCE_METADATA, SEM_SEG_METADATA
from segtron.data.cityscapes import THING_LABELS, load_instances, load_sem_seg
from segtron.data.image_io import read_ids
from segtron.data.sem_seg import read_sem_seg
from segtron.data.toytown import make_toytown
from segtron.errors import UserError
from segtron.evaluation.build import OUTPUTS, build_evaluators
from segtron.evaluation.cityscapes_instance import CityscapesInstanceEvaluator
from segtron.evaluation.cityscapes_sem_seg import CityscapesSemSegEvaluator
from segtron.evaluation.coco_evaluator import CocoInstanceEvaluator
from segtron.evaluation.panoptic import PanopticEvaluator
from segtron.evaluation.sem_seg import SemSegEvaluator


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


@pytest.fixture
def toytown(tmp_path, request):
    """A small toytown as a set of instances and one of classes; gives their names."""
    make_toytown(tmp_path, train=1, val=2, size=(96, 192), seed=5, workers=1, progress=False)
    names = []
    for load, metadata in ((load_instances, INSTANCE_METADATA), (load_sem_seg, SEM_SEG_METADATA)):
        names.append(f"{load.__name__}_for_{request.node.name}")
        DatasetCatalog.register(names[-1], lambda load=load: load(tmp_path, "val"))
        MetadataCatalog.get(names[-1]).set(**metadata)
    yield names
    for name in names:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def right_output(record: dict) -> dict:
    """Instances as in the ground truth, and classes where it has them."""
    ids = read_ids(record["instance_ids_file_name"])
    labels = [label.id for label in THING_LABELS]
    found = [i for i in np.unique(ids).tolist() if i // 1000 in labels]
    instances = Instances(ids.shape)
    instances.pred_masks = torch.from_numpy(np.array([ids == i for i in found]))
    instances.pred_boxes = Boxes(torch.zeros(len(found), 4))
    instances.pred_classes = torch.tensor([labels.index(i // 1000) for i in found])
    instances.scores = torch.full((len(found),), 0.5)
    if "sem_seg_file_name" not in record:
        return {"instances": instances}
    scores = (read_sem_seg(record) == np.arange(19)[:, None, None]) * 1.0
    return {"sem_seg": torch.from_numpy(scores)}


def test_boundaries_follow_the_config(toytown):
    instance_set, sem_seg_set = toytown
    cfg = get_default_config()
    results = {}
    for ratio in (0.0, 0.005):
        cfg.TEST.BOUNDARY_RATIO = ratio
        results[ratio] = {}
        for name, architecture in (
            (instance_set, "GeneralizedRCNN"),
            (sem_seg_set, "SemanticSegmentor"),
        ):
            cfg.MODEL.META_ARCHITECTURE = architecture
            evaluators = build_evaluators(cfg, name)
            evaluators.reset()
            for record in DatasetCatalog.get(name):
                evaluators.process([record], [right_output(record)])
            results[ratio] |= evaluators.evaluate()
    added = {"boundary", "cityscapes_boundary", "sem_seg_boundary"}
    assert set(results[0.005]) - set(results[0.0]) == added
    assert not added & set(results[0.0])
    for key, scores in results[0.0].items():
        np.testing.assert_equal(results[0.005][key], scores)
    assert results[0.005]["cityscapes_boundary"]["AP-car"] == pytest.approx(100)
    assert results[0.005]["sem_seg_boundary"]["BIoU-road"] == 100


@pytest.mark.parametrize("dataset", [{"evaluator_type": "lvis"}, {}], indirect=True)
def test_unknown_type_is_named(dataset):
    with pytest.raises(UserError, match=re.escape(dataset) + " has the evaluator type"):
        build_evaluators(get_default_config(), dataset)
