"""The centre head: where instances have their centres, and which way it is to them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from torch import nn

from segtron.errors import UserError
from segtron.modeling.center_head.targets import CenterTargets, center_targets
from segtron.modeling.conv_block import conv_block
from segtron.modeling.losses.labelled_pixels import weighted_mean
from segtron.modeling.norm import NORMS, Norm
from segtron.modeling.options import check_choice
from segtron.modeling.semantic_heads.head import select_features
from segtron.modeling.semantic_heads.upsampling import crop, interpolate
from segtron.modeling.unet_decoder import UNetDecoder

# Of a centre's spot, in pixels.
MAX_SIGMA = 100


class CenterPredictions(NamedTuple):
    """Of N images, and of some pixels beyond their right and bottom border."""

    heatmap: torch.Tensor  # (N, 1, H, W), about 1 at a centre, about 0 far from all
    offsets: torch.Tensor  # (N, 2, H, W), from each pixel to its centre, in pixels along y and x


class CenterHead(UNetDecoder):
    """The instance branch of Panoptic-DeepLab (Cheng et al. 2020) on any backbone.

    A U-Net's decoder (with bilinear steps, and few channels: it tells no classes apart) ends in two
    branches, each a 3x3 convolution and a linear layer: one for a heatmap of the centres of
    instances, one for the offset of each pixel to the centre of its instance.

    As in the paper: targets, a squared error on the heatmap and an absolute error on the offsets.
    Other than in the paper: the decoder, where it has ASPP and a decoder of DeepLab's, and 3x3
    convolutions in the branches, where it has 5x5.

    Both predictions are interpolated to the image's pixels, and there compared with targets: what
    is learned is what inference uses, and thin instances are not lost between the cells of a coarse
    grid. The interpolation does offsets no harm, since within an instance they are linear in the
    position. The layer gives them in cells of `stride` pixels, so that its outputs keep their size
    whatever the stride is.
    """

    KEYS = "MODEL.CENTER_HEAD"
    OPTION_KEYS = "MODEL.CENTER_HEAD"

    @configurable
    def __init__(
        self,
        input_shape: Mapping[str, ShapeSpec],
        *,
        common_stride: int,
        channels: Sequence[int],
        norm: Norm = "BN",
        conv: str = "plain",
        center_loss_weight: float = 200.0,
        offset_loss_weight: float = 0.01,
        sigma: float = 8.0,
    ) -> None:
        """
        Args:
            input_shape: name -> channels and stride of the features to use.
            common_stride: where the decoder ends.
            channels: channels of each step, coarse to fine.
            norm: of convolutions and features, as in `segtron.modeling.norm`.
            conv: 3x3 convolutions: "plain" or depthwise-"separable".
            center_loss_weight, offset_loss_weight: weights of the two losses.
            sigma: standard deviation in pixels of a centre's spot in the heatmap.

        Raises:
            UserError: see `UNetDecoder`.
        """
        super().__init__(
            input_shape,
            common_stride=common_stride,
            channels=channels,
            norm=norm,
            conv=conv,
            upsampling="bilinear",
        )
        self.stride = common_stride
        self.center_loss_weight = center_loss_weight
        self.offset_loss_weight = offset_loss_weight
        self.sigma = sigma
        width = self.out_channels
        self.center_conv = conv_block(width, width, norm=norm, conv=conv)
        self.center_predictor = _predictor(width, 1)
        self.offset_conv = conv_block(width, width, norm=norm, conv=conv)
        self.offset_predictor = _predictor(width, 2)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: Mapping[str, ShapeSpec]) -> dict[str, Any]:
        options = cfg.MODEL.CENTER_HEAD
        _check_options(options)
        features = select_features(f"{cls.KEYS}.IN_FEATURES", options.IN_FEATURES, input_shape)
        steps = len(cls.step_strides(features, options.COMMON_STRIDE))
        return {
            "input_shape": features,
            "common_stride": options.COMMON_STRIDE,
            "channels": options.CHANNELS or [options.CONVS_DIM] * steps,
            "norm": check_choice(f"{cls.KEYS}.NORM", options.NORM, NORMS),
            "conv": options.CONV,
            "center_loss_weight": options.CENTER_LOSS_WEIGHT,
            "offset_loss_weight": options.OFFSET_LOSS_WEIGHT,
            "sigma": options.SIGMA,
        }

    def forward(
        self,
        features: Mapping[str, torch.Tensor],
        pan_seg: torch.Tensor | None = None,
        segments_info: Sequence[Sequence[Mapping[str, Any]]] | None = None,
    ) -> tuple[CenterPredictions | None, dict[str, torch.Tensor]]:
        """
        Args:
            features: name -> (N, C, ceil(H / stride), ceil(W / stride)) for images of H x W.
            pan_seg, segments_info: as in `center_targets`, in training.

        Returns:
            In training None and the losses, else the predictions and no losses.
        """
        predictions = self.layers(features)
        if self.training:
            targets = center_targets(pan_seg, segments_info, sigma=self.sigma)
            return None, self.losses(predictions, targets)
        return predictions, {}

    def layers(self, features: Mapping[str, torch.Tensor]) -> CenterPredictions:
        """
        Args:
            features: as in `forward`.

        Returns:
            float32 predictions for each pixel, in half precision, too: an offset of a thousand
            pixels has no fractions there.
        """
        x = self.decode(features)
        heatmap = self.center_predictor(self.center_conv(x))
        offsets = self.offset_predictor(self.offset_conv(x))
        return CenterPredictions(
            interpolate(heatmap.float(), self.stride),
            interpolate(offsets.float(), self.stride) * self.stride,
        )

    def losses(
        self, predictions: CenterPredictions, targets: CenterTargets
    ) -> dict[str, torch.Tensor]:
        """
        Args:
            predictions: at least as large as the targets.
            targets: of the batch.

        Returns:
            `loss_center`, the mean squared error of the heatmap where it is labelled, and
            `loss_offset`, the mean over the pixels of things of the distance along y plus that
            along x; each times its weight, and 0 where there is no such pixel.
        """
        size = targets.heatmap.shape[-2:]
        heatmap, offsets = (crop(prediction, size) for prediction in predictions)
        center_errors = (heatmap[:, 0] - targets.heatmap).square()
        offset_errors = (offsets - targets.offsets).abs().sum(dim=1)
        center_loss = weighted_mean(center_errors, targets.is_labelled.float())
        offset_loss = weighted_mean(offset_errors, targets.is_thing.float())
        return {
            "loss_center": center_loss * self.center_loss_weight,
            "loss_offset": offset_loss * self.offset_loss_weight,
        }


def _predictor(in_channels: int, out_channels: int) -> nn.Conv2d:
    """A linear layer that starts close to 0, where most of both targets is."""
    layer = nn.Conv2d(in_channels, out_channels, kernel_size=1)
    nn.init.normal_(layer.weight, std=0.001)
    nn.init.zeros_(layer.bias)
    return layer


def _check_options(options: CfgNode) -> None:
    """
    Raises:
        UserError: a number in MODEL.CENTER_HEAD is none that a model could have.
    """
    for key in ("COMMON_STRIDE", "CONVS_DIM"):
        if options[key] < 1:
            raise UserError(f"MODEL.CENTER_HEAD.{key} is {options[key]}; it must be 1 or more")
    for key in ("CENTER_LOSS_WEIGHT", "OFFSET_LOSS_WEIGHT"):
        if not 0 <= options[key] < math.inf:
            raise UserError(f"MODEL.CENTER_HEAD.{key} is {options[key]}; it must be 0 or more")
    if not 0 < options.SIGMA <= MAX_SIGMA:
        raise UserError(
            f"MODEL.CENTER_HEAD.SIGMA is {options.SIGMA}; it must be a number of pixels above 0, "
            f"at most {MAX_SIGMA}"
        )
