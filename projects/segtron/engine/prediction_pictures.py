"""Pictures of what a model predicts while it is trained, beside the ground truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data.catalog import Metadata
from detectron2.engine import HookBase
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from segtron.data import SegmentationMapper, load_dataset_dicts
from segtron.data.classes import class_metadata
from segtron.data.image_io import read_image
from segtron.data.panoptic import annotations_of, read_pan_seg
from segtron.data.sem_seg import read_sem_seg
from segtron.evaluation.model_output import predicted_sem_seg
from segtron.modeling.inference import prepare_for_inference
from segtron.visualization.drawing import MOST_LABELS, SegmentationVisualizer
from segtron.visualization.layout import side_by_side, write_picture
from segtron.visualization.prediction import draw_prediction
from segtron.wording import count_of

PICTURES_FOLDER = "pictures"
# Of the ground truth and of the prediction, in pixels.
_LONGEST_SIDE = 800

Record = Mapping[str, Any]


class PredictionPictures(HookBase):
    """Draws predictions for a few images every so often.

    They go to the event storage, for the writers, and into `OUTPUT_DIR/pictures/`, named by
    iteration and image. The model is afterwards as before. Only the main process needs the hook;
    it comes after the checkpoints and before the writers.
    """

    def __init__(
        self,
        period: int,
        records: Sequence[Record],
        mapper: Callable[[dict[str, Any]], dict[str, Any]],
        prepare: Callable[[nn.Module], nn.Module],
        metadata: Metadata,
        *,
        min_score: float,
        output_dir: Path,
    ) -> None:
        """
        Args:
            period: iterations, 1 or more.
            records: standard dicts of the images.
            mapper: makes of them what the model is fed.
            prepare: gives what predicts with a model, see `prepare_for_inference`.
            metadata: of their data set, as `class_metadata` gives it.
            min_score: instances below it are left out.
            output_dir: gets the folder.
        """
        self._period = period
        self._records = records
        self._mapper = mapper
        self._prepare = prepare
        self._metadata = metadata
        self._min_score = min_score
        self._folder = output_dir / PICTURES_FOLDER

    def after_step(self) -> None:
        """Draw if it is time.

        Raises:
            UserError: an image or its ground truth can't be read, or a picture can't be written; or
                the model's scores are no numbers.
        """
        if (self.trainer.iter + 1) % self._period == 0:
            self._draw()

    def _draw(self) -> None:
        iteration = self.trainer.iter
        model = self.trainer.model
        # All other processes go on to the next step.
        model = model.module if isinstance(model, DistributedDataParallel) else model
        with _predicting(model):
            predict = self._prepare(model)
            for number, record in enumerate(self._records, start=1):
                [output] = predict([self._mapper(dict(record))])
                picture = draw_beside_truth(
                    record,
                    output,
                    self._metadata,
                    min_score=self._min_score,
                    title=f"prediction after {count_of(iteration + 1, 'iteration')}",
                )
                write_picture(self._folder / f"{iteration:07d}_{number}.png", picture)
                self.trainer.storage.put_image(
                    f"{PICTURES_FOLDER}/{number}", picture.transpose(2, 0, 1)
                )


def build_prediction_pictures(cfg: CfgNode) -> PredictionPictures | None:
    """The hook that LOG.PICTURES_PERIOD asks for.

    Args:
        cfg: of the training.

    Returns:
        None if it is off, or if there is no test set.

    Raises:
        UserError: see `load_dataset_dicts`.
    """
    if not cfg.LOG.PICTURES_PERIOD or not cfg.DATASETS.TEST:
        return None
    name = cfg.DATASETS.TEST[0]
    records = load_dataset_dicts([name], filter_empty=False)[: cfg.LOG.PICTURES_NUMBER]
    return PredictionPictures(
        cfg.LOG.PICTURES_PERIOD,
        records,
        SegmentationMapper(cfg, is_train=False),
        lambda model: prepare_for_inference(cfg, model),
        class_metadata(name),
        min_score=cfg.TEST.DRAW_SCORE_THRESH,
        output_dir=Path(cfg.OUTPUT_DIR),
    )


def draw_beside_truth(
    record: Record, output: Mapping[str, Any], metadata: Metadata, *, min_score: float, title: str
) -> np.ndarray:
    """Draw what there is and what a model predicts, side by side.

    Args:
        record: standard dict of the image. Of its ground truth what the model predicts is drawn.
        output: of the model, at the image's size: `panoptic_seg`; or `sem_seg`, `instances` or
            both.
        metadata: as `class_metadata` gives it.
        min_score: instances below it are left out.
        title: of the prediction.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        UserError: see `PredictionPictures.after_step`.
    """
    image = read_image(record["file_name"], "RGB")
    truth, prediction = (
        SegmentationVisualizer(image, metadata, longest_side=_LONGEST_SIDE) for _ in range(2)
    )
    _draw_truth(truth, record, output)
    draw_prediction(
        prediction,
        output,
        classes=lambda: predicted_sem_seg(output, metadata.name, len(output["sem_seg"])),
        min_score=min_score,
    )
    return side_by_side(
        [canvas.output.get_image() for canvas in (truth, prediction)], ["ground truth", title]
    )


def _draw_truth(
    visualizer: SegmentationVisualizer, record: Record, output: Mapping[str, Any]
) -> None:
    if "panoptic_seg" in output and "pan_seg_file_name" in record:
        segments = read_pan_seg(record), record["segments_info"]
        visualizer.draw_panoptic_shares(*segments)
        visualizer.draw_panoptic_seg(*segments)
        return
    if "sem_seg" in output and record.get("sem_seg_file_name") is not None:
        classes = read_sem_seg(record)
        visualizer.draw_sem_seg(classes)
        visualizer.draw_class_shares(classes)
    if "instances" in output:
        annotations = annotations_of(record)
        instances = [a["category_id"] for a in annotations if not a.get("iscrowd", 0)]
        if len(instances) > MOST_LABELS:
            visualizer.draw_class_counts(instances)
        visualizer.draw_dataset_dict({"annotations": annotations})


@contextmanager
def _predicting(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards each module has the mode that it had."""
    modes = {module: module.training for module in model.modules()}
    try:
        model.eval()
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode
