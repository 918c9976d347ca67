"""Backbone weights out of torchvision's checkpoints, for the ResNets of Detectron2 and timm."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping

import torch
from detectron2.modeling.backbone.resnet import BottleneckBlock, DeformBottleneckBlock
from torch import nn

from segtron.errors import UserError

logger = logging.getLogger(__name__)

# The parts of torchvision's classification ResNets, and of its segmentation models.
_RESNET_PARTS = {"conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc"}
_SEGMENTATION_PARTS = {"backbone", "classifier", "aux_classifier"}
# What every ResNet has, in torchvision's names, which are timm's names, too.
_FIRST_LAYERS = ("conv1.weight", "bn1.weight", "layer1.0.conv1.weight")
_FIRST_BLOCK = _FIRST_LAYERS[-1]
# A tensor of Detectron2's ResNet, wherever in a model it is: res2.0.conv1.norm.weight.
_DETECTRON2_NAME = re.compile(
    r"(?:^|\.)(?:stem|res([2-5])\.(\d+))\.(conv\d|shortcut)\.(norm\.)?(\w+)$"
)
# Depth -> 3x3 convolutions of a block, blocks of each stage.
_BLOCKS = {
    18: ("basic", (2, 2, 2, 2)),
    34: ("basic", (3, 4, 6, 3)),
    50: ("bottleneck", (3, 4, 6, 3)),
    101: ("bottleneck", (3, 4, 23, 3)),
    152: ("bottleneck", (3, 8, 36, 3)),
}

# What all of torchvision's ResNets were trained with, in Detectron2's units.
PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)
_CONFIG = "configs/base/torchvision_resnet.yaml"


def is_torchvision_resnet(names: Iterable[str]) -> bool:
    """Whether a checkpoint with tensors of these names is torchvision's, with a ResNet in it.

    That is a classification ResNet, or one of the segmentation models `fcn_resnet50`,
    `fcn_resnet101`, `deeplabv3_resnet50` and `deeplabv3_resnet101`. Those of timm that have the
    same names have the same layers.
    """
    names = [name.removeprefix("module.") for name in names]
    parts = {name.partition(".")[0] for name in names}
    plain = {_plain_name(name) for name in names}
    return (parts <= _RESNET_PARTS or parts <= _SEGMENTATION_PARTS) and plain.issuperset(
        _FIRST_LAYERS
    )


def take_backbone(tensors: Mapping[str, torch.Tensor], model: nn.Module) -> dict[str, torch.Tensor]:
    """The tensors of a torchvision checkpoint that a model's ResNet takes, under the model's names.

    The model's ResNet is Detectron2's or timm's, and may be anywhere in it: bare, below an FPN, in
    a panoptic model. With STRIDE_IN_1X1 False and the input that `warn_of_differences` looks for it
    computes what torchvision's computes. In torchvision's segmentation models the last two stages
    are dilated instead of strided; these weights are the same tensors, but at another stride they
    have to be trained further.

    Classifiers are left out, and so is num_batches_tracked, which no computation uses. One line in
    the log says how much was taken and left out.

    Args:
        tensors: a checkpoint's, for which `is_torchvision_resnet`.
        model: only its names, shapes and layers matter.

    Returns:
        The model's names -> the checkpoint's tensors. All of them fit, except perhaps the first
        convolution's, where the model takes images with another number of channels.

    Raises:
        UserError: the model has no ResNet, or one of another depth or width.
    """
    tensors = {
        _plain_name(name): tensor
        for name, tensor in tensors.items()
        if not name.endswith("num_batches_tracked")
    }
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    names = _torchvision_names(shapes)
    theirs = _describe(tensors)
    if not names:
        raise UserError(
            f"it holds torchvision's {theirs}, but the model has no ResNet; set "
            "MODEL.BACKBONE.NAME build_resnet_backbone, or take weights of the same architecture"
        )
    if _differ(names.values(), tensors):
        raise UserError(
            f"it holds torchvision's {theirs}, but the model has a {_describe(names.values())}; "
            "set MODEL.RESNETS.DEPTH (or MODEL.TIMM.NAME) to that of the weights, or take others"
        )
    taken = {name: tensors[plain] for name, plain in names.items() if plain in tensors}
    for name, tensor in taken.items():
        if names[name].startswith("layer") and tuple(tensor.shape) != shapes[name]:
            raise UserError(
                f"{names[name]} is {tuple(tensor.shape)} in torchvision's weights, but {name} is "
                f"{shapes[name]} in the model; take a ResNet of the same kind and width"
            )
    used = {names[name] for name in taken}
    left_out = Counter(name.partition(".")[0] for name in tensors if name not in used)
    logger.info(
        "Took %d tensors of torchvision's %s for the backbone; left out: %s.",
        len(used),
        theirs,
        ", ".join(f"{part} ({count} tensors)" for part, count in left_out.items()) or "nothing",
    )
    return taken


def warn_of_differences(model: nn.Module, input_format: str | None = None) -> None:
    """Warn if a model doesn't compute what torchvision's weights were trained in.

    They expect RGB with `PIXEL_MEAN` and `PIXEL_STD`, and the stride of a bottleneck block in its
    3x3 convolution.

    Args:
        model: with torchvision's weights in its backbone.
        input_format: INPUT.FORMAT. None for that of the model; where it has none either, the
            order of channels isn't checked.
    """
    wrong = []
    if any(
        isinstance(module, BottleneckBlock | DeformBottleneckBlock) and max(module.conv1.stride) > 1
        for module in model.modules()
    ):
        wrong.append("MODEL.RESNETS.STRIDE_IN_1X1 False")
    if (input_format or getattr(model, "input_format", None)) not in (None, "RGB"):
        wrong.append("INPUT.FORMAT RGB")
    for name, expected in (("pixel_mean", PIXEL_MEAN), ("pixel_std", PIXEL_STD)):
        values = getattr(model, name, None)
        if values is not None and not _near(values.flatten().tolist(), expected):
            wrong.append(f"MODEL.{name.upper()} {list(expected)}")
    if wrong:
        logger.warning(
            "The model differs from what torchvision's weights were trained in and will start "
            "badly; set %s (%s has all that they need).",
            ", ".join(wrong),
            _CONFIG,
        )


def _near(values: Iterable[float], expected: tuple[float, ...]) -> bool:
    values = list(values)
    return len(values) == len(expected) and all(
        abs(value - wanted) < 0.1 for value, wanted in zip(values, expected, strict=True)
    )


def _plain_name(name: str) -> str:
    return name.removeprefix("module.").removeprefix("backbone.")


def _torchvision_names(names: Iterable[str]) -> dict[str, str]:
    """Names of a model's tensors -> torchvision's names of them, for those of its ResNet."""
    names = list(names)
    prefixes = [
        name.removesuffix(_FIRST_BLOCK) for name in names if f".{name}".endswith(f".{_FIRST_BLOCK}")
    ]
    if prefixes:  # timm's, which has torchvision's names
        return {
            name: name.removeprefix(prefix)
            for prefix in prefixes
            for name in names
            if name.startswith(prefix)
        }
    matches = ((name, _DETECTRON2_NAME.search(name)) for name in names)
    return {name: _torchvision_name(*match.groups()) for name, match in matches if match}


def _torchvision_name(
    stage: str | None, block: str | None, layer: str, norm: str | None, tensor: str
) -> str:
    place = "" if stage is None else f"layer{int(stage) - 1}.{block}."
    if layer == "shortcut":
        layer = "downsample.1" if norm else "downsample.0"
    elif norm:
        layer = layer.replace("conv", "bn")
    return f"{place}{layer}.{tensor}"


def _differ(names: Iterable[str], others: Iterable[str]) -> bool:
    """Whether two ResNets differ in blocks; a model may lack the last stages."""
    (kind, counts), (other_kind, other_counts) = _blocks(names), _blocks(others)
    return kind != other_kind or any(
        counts[stage] != other_counts[stage] for stage in counts.keys() & other_counts.keys()
    )


def _blocks(names: Iterable[str]) -> tuple[str, Counter[str]]:
    """Kind of the blocks, and their number in each stage, from torchvision's names."""
    names = set(names)
    kind = "bottleneck" if any(name.endswith(".conv3.weight") for name in names) else "basic"
    matches = (re.fullmatch(r"(layer\d)\.\d+\.conv1\.weight", name) for name in names)
    return kind, Counter(match[1] for match in matches if match)


def _describe(names: Iterable[str]) -> str:
    kind, counts = _blocks(names)
    numbers = tuple(counts[stage] for stage in sorted(counts))
    depths = [
        depth
        for depth, (known_kind, known) in _BLOCKS.items()
        if known_kind == kind and known[: len(numbers)] == numbers
    ]
    if len(depths) == 1:
        return f"ResNet-{depths[0]}"
    return f"ResNet of {'-'.join(map(str, numbers))} {kind} blocks"
