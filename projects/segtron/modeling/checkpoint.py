"""Checkpoints: loaded as data that runs no code, written whole or not at all."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import CfgNode
from detectron2.utils.file_io import PathManager
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from segtron.errors import UserError
from segtron.files import replacing, sync_folder
from segtron.modeling.torchvision_weights import (
    is_torchvision_resnet,
    take_backbone,
    warn_of_differences,
)

logger = logging.getLogger(__name__)

# Buffers that follow from the config, which older checkpoints lack.
_FROM_CONFIG = ("pixel_mean", "pixel_std")
# What the model zoo's pickles consist of: arrays of numbers, strings and dicts.
_PICKLE_GLOBALS = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("_codecs", "encode"),
    ("collections", "OrderedDict"),
}
# The layers with an output for each class, what they classify, and how many outputs are no class:
# the box classifier has one for background.
_CLASS_LAYERS = (
    (re.compile(r"(?:^|\.)cls_score\.weight$"), "classes", 1),
    (
        re.compile(r"(?:^|\.)sem_seg_head\.(?:.+\.)?(?:predictor|scores\.\w+)\.weight$"),
        "semantic classes",
        0,
    ),
)


class DamagedCheckpointError(UserError):
    """A file that is no whole checkpoint, as one that was cut off."""


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickles arrays and plain values; refuses everything that a pickle could call."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _PICKLE_GLOBALS:
            raise pickle.UnpicklingError(f"it wants to call {module}.{name}")
        return super().find_class(module, name)


class Checkpointer(DetectionCheckpointer):
    """Detectron2's checkpointer with safe loading, strict matching and atomic writing.

    Where Detectron2 skips what doesn't fit and goes on with a warning, this one raises: a model
    that is resumed or scored with part of its weights at random is a mistake. `load_weights` is the
    lenient way, for a model that starts from another one's weights.
    """

    def load(self, path: str, checkpointables: list[str] | None = None) -> dict[str, Any]:
        """Load a checkpoint.

        Args:
            path: a .pth, a .safetensors, or a model zoo's .pkl; a file or a "detectron2://" or
                "https://" address.
            checkpointables: what to load besides the model; None for all there is.

        Returns:
            What the checkpoint holds besides.

        Raises:
            UserError: the file is missing, can't be downloaded, is no checkpoint, would run code,
                or doesn't fit the model.
        """
        # Detectron2 leaves it as it was when a file could not be read, and then reads no other.
        self._parsed_url_during_load = None
        with _naming(path):
            return super().load(fetch(path), checkpointables=checkpointables)

    def save(self, name: str, **kwargs: Any) -> None:
        """Write `name`.pth, whole or not at all, and let `last_checkpoint` name it.

        Raises:
            UserError: there is no space left, or the folder can't be written to. What was there
                before stays, and `last_checkpoint` names it.
        """
        if not self.save_dir or not self.save_to_disk:
            return
        data = {"model": self.model.state_dict()}
        data |= {key: value.state_dict() for key, value in self.checkpointables.items()}
        data |= kwargs
        target = Path(self.save_dir) / f"{name}.pth"
        logger.info("Saving checkpoint to %s", target)
        write_checkpoint(target, data)
        self.tag_last_checkpoint(target.name)

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        """Let the file `last_checkpoint` name the newest checkpoint."""
        folder = Path(self.save_dir)
        with replacing(folder / "last_checkpoint") as temporary:
            temporary.write_text(last_filename_basename)
        sync_folder(folder)

    def _load_file(self, filename: str) -> dict[str, Any]:
        return read_checkpoint(Path(filename))

    def _load_model(self, checkpoint: dict[str, Any]) -> Any:
        incompatible = super()._load_model(checkpoint)
        missing = [key for key in incompatible.missing_keys if key not in _FROM_CONFIG]
        if incompatible.incorrect_shapes:
            raise UserError(f"the weights do not fit the model: {_describe(incompatible)}")
        if missing:
            raise UserError(
                f"the weights lack {len(missing)} of the model's tensors, first of them "
                f"{missing[0]}; were they trained with another config?"
            )
        return incompatible


class _LenientCheckpointer(DetectionCheckpointer):
    def __init__(self, model: nn.Module, input_format: str | None) -> None:
        super().__init__(model)
        self.input_format = input_format

    def _load_file(self, filename: str) -> dict[str, Any]:
        return read_checkpoint(Path(filename))

    def _load_model(self, checkpoint: dict[str, Any]) -> Any:
        if is_torchvision_resnet(checkpoint["model"]):
            checkpoint["model"] = take_backbone(checkpoint["model"], self.model)
            # The names are the model's now, whatever kind of file they came from.
            checkpoint["matching_heuristics"] = False
            warn_of_differences(self.model, self.input_format)
        names = set(checkpoint["model"])
        incompatible = super()._load_model(checkpoint)
        if names and len(incompatible.missing_keys) >= len(self.model.state_dict()):
            raise UserError(
                "the checkpoint has no tensor in common with the model; give one of the same "
                "architecture"
            )
        for name, shape, wanted in incompatible.incorrect_shapes:
            logger.warning(
                "%s is %s in the weights and %s in the model: it starts anew.", name, shape, wanted
            )
        # Said already. Detectron2 names those that are missing altogether.
        named = {name for name, _, _ in incompatible.incorrect_shapes}
        incompatible.missing_keys[:] = [
            name
            for name in incompatible.missing_keys
            # No computation uses those counts.
            if name not in named and not name.endswith("num_batches_tracked")
        ]
        incompatible.incorrect_shapes.clear()
        return incompatible


def load_weights(
    model: nn.Module, path: str, *, strict: bool, input_format: str | None = None
) -> None:
    """Load a model's weights from a checkpoint.

    A ResNet of torchvision's, bare or in one of its segmentation models, is recognized by its names
    when loading isn't strict; see `segtron.modeling.torchvision_weights`.

    Args:
        model: on any device; its parameters are overwritten.
        path: a .pth, a .safetensors, or a model zoo's .pkl; a file or a "detectron2://" or
            "https://" address.
        strict: the checkpoint must hold all of the model's tensors in their shapes. If not strict,
            tensors of another shape or missing ones keep their initial values, and are named in the
            log: the way to start from a model with another number of classes.
        input_format: INPUT.FORMAT, to warn if weights of torchvision's expect another one. It isn't
            checked if None, unless the model knows it.

    Raises:
        UserError: the file is missing, can't be downloaded, is no checkpoint, would run code, or
            doesn't fit the model.
    """
    checkpointer = Checkpointer(model) if strict else _LenientCheckpointer(model, input_format)
    with _naming(path):
        checkpointer.load(fetch(path), checkpointables=[])


@contextlib.contextmanager
def _naming(path: str) -> Iterator[None]:
    """Put a checkpoint's name before a sentence that lacks it."""
    try:
        yield
    except UserError as error:
        if path in str(error):
            raise
        raise type(error)(f"{path}: {error}") from error


def fetch(path: str) -> str:
    """The local file of a checkpoint; an address is downloaded first.

    Raises:
        UserError: there is no such file, or it can't be downloaded.
    """
    if "://" not in path:
        if not Path(path).is_file():
            raise UserError(f"checkpoint {path} does not exist; check MODEL.WEIGHTS or --weights")
        return path
    try:
        return PathManager.get_local_path(path)
    except Exception as error:  # whatever the handler of this kind of address raises
        raise UserError(
            f"cannot download the weights {path} ({error}); "
            "fetch the file elsewhere and give MODEL.WEIGHTS its path, or '' to start without"
        ) from error


def write_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Write what `read_checkpoint` reads, whole or not at all, so that it outlives a power cut.

    Args:
        path: a .pth.
        content: "model" and whatever else, of tensors, numbers, strings and containers of them.

    Raises:
        UserError: there is no space left, or the folder can't be written to.
    """
    with replacing(path) as temporary, temporary.open("wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:
            # What torch makes of a write that failed; the disk has said why.
            if isinstance(error.__context__, OSError):
                raise error.__context__ from error
            raise
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint file as data: tensors, arrays, numbers, strings and containers of them.

    Returns:
        A dict with "model", a flat mapping of names to tensors or arrays, and whatever else the
        file holds.

    Raises:
        DamagedCheckpointError: it is truncated, or holds objects that would run code.
        UserError: it is no checkpoint.
    """
    try:
        if path.suffix == ".pkl":
            content = _read_pickle(path)
        elif path.suffix == ".safetensors":
            content = load_file(path)
        else:
            _check_archive(path)
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (
        pickle.UnpicklingError,
        zipfile.BadZipFile,
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
        KeyError,
        IndexError,
        AttributeError,
        TypeError,
        ImportError,
        UnicodeDecodeError,
        SafetensorError,
    ) as error:
        # torch explains at length how to switch its check off; the first sentence is enough.
        reason = " ".join(str(error).split()).split(". ")[0][:200] or type(error).__name__
        raise DamagedCheckpointError(
            f"{path} is not a checkpoint that can be loaded safely ({reason}); if it holds a whole "
            "model, save its state_dict() instead; if it was cut off, fetch or train it again"
        ) from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a checkpoint: it holds a {type(content).__name__}, no dict")
    if "model" not in content:
        content = {"model": content}
    tensors = content["model"]
    if not isinstance(tensors, dict) or not all(
        isinstance(name, str) and hasattr(value, "shape") for name, value in tensors.items()
    ):
        raise UserError(
            f"{path} is not a checkpoint: its 'model' is no mapping of names to tensors"
        )
    return content


def _check_archive(path: Path) -> None:
    """Make sure that what is in a checkpoint is what was written, of which torch looks at nothing,
    and is no larger than the file.

    Raises:
        BadZipFile: a part has another sum, or is packed, as torch's never are.
    """
    if not zipfile.is_zipfile(path):  # what torch wrote before 2020 is no archive
        return
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if (
            any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
            or sum(entry.file_size for entry in entries) > path.stat().st_size
        ):
            raise zipfile.BadZipFile("it is packed and may be larger than it looks")
        damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"{damaged} in it is damaged")


def _read_pickle(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        content = _ArrayUnpickler(file, encoding="latin1").load()
    if not isinstance(content, dict) or ("model" in content and "__author__" in content):
        return content
    # The Caffe2 layout of Detectron1's zoo, matched by name and shape.
    blobs = content.get("blobs", content)
    blobs = {name: value for name, value in blobs.items() if not name.endswith("_momentum")}
    return {"model": blobs, "__author__": "Caffe2", "matching_heuristics": True}


def _describe(incompatible: Any) -> str:
    differing = []
    for layer, kind, others in _CLASS_LAYERS:
        counts = [
            (found[0] - others, wanted[0] - others)
            for name, found, wanted in incompatible.incorrect_shapes
            if layer.search(name) and found[0] != wanted[0]
        ]
        # Several score layers and an auxiliary head say the same.
        differing += [
            f"they are for {found} {kind}, the config is for {wanted}"
            for found, wanted in counts[:1]
        ]
    if differing:
        return "; ".join(differing)
    name, shape, wanted = incompatible.incorrect_shapes[0]
    return f"{name} is {tuple(shape)} in the file and {tuple(wanted)} in the model"


def last_checkpoint(output_dir: Path) -> Path | None:
    """The newest checkpoint that a training left in its folder, finished or not."""
    marker = output_dir / "last_checkpoint"
    # Only the name: a folder can be moved, and what it holds should not lead out of it.
    names = []
    if marker.is_file():
        # Whatever is in it: what is no name of a file is none of these.
        names = [Path(marker.read_text(errors="replace").strip().replace("\0", "")).name]
    paths = (output_dir / name for name in (*names, "model_final.pth"))
    return next((path for path in paths if _is_file(path)), None)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long
        return False


def choose_weights(cfg: CfgNode, opts: Sequence[str] = ()) -> str:
    """The weights to predict or score with.

    MODEL.WEIGHTS where the command line gives it, else the last checkpoint of a training in
    OUTPUT_DIR, else MODEL.WEIGHTS of the config file (which, in a config for training, is where it
    starts from).

    Raises:
        UserError: there are none of these.
    """
    trained = None if "MODEL.WEIGHTS" in opts else last_checkpoint(Path(cfg.OUTPUT_DIR))
    chosen = cfg.MODEL.WEIGHTS if trained is None else str(trained)
    if not chosen:
        raise UserError(
            f"no weights: {cfg.OUTPUT_DIR} holds no checkpoint and MODEL.WEIGHTS is empty; "
            "train first, or name a checkpoint"
        )
    logger.info("Weights: %s", chosen)
    return chosen


def with_weights(cfg: CfgNode, weights: str) -> CfgNode:
    """A frozen copy of a config with another MODEL.WEIGHTS.

    A model that is built from it does not fetch weights that are about to be overwritten.
    """
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.WEIGHTS = weights
    cfg.freeze()
    return cfg
