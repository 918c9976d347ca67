"""Prediction over many image files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from segtron.data.image_io import read_image
from segtron.errors import UserError
from segtron.files import refuse_overwriting
from segtron.inference.predictor import Predictor
from segtron.inference.sinks import Prediction, Sink
from segtron.inference.sources import ImageFile


@dataclass
class Summary:
    """How a prediction over many files went.

    Attributes:
        predicted: number of images predicted.
        unreadable: for each other image a sentence that names it.
    """

    predicted: int = 0
    unreadable: list[str] = field(default_factory=list)


def refuse_existing(images: Sequence[ImageFile], sinks: Sequence[Sink]) -> None:
    """Make sure that no file would be overwritten.

    Raises:
        UserError: a file that a sink would write exists or would be written twice, or the output
            folder can't be one.
    """
    targets: Counter[Path] = Counter()
    for sink in sinks:
        if sink.output_dir.exists() and not sink.output_dir.is_dir():
            raise UserError(f"--output {sink.output_dir} is a file; name a folder")
        targets.update(sink.targets(images))
    for path, count in targets.items():
        if count > 1:
            raise UserError(
                f"results of {count} images would have the same name {path}, since label files "
                "lose the suffix of their image; rename all but one of the images, or predict them "
                "into folders of their own"
            )
    refuse_overwriting(list(targets))


def predict_files(
    predictor: Predictor, images: Sequence[ImageFile], sinks: Sequence[Sink], *, batch_size: int = 1
) -> Summary:
    """Predict image files and hand the outputs to sinks, with a progress bar.

    An image that can't be read is left out and named in the summary.

    Args:
        predictor: the model.
        images: at least one.
        sinks: each gets every prediction, in order.
        batch_size: images predicted at once; images of very different sizes waste memory on
            padding.

    Raises:
        UserError: none of the images can be read, a file would be overwritten or can't be written,
            or a sink can't use what the model predicts.
    """
    refuse_existing(images, sinks)
    summary = Summary()
    with ExitStack() as stack, tqdm(total=len(images), unit=" images", desc="predict") as progress:
        for sink in sinks:
            stack.enter_context(sink.opened())
        for batch in _read_in_batches(images, batch_size, summary, progress):
            outputs = predictor([image for _, _, image in batch])
            for (number, file, image), output in zip(batch, outputs, strict=True):
                prediction = Prediction(file, number, image, _to_cpu(output))
                # All before the first one writes.
                for sink in sinks:
                    sink.check(prediction)
                for sink in sinks:
                    sink.write(prediction)
            summary.predicted += len(batch)
            progress.update(len(batch))
        if not summary.predicted:
            # Inside the context, so that the sinks leave nothing.
            others = f" (and {len(images) - 1} more images, none of them readable)"
            raise UserError(summary.unreadable[0] + (others if len(images) > 1 else ""))
    return summary


def _read_in_batches(
    images: Sequence[ImageFile], batch_size: int, summary: Summary, progress: tqdm
) -> Iterator[list[tuple[int, ImageFile, np.ndarray]]]:
    batch = []
    for number, file in enumerate(images, start=1):
        try:
            batch.append((number, file, read_image(file.path, "BGR")))
        except UserError as error:
            summary.unreadable.append(str(error))
            progress.update()
        if len(batch) == batch_size:
            yield batch
            batch = []
    if batch:
        yield batch


def _to_cpu(output: dict[str, Any]) -> dict[str, Any]:
    """A model's output on the CPU; `panoptic_seg` is a pair of a tensor and a list."""
    return {
        name: (value[0].to("cpu"), *value[1:]) if isinstance(value, tuple) else value.to("cpu")
        for name, value in output.items()
    }
