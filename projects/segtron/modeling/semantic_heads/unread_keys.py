"""Config keys that the chosen semantic head, or the chosen loss, doesn't read."""

from __future__ import annotations

from detectron2.config import CfgNode

from segtron.config import completes_config, get_default_config
from segtron.errors import UserError
from segtron.modeling.losses.sem_seg import CLASS_WEIGHTED, TERMS
from segtron.modeling.semantic_heads.fcn import FCNHead
from segtron.modeling.semantic_heads.semantic_fpn import SemanticFPNHead
from segtron.modeling.semantic_heads.unet import UNetHead

# Which head reads which of the keys that Segtron has added for all heads.
READS = {
    FCNHead.__name__: ("LOSS", "AUX", "DROPOUT"),
    UNetHead.__name__: ("LOSS", "AUX", "DROPOUT"),
    SemanticFPNHead.__name__: ("LOSS",),
}
# The architectures that have a semantic head.
_ARCHITECTURES = ("SemanticSegmentor", "PanopticFPN", "UnifiedPanopticFPN", "BottomUpPanoptic")


@completes_config
def refuse_unread_keys(cfg: CfgNode, given: frozenset[str]) -> None:
    """Make sure that nothing is asked for that the training would leave out.

    Raises:
        UserError: names the key and what reads it.
    """
    if cfg.MODEL.META_ARCHITECTURE not in _ARCHITECTURES:
        return
    head, default = cfg.MODEL.SEM_SEG_HEAD, get_default_config().MODEL.SEM_SEG_HEAD
    for key in ("LOSS", "AUX", "DROPOUT"):
        if head[key] != default[key] and key not in READS.get(head.NAME, ()):
            readers = [name for name, keys in READS.items() if key in keys]
            raise UserError(
                f"MODEL.SEM_SEG_HEAD.{key} is set, which the head {head.NAME} has no use for; take "
                f"{', '.join(readers)}, or leave it out"
            )
    terms = [term for term in TERMS if head.LOSS[f"{term.upper()}_WEIGHT"]]
    weighted = [term for term in TERMS if term in CLASS_WEIGHTED]
    for key in ("CLASS_WEIGHTS", "CLASS_WEIGHTS_FROM_DATA"):
        if head.LOSS[key] and terms and not CLASS_WEIGHTED.intersection(terms):
            raise UserError(
                f"MODEL.SEM_SEG_HEAD.LOSS.{key} is {head.LOSS[key]!r}, but none of the loss's "
                f"terms takes class weights; set it to {type(head.LOSS[key])()!r}, or one of "
                f"{', '.join(f'{term.upper()}_WEIGHT' for term in weighted)} above 0"
            )
