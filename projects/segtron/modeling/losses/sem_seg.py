"""The loss of semantic segmentation that a config asks for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from torch import nn

from segtron.errors import UserError
from segtron.modeling.losses.bce import sem_seg_bce
from segtron.modeling.losses.brier import sem_seg_brier_score
from segtron.modeling.losses.cross_entropy import sem_seg_cross_entropy
from segtron.modeling.losses.dice import sem_seg_dice_loss
from segtron.modeling.losses.focal import sem_seg_focal_loss
from segtron.modeling.losses.labelled_pixels import pixel_weights
from segtron.modeling.losses.lovasz import sem_seg_lovasz_softmax
from segtron.modeling.losses.ohem import sem_seg_ohem_cross_entropy

# The terms of the loss. Each has its weight in MODEL.SEM_SEG_HEAD.LOSS.<TERM>_WEIGHT.
TERMS: dict[str, Callable[..., torch.Tensor]] = {
    "cross_entropy": sem_seg_cross_entropy,
    "ohem": sem_seg_ohem_cross_entropy,
    "bce": sem_seg_bce,
    "focal": sem_seg_focal_loss,
    "dice": sem_seg_dice_loss,
    "lovasz": sem_seg_lovasz_softmax,
    "brier": sem_seg_brier_score,
}
# Those that weigh classes. Dice and Lovász-softmax give all classes the same part as they are.
CLASS_WEIGHTED = frozenset({"cross_entropy", "ohem", "bce", "focal", "brier"})
# Those that are (weighted) means over all labelled pixels of a batch.
PIXEL_MEANS = frozenset({"cross_entropy", "bce", "focal", "brier"})


class SemSegLoss(nn.Module):
    """A weighted sum of losses, term by term: `TERMS` says which there are.

    It has no parameters, and nothing of it is in checkpoints.
    """

    @configurable
    def __init__(
        self,
        *,
        ignore_value: int,
        weights: Mapping[str, float],
        loss_weight: float = 1.0,
        class_weights: Sequence[float] = (),
        ohem_threshold: float = 0.7,
        ohem_min_kept: float = 0.1,
        focal_gamma: float = 2.0,
    ) -> None:
        """
        Args:
            ignore_value: label of the pixels that have no part in the loss.
            weights: for terms by name; those of weight 0, and those not named, are left out.
            loss_weight: multiplies all of them.
            class_weights: for each class, in the terms of `CLASS_WEIGHTED`; empty for none.
            ohem_threshold, ohem_min_kept: see `sem_seg_ohem_cross_entropy`.
            focal_gamma: see `sem_seg_focal_loss`.

        Raises:
            UserError: names the config's key of a value that no training could mean.
        """
        super().__init__()
        if not _is_weight(loss_weight) or loss_weight == 0:
            raise UserError(
                f"MODEL.SEM_SEG_HEAD.LOSS_WEIGHT is {loss_weight!r}; it must be a number above 0"
            )
        for term, weight in weights.items():
            _check_number(f"LOSS.{term.upper()}_WEIGHT", weight)
        if not any(weights.values()):
            raise UserError(
                "all weights of the terms in MODEL.SEM_SEG_HEAD.LOSS are 0; set one above 0, for "
                "example CROSS_ENTROPY_WEIGHT"
            )
        _check_class_weights(class_weights)
        _check_number("LOSS.OHEM_THRESHOLD", ohem_threshold, largest=1)
        _check_number("LOSS.OHEM_MIN_KEPT", ohem_min_kept, largest=1)
        if ohem_threshold == ohem_min_kept == 0:
            raise UserError(
                "MODEL.SEM_SEG_HEAD.LOSS.OHEM_THRESHOLD and OHEM_MIN_KEPT are both 0, which keeps "
                "no pixel; one must be above 0"
            )
        _check_number("LOSS.FOCAL_GAMMA", focal_gamma)
        options = {
            "ohem": {"threshold": ohem_threshold, "min_kept": ohem_min_kept},
            "focal": {"gamma": focal_gamma},
        }
        self.ignore_value = ignore_value
        self.weights = {term: loss_weight * weight for term, weight in weights.items() if weight}
        self.terms = {
            term: partial(TERMS[term], ignore_value=ignore_value, **options.get(term, {}))
            for term in self.weights
        }
        self.class_weights: torch.Tensor | None
        self.register_buffer(
            "class_weights",
            torch.tensor(class_weights, dtype=torch.float32) if len(class_weights) else None,
            persistent=False,
        )

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        head = cfg.MODEL.SEM_SEG_HEAD
        class_weights = head.LOSS.CLASS_WEIGHTS
        if len(class_weights) not in (0, head.NUM_CLASSES):
            raise UserError(
                f"MODEL.SEM_SEG_HEAD.LOSS.CLASS_WEIGHTS has {len(class_weights)} weights, but "
                f"MODEL.SEM_SEG_HEAD.NUM_CLASSES is {head.NUM_CLASSES}; give one for each class, "
                "or none"
            )
        return {
            "ignore_value": head.IGNORE_VALUE,
            "weights": {term: head.LOSS[f"{term.upper()}_WEIGHT"] for term in TERMS},
            "loss_weight": head.LOSS_WEIGHT,
            "class_weights": class_weights,
            "ohem_threshold": head.LOSS.OHEM_THRESHOLD,
            "ohem_min_kept": head.LOSS.OHEM_MIN_KEPT,
            "focal_gamma": head.LOSS.FOCAL_GAMMA,
        }

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
        """
        Args:
            logits: (N, K, H, W) of any floating dtype, at the size of the targets.
            targets: (N, H, W) int64, classes from 0 to K-1 or `ignore_value`.

        Returns:
            The terms, each times its weight: `loss_sem_seg` is cross-entropy, `loss_sem_seg_<term>`
            any other. All are scalars, 0 where no pixel is labelled, and connected to `logits`.
        """
        losses = {}
        for term, loss in self.terms.items():
            given = {"class_weights": self.class_weights} if term in CLASS_WEIGHTED else {}
            losses[_name(term)] = self.weights[term] * loss(logits, targets, **given)
        return losses

    def sizes(self, targets: Sequence[torch.Tensor]) -> dict[str, float]:
        """What each term that is a mean over pixels is divided by: their number, or their weight.

        Args:
            targets: (H, W) int64 each, as in `forward`.

        Returns:
            Name of the loss -> number, 0 or more. Terms that are no such means are left out, and
            `loss_sem_seg_aux`, the sum of all terms of an auxiliary head, unless all have one size.
        """
        sizes = {}
        for term in self.terms:
            if term in PIXEL_MEANS:
                # The weights of binary problems are the same at every pixel.
                by_class = self.class_weights if term != "bce" else None
                sizes[_name(term)] = sum(
                    float(
                        pixel_weights(
                            labels.to(by_class.device) if by_class is not None else labels,
                            torch.float64,
                            ignore_value=self.ignore_value,
                            class_weights=by_class,
                        ).sum()
                    )
                    for labels in targets
                )
        if len(sizes) == len(self.terms) and len(set(sizes.values())) == 1:
            sizes["loss_sem_seg_aux"] = next(iter(sizes.values()))
        return sizes


def _name(term: str) -> str:
    return "loss_sem_seg" if term == "cross_entropy" else f"loss_sem_seg_{term}"


def _check_number(key: str, value: Any, largest: float = math.inf) -> None:
    if not _is_weight(value) or value > largest:
        limit = "0 or more" if largest == math.inf else f"from 0 to {largest}"
        raise UserError(f"MODEL.SEM_SEG_HEAD.{key} is {value!r}; it must be a number, {limit}")


def _check_class_weights(class_weights: Sequence[Any]) -> None:
    for place, weight in enumerate(class_weights):
        if not _is_weight(weight):
            raise UserError(
                f"MODEL.SEM_SEG_HEAD.LOSS.CLASS_WEIGHTS has {weight!r} for class {place}; it must "
                "be a number, 0 or more"
            )
    if len(class_weights) and not any(class_weights):
        raise UserError("MODEL.SEM_SEG_HEAD.LOSS.CLASS_WEIGHTS are all 0; one must be above 0")


def _is_weight(value: Any) -> bool:
    return isinstance(value, int | float) and 0 <= value < math.inf
