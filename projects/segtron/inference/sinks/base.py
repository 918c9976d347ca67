"""What every sink has, and the register by whose names `--save` calls them."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from detectron2.config import CfgNode
from detectron2.data.catalog import Metadata
from fvcore.common.registry import Registry

from segtron.errors import UserError
from segtron.evaluation.build import OUTPUTS
from segtron.inference.prediction import Prediction
from segtron.inference.sources.base import Source

# In the output folder, what is needed until a run is at its end.
WORK_FOLDER = ".segtron-predicting"
_NAME = re.compile(r"[a-z][a-z0-9_-]*")


class Sink(ABC):
    """Makes files of predictions, which appear whole or not at all.

    A run may be killed at any time and go on in another process. So a sink keeps nothing in itself:
    `write` makes an image's own files, and returns what else is to be known of it; `finish` makes
    the files for all images of what `write` returned, some of it perhaps in earlier processes.

    Attributes:
        name: what --save calls it: small letters, digits, "_" and "-".
        needs: the model's outputs that it can be made of; one of them is enough.
        draws: whether it shows instances to people, who are spared weak ones.
        output_dir: where the files go.
        metadata: names of the classes, and if known their colours and ids in the data set.
        min_score: instances below it are left out.
    """

    name: str
    needs: tuple[str, ...]
    draws = False

    def __init__(self, output_dir: Path, metadata: Metadata, min_score: float) -> None:
        self.output_dir = output_dir
        self.metadata = metadata
        self.min_score = min_score

    def files_of(self, image_name: str) -> list[Path]:
        """The files that `write` makes for an image of this name, all of them each time."""
        return []

    def files_of_all(self, sources: Sequence[Source]) -> list[Path]:
        """The files that `finish` makes."""
        return []

    def check(self, prediction: Prediction) -> None:
        """Make sure that it can be made of what the model predicts.

        Raises:
            UserError: names what can be.
        """
        self.check_outputs(prediction.kinds)

    def check_outputs(self, given: Sequence[str]) -> None:
        """As `check`, by the names of the model's outputs alone."""
        if any(output in given for output in self.needs):
            return
        possible = [name for name, sink in SINKS if any(o in given for o in sink.needs)]
        raise UserError(
            f"this model predicts {' and '.join(given)} but no {' or '.join(self.needs)}, which "
            f"--save {self.name} is made of; possible with this model: "
            f"{', '.join(possible) or 'none'}"
        )

    @abstractmethod
    def write(self, prediction: Prediction) -> Any:
        """Take one prediction; images come in any order, and some a second time after a kill.

        Returns:
            What `finish` needs of it: anything that JSON can hold; None for nothing.
        """

    def finish(self, records: Iterable[Any]) -> None:
        """Make the files for all images.

        Args:
            records: what `write` returned, without None, in the order of the images. They come from
                disk, and can be gone through several times.
        """
        return

    def path_of(self, image_name: str) -> Path:
        """A file in the output folder, by a name with forward slashes.

        Raises:
            UserError: it would lie elsewhere.
        """
        name = PurePosixPath(image_name)
        if name.is_absolute() or ".." in name.parts:
            raise UserError(
                f"results of {image_name!r} would lie outside of {self.output_dir}; give the "
                "folder of the images as --input"
            )
        return self.output_dir / name

    def class_name(self, index: int) -> str:
        """The name of a class of instances, or its number."""
        names = self.metadata.get("thing_classes") or []
        return names[index] if index < len(names) else str(index)


_SinkType = TypeVar("_SinkType", bound=type[Sink])


class SinkRegistry(Registry):
    """Detectron2's registry, in which sinks go by their `name`.

    Example:
        >>> @SINKS.register()
        ... class BoxesSink(Sink):
        ...     name = "boxes"
    """

    def register(self, obj: _SinkType | None = None) -> Callable[[_SinkType], _SinkType]:
        """Register a class; to be used as a decorator or not.

        Raises:
            UserError: there is a sink of this name, or it is no name.
        """
        if obj is None:
            return self.register
        if not _NAME.fullmatch(obj.name):
            raise UserError(
                f"the sink {obj.__name__} has the name {obj.name!r}; take small letters, digits, "
                "'_' and '-'"
            )
        if obj.name in self:
            raise UserError(
                f"there is a sink {obj.name!r} already; give {obj.__name__} another name"
            )
        self._do_register(obj.name, obj)
        return obj


# What --save can name.
SINKS = SinkRegistry("SINK")


def build_sinks(
    names: Sequence[str],
    output_dir: Path,
    metadata: Metadata,
    *,
    draw_score: float,
    save_score: float,
) -> list[Sink]:
    """Make sinks by name.

    Args:
        names: of registered sinks.
        output_dir: where the files go.
        metadata: see `Sink`.
        draw_score: lowest score of an instance that is drawn.
        save_score: lowest score of an instance that is written to the other files.

    Raises:
        UserError: a name is unknown.
    """
    for name in names:
        if name not in SINKS:
            known = ", ".join(known for known, _ in SINKS)
            raise UserError(f"--save {name!r} is unknown; known are {known}")
    chosen = [SINKS.get(name) for name in dict.fromkeys(names)]
    return [sink(output_dir, metadata, draw_score if sink.draws else save_score) for sink in chosen]


def check_sinks(sinks: Sequence[Sink], cfg: CfgNode) -> None:
    """Make sure, before a model is built, that it predicts what sinks are made of.

    Models of architectures that Segtron doesn't know are left to `Sink.check`.

    Raises:
        UserError: as `Sink.check`.
    """
    given = OUTPUTS.get(cfg.MODEL.META_ARCHITECTURE)
    if given is not None:
        for sink in sinks:
            sink.check_outputs(sorted(given))
