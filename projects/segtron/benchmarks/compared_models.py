"""The models that are timed: Segtron's, and the same ones as Detectron2 has them, with one set of
weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import detectron2
import numpy as np
import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.modeling import GeneralizedRCNN, build_model
from torch import nn

from segtron.benchmarks.settled_weights import settle_weights
from segtron.config import load_config

_CONFIGS = Path(__file__).parents[3] / "configs"
_MASK_RCNN = ("coco/mask_rcnn_R_50_FPN_1x.yaml", "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x")
_PANOPTIC_FPN = ("coco/panoptic_fpn_R_50_1x.yaml", "COCO-PanopticSegmentation/panoptic_fpn_R_50_1x")
NUM_THINGS = 80  # COCO's
# The share of the detections of a sure model that is kept, by score: of Detectron2's 100 an image
# that is 30 to 50.
_KEPT = (0.3, 0.5)
_SEMANTIC_PREDICTOR = "sem_seg_head.predictor"


class ComparedModel(NamedTuple):
    """A model on both sides."""

    our_config: Path  # a config of Segtron
    our_opts: list[str]  # KEY VALUE pairs for it
    stock: CfgNode  # Detectron2's config, complete

    def our_cfg(self, opts: Sequence[str] = ()) -> CfgNode:
        """Segtron's config, complete but for further KEY VALUE pairs."""
        return load_config(self.our_config, [*self.our_opts, *opts])


def mask_rcnn(
    folder: Path, image: np.ndarray, device: str, seed: int, opts: Sequence[str] = ()
) -> ComparedModel:
    """Mask R-CNN R50-FPN of COCO.

    The stride is in the 3x3 convolutions, as torchvision has it.

    Args:
        folder: for the weights.
        image: (H, W, 3) uint8, BGR. The models take images of this size as they are, and in this
            one 30 to 50 detections remain, if there are 100.
        device: that they run on.
        seed: of the weights.
        opts: keys and values that both get.
    """
    config, theirs = _MASK_RCNN
    opts = [*opts, *_input_opts(image, device), "MODEL.RESNETS.STRIDE_IN_1X1", "False"]
    stock, opts = _settled(theirs, opts, folder / "mask_rcnn.pth", image, seed)
    return ComparedModel(_CONFIGS / config, opts, stock)


def panoptic_fpn(
    folder: Path, image: np.ndarray, device: str, seed: int, opts: Sequence[str] = ()
) -> ComparedModel:
    """Panoptic FPN R50 of COCO. Arguments are those of `mask_rcnn`.

    Detectron2's semantic branch has one class for all things and 53 of stuff. Segtron's also tells
    the 80 things apart; here all of these get the weights of that one class, so that the same
    pixels are stuff, and of the same classes.
    """
    config, theirs = _PANOPTIC_FPN
    path = folder / "panoptic_fpn.pth"
    opts = [*opts, *_input_opts(image, device)]
    stock, opts = _settled(theirs, opts, folder / "stock_panoptic_fpn.pth", image, seed)
    tensors = torch.load(stock.MODEL.WEIGHTS, weights_only=True)
    for kind in ("weight", "bias"):
        things, stuff = tensors[f"{_SEMANTIC_PREDICTOR}.{kind}"].split([1, 53])
        repeated = things.expand(NUM_THINGS, *things.shape[1:])
        tensors[f"{_SEMANTIC_PREDICTOR}.{kind}"] = torch.cat([repeated, stuff])
    torch.save(tensors, path)
    return ComparedModel(_CONFIGS / config, [*opts, "MODEL.WEIGHTS", str(path)], stock)


def semantic_model(
    name: str, folder: Path, image: np.ndarray, device: str, seed: int
) -> ComparedModel:
    """A semantic model of Segtron, whose float32 model `DefaultPredictor` can run, too.

    Args:
        name: of a config in configs/cityscapes, without its suffix.
        folder, image, device, seed: as in `mask_rcnn`.
    """
    path = folder / f"{name}.pth"
    config = _CONFIGS / "cityscapes" / f"{name}.yaml"
    opts = _input_opts(image, device)
    stock = load_config(config, opts).clone()
    stock.defrost()
    _save_settled(stock, path, image, seed)
    return ComparedModel(config, [*opts, "MODEL.WEIGHTS", str(path)], stock)


def _settled(
    name: str, opts: Sequence[str], path: Path, image: np.ndarray, seed: int
) -> tuple[CfgNode, list[str]]:
    """A config of Detectron2's model zoo with its weights, and what Segtron's has to share."""
    cfg = get_cfg()
    # Not by the module model_zoo, whose import warns of what its authors use.
    cfg.merge_from_file(str(Path(detectron2.__file__).parent / f"model_zoo/configs/{name}.yaml"))
    cfg.merge_from_list(list(opts))
    threshold = _choose_threshold(_save_settled(cfg, path, image, seed), image)
    cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = threshold
    found = ["MODEL.WEIGHTS", str(path), "MODEL.ROI_HEADS.SCORE_THRESH_TEST", str(threshold)]
    return cfg, [*opts, *found]


def _input_opts(image: np.ndarray, device: str) -> list[str]:
    height, width = image.shape[:2]
    pairs = {
        "MODEL.DEVICE": device,
        "INPUT.MIN_SIZE_TEST": min(height, width),
        "INPUT.MAX_SIZE_TEST": max(height, width),
    }
    return [str(part) for pair in pairs.items() for part in pair]


def _save_settled(cfg: CfgNode, path: Path, image: np.ndarray, seed: int) -> nn.Module:
    """Make up the weights of a config, and enter them in it."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build_model(cfg).eval()
    settle_weights(model, lambda: model([_input(image)]))
    torch.save(model.state_dict(), path)
    cfg.MODEL.WEIGHTS = str(path)
    return model


@torch.no_grad()
def _choose_threshold(model: GeneralizedRCNN, image: np.ndarray) -> float:
    """A score in the widest gap between those of the `_KEPT` best detections, so that rounding
    leaves as many of them as there were."""
    model.roi_heads.mask_on = False
    # Of panoptic models, too, without segments.
    [instances] = GeneralizedRCNN.inference(model, [_input(image)], do_postprocess=False)
    scores = instances.scores.tolist()
    first, last = (int(share * len(scores)) for share in _KEPT)
    pairs = list(zip(scores[first:last], scores[first + 1 : last + 1], strict=True))
    if not pairs:
        raise RuntimeError("the made-up weights find too little in the image to be timed")
    higher, lower = max(pairs, key=lambda pair: pair[0] - pair[1])
    return (higher + lower) / 2


def _input(image: np.ndarray) -> dict[str, torch.Tensor]:
    return {"image": torch.from_numpy(image.transpose(2, 0, 1).copy())}
