"""Export: models as files that run without Segtron and without Detectron2."""

from segtron.inference.export.agreement import Agreement
from segtron.inference.export.export import DisagreementError, export_model
from segtron.inference.export.formats import FORMATS

__all__ = ["FORMATS", "Agreement", "DisagreementError", "export_model"]
