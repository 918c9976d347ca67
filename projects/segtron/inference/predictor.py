"""A trained model as a function from images to outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import detectron2.data.transforms as T
import numpy as np
import torch
from detectron2.config import CfgNode

from segtron.data.resizing import shortest_edge_shape
from segtron.errors import UserError
from segtron.inference.model_classes import model_metadata
from segtron.modeling.build import build_model
from segtron.modeling.checkpoint import load_weights, with_weights
from segtron.modeling.device import resolve_device
from segtron.modeling.inference import prepare_for_inference


class Predictor:
    """Predicts batches of images of any size.

    Attributes:
        cfg: the model's config, with the device that it runs on.
        model: in evaluation mode, as TEST.PRECISION, TEST.AUG and, of semantic models,
            TEST.SLIDING_WINDOW want it.
        metadata: names, and if known colours and data set ids, of the model's classes.

    Example:
        >>> predictor = Predictor(load_config("output/config.yaml"), "output/model_final.pth")
        >>> [output] = predictor([read_image("street.jpg", "BGR")])
        >>> output["instances"].pred_masks.shape
        torch.Size([12, 1024, 2048])
    """

    def __init__(self, cfg: CfgNode, weights: str | None = None) -> None:
        """
        Args:
            cfg: as `segtron.config.load_config` returns it.
            weights: a checkpoint that fits the model exactly; None for `cfg.MODEL.WEIGHTS`.

        Raises:
            UserError: there is no checkpoint, it can't be loaded, or it doesn't fit the model.
        """
        cfg = resolve_device(cfg)
        self.cfg = cfg if weights is None else with_weights(cfg, weights)
        if not self.cfg.MODEL.WEIGHTS:
            raise UserError("MODEL.WEIGHTS is empty; name the checkpoint of a trained model")
        model = build_model(self.cfg).eval()
        load_weights(model, self.cfg.MODEL.WEIGHTS, strict=True)
        self.model = prepare_for_inference(self.cfg, model)
        self.metadata = model_metadata(cfg)

    @torch.inference_mode()
    def __call__(
        self, images: Sequence[np.ndarray], *, scale: float | None = None
    ) -> list[dict[str, Any]]:
        """Predict a batch.

        Args:
            images: (H, W, 3) uint8 in BGR order, each of its own size.
            scale: by what the model sees them enlarged; default: as INPUT.MIN_SIZE_TEST and
                INPUT.MAX_SIZE_TEST say.

        Returns:
            For each image Detectron2's output (`instances`, `sem_seg`, `panoptic_seg`, as the model
            has them), at the image's own size and on the model's device.
        """
        return self.model([self._to_input(image, scale) for image in images]) if images else []

    def _to_input(self, image: np.ndarray, scale: float | None) -> dict[str, Any]:
        height, width = image.shape[:2]
        if self.cfg.INPUT.FORMAT == "RGB":
            image = image[:, :, ::-1]
        size = self._model_size(height, width, scale)
        image = T.ResizeTransform(height, width, *size).apply_image(image)
        tensor = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
        return {"image": tensor, "height": height, "width": width}

    def _model_size(self, height: int, width: int, scale: float | None) -> tuple[int, int]:
        """What size the model sees an image at."""
        options = self.cfg.INPUT
        if scale is not None:
            return max(round(height * scale), 1), max(round(width * scale), 1)
        if options.MIN_SIZE_TEST == 0:  # as it is (Detectron2's convention)
            return height, width
        return shortest_edge_shape(height, width, options.MIN_SIZE_TEST, options.MAX_SIZE_TEST)
