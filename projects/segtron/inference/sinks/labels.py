"""The sink `labels`."""

from __future__ import annotations

from pathlib import Path

from segtron.evaluation.label_files import label_file, label_values, write_labels
from segtron.inference.prediction import Prediction
from segtron.inference.sinks.base import SINKS, Sink


@SINKS.register()
class LabelsSink(Sink):
    """`labels/`: a PNG of one channel an image, whose values are the data set's own ids of the
    classes (0 to K - 1 if these are unknown); 16 bit where an id is above 255, else 8 bit.

    It has the image's name, without its suffix.
    """

    name = "labels"
    needs = ("sem_seg",)

    def files_of(self, image_name: str) -> list[Path]:
        """One file an image."""
        return [label_file(self.output_dir, image_name)]

    def write(self, prediction: Prediction) -> None:
        """Translate and write."""
        values = label_values(self.metadata, prediction.num_classes(self.metadata))
        path = label_file(self.output_dir, prediction.file.name)
        write_labels(path, values[prediction.classes])
