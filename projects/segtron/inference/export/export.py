"""From a config and weights to a file that needs neither Segtron nor Detectron2."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from detectron2.config import CfgNode
from tqdm import tqdm

from segtron.data.image_io import read_image
from segtron.data.toytown.scene import make_scene
from segtron.errors import UserError
from segtron.files import refuse_overwriting, replacing
from segtron.inference.export.agreement import Agreement
from segtron.inference.export.description import describe
from segtron.inference.export.formats import FORMATS, trace
from segtron.inference.export.graph import OUTPUTS, build_graph
from segtron.inference.export.run_exported import ExportedModel
from segtron.inference.export.support import input_stride, smallest_side, task_of
from segtron.inference.predictor import Predictor
from segtron.modeling.build import build_model
from segtron.modeling.checkpoint import load_weights, with_weights

_SCENE_SIZE = (256, 512)


class DisagreementError(Exception):
    """An exported model says something else than the model itself."""


def export_model(
    cfg: CfgNode,
    weights: str,
    format: str,
    output: Path,
    *,
    images: Sequence[Path] = (),
    size: tuple[int, int] | None = None,
) -> Agreement:
    """Export a model, in 32 bits, and compare the file with the model before it gets its name.

    Args:
        cfg: as `segtron.config.load_config` returns it.
        weights: a checkpoint that fits the model exactly.
        format: one of `FORMATS`.
        output: the file; nothing is there yet.
        images: to compare on; by default a scene of toytown.
        size: height and width of the file's only input size, which also take the place of
            INPUT.MIN_SIZE_TEST and INPUT.MAX_SIZE_TEST; None for a file that takes any.

    Returns:
        How well the file agrees with the model.

    Raises:
        UserError: the model can't be exported, a package is missing, `output` exists or can't be
            written, or a file can't be read.
        DisagreementError: the file differs from the model by more than rounding; it is not kept.
    """
    kind = FORMATS[format]
    if output.suffix != kind.suffix:
        raise UserError(
            f"--output {output} must end in {kind.suffix}, by which programs know --format {format}"
        )
    kind.check_packages()
    refuse_overwriting([output])
    pictures = [read_image(path, "BGR") for path in images]
    if not pictures:
        pictures = [_scene(size or _SCENE_SIZE)]
    cfg = _export_config(cfg, size)
    model = build_model(with_weights(cfg, weights)).eval()
    task = task_of(cfg, model)
    stride = input_stride(model)
    if size is not None and (size[0] % stride or size[1] % stride):
        raise UserError(
            f"--size is {size[0]} {size[1]}; height and width must be multiples of {stride}, by "
            "which the model steps down"
        )
    load_weights(model, weights, strict=True)
    predictor = Predictor(cfg, weights)
    with tqdm(total=3, bar_format="{desc} {n_fmt}/{total_fmt} [{elapsed}]") as progress:
        progress.set_description("trace")
        program = trace(
            build_graph(model, task),
            takes_size=task.has_detector,
            stride=stride,
            smallest=smallest_side(model),
            size=size,
        )
        metadata = json.dumps(describe(cfg, model, task, size), ensure_ascii=False)
        with replacing(output) as temporary:
            _advance(progress, "write")
            kind.write(program, OUTPUTS[task], metadata, temporary)
            _advance(progress, "compare")
            agreement = compare(predictor, ExportedModel(temporary), pictures)
            progress.update()
            if agreement.problems:
                raise DisagreementError(
                    f"{output} is not kept: {'; '.join(agreement.problems)}\n{agreement}"
                )
    return agreement


def compare(
    predictor: Predictor, exported: ExportedModel, images: Sequence[np.ndarray]
) -> Agreement:
    """Compare an exported model with the model itself.

    Args:
        predictor: the model, in 32 bits.
        exported: the file.
        images: (H, W, 3) uint8, BGR.
    """
    agreement = Agreement.empty()
    for image in images:
        [expected] = predictor([image])
        agreement.update(expected, exported(image[:, :, ::-1]))
    return agreement


def _export_config(cfg: CfgNode, size: tuple[int, int] | None) -> CfgNode:
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.DEVICE = "cpu"
    cfg.TEST.PRECISION = "float32"
    if size is not None:
        cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = min(size), max(size)
    cfg.freeze()
    return cfg


def _scene(size: tuple[int, int]) -> np.ndarray:
    return make_scene(seed=0, split=0, index=0, size=size).image[:, :, ::-1]


def _advance(progress: tqdm, description: str) -> None:
    progress.update()
    progress.set_description(description)
