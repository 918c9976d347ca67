"""A training step of Segtron finds the losses that Detectron2's finds: of the same weights, images,
proposals and samples."""

from __future__ import annotations

import cv2
import pytest
import torch
from detectron2.modeling.proposal_generator import RPN
from detectron2.structures import Boxes, Instances

from segtron.benchmarks.compared_models import NUM_THINGS, mask_rcnn
from segtron.benchmarks.made_up_images import write_records
from segtron.benchmarks.train import _for_training, our_step, stock_step

SIZE = (64, 128)
NUM_OBJECTS = 6
NUM_PROPOSALS = 30
# More than twice as many as there are anchors, or proposals: so all are taken, by no chance.
TAKE_ALL = [
    *("MODEL.RPN.BATCH_SIZE_PER_IMAGE", "4000"),
    *("MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", "4000"),
    *("MODEL.ROI_HEADS.POSITIVE_FRACTION", "0.5"),
]
LOSSES = ["loss_box_reg", "loss_cls", "loss_mask", "loss_rpn_cls", "loss_rpn_loc"]


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    return write_records(folder, 2, SIZE, 0, num_objects=NUM_OBJECTS, num_classes=NUM_THINGS)


@pytest.fixture(scope="module")
def model(records, tmp_path_factory):
    image = cv2.imread(records[0]["file_name"])
    model = mask_rcnn(tmp_path_factory.mktemp("weights"), image, "cpu", 0, TAKE_ALL)
    return _for_training(model, SIZE, batch_size=len(records))


@pytest.fixture(scope="module")
def same_proposals(records, model):
    """Some beside the objects, some anywhere. The weights were made with proposals of their own."""
    generator = torch.Generator().manual_seed(0)
    proposals = []
    for record in records:
        objects = torch.tensor([annotation["bbox"] for annotation in record["annotations"]])
        moved = objects.float().repeat(3, 1)
        moved += torch.randn(moved.shape, generator=generator) * 2
        corners = torch.rand(NUM_PROPOSALS, 2, 2, generator=generator).sort(dim=1).values
        anywhere = (corners * torch.tensor(SIZE[::-1])).flatten(1)
        boxes = Boxes(torch.cat([moved, anywhere]))
        boxes.clip(SIZE)
        boxes = boxes[boxes.nonempty(threshold=1.0)]
        logits = torch.zeros(len(boxes))
        proposals.append(Instances(SIZE, proposal_boxes=boxes, objectness_logits=logits))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RPN, "predict_proposals", lambda *_: proposals)
        yield


@pytest.fixture(scope="module", params=["polygon", "bitmask"])
def masks(request):
    return ["INPUT.MASK_FORMAT", request.param]


@pytest.fixture(scope="module")
def theirs(masks, model, records, same_proposals):
    stock = model.stock.clone()
    stock.merge_from_list(masks)
    losses = stock_step(stock, records)()
    assert sorted(losses) == LOSSES
    assert min(losses.values()) > 0.01
    return losses


@pytest.mark.parametrize(
    ("opts", "tolerance"),
    [
        (["SOLVER.AMP.ENABLED", "False"], 1e-4),
        (["SOLVER.AMP.ENABLED", "True", "SOLVER.AMP.PRECISION", "bfloat16"], 1e-2),
    ],
    ids=["float32", "bfloat16"],
)
def test_losses_are_those_of_detectron2(opts, tolerance, masks, model, records, theirs):
    ours = our_step(model.our_cfg([*masks, *opts]), records, seed=0)()
    assert ours == pytest.approx(theirs, rel=tolerance)
