"""The formats of exported models: ONNX, and torch.export's .pt2."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from segtron.errors import UserError
from segtron.inference.export.any_size import drop_assertions
from segtron.inference.export.run_exported import METADATA_FILE, METADATA_KEY

LARGEST_SIDE = 16384  # of an image that a graph for any size takes


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes:
        suffix: of the file's name.
        packages: what has to be installed besides Segtron, to write a file and to check it.
        write: takes a program, the names of its outputs, metadata and the path.
    """

    suffix: str
    packages: tuple[str, ...]
    write: Callable[[ExportedProgram, Sequence[str], str, Path], None]

    def check_packages(self) -> None:
        """
        Raises:
            UserError: one of the packages can't be imported.
        """
        for name in self.packages:
            try:
                importlib.import_module(name)
            except ImportError as error:
                raise UserError(
                    f"--format onnx needs the package {name} ({error}); pip install "
                    f"{' '.join(self.packages)}, or take --format torch"
                ) from error


def _write_onnx(
    program: ExportedProgram, outputs: Sequence[str], metadata: str, path: Path
) -> None:
    with _quiet():
        onnx = torch.onnx.export(
            program,
            dynamo=True,
            verbose=False,
            output_names=list(outputs),
        )
    onnx.model.metadata_props[METADATA_KEY] = metadata
    onnx.save(path, external_data=False)


def _write_torch(
    program: ExportedProgram, outputs: Sequence[str], metadata: str, path: Path
) -> None:
    torch.export.save(program, path, extra_files={METADATA_FILE: metadata})


FORMATS = {
    "onnx": Format(".onnx", ("onnx", "onnxscript", "onnxruntime"), _write_onnx),
    "torch": Format(".pt2", (), _write_torch),
}


def trace(
    graph: nn.Module,
    *,
    takes_size: bool,
    stride: int,
    smallest: int,
    size: tuple[int, int] | None,
) -> ExportedProgram:
    """Record what a graph computes.

    Args:
        graph: as `build_graph` makes it.
        takes_size: whether its second input is the image's size.
        stride: see `input_stride`.
        smallest: see `smallest_side`.
        size: height and width of the only input that the program is to take; None for all
            multiples of `stride` from `smallest` to `LARGEST_SIDE`.

    Raises:
        UserError: it can't be recorded for all sizes.
    """
    # In an example like any other no side is equal to another, nor a multiple of it.
    height, width = size or ((4 * stride, 6 * stride) if stride > 1 else (141, 213))
    inputs: tuple[torch.Tensor, ...] = (torch.zeros(1, 3, height, width),)
    shapes: dict[str, dict[int, Dim] | None] | None = None
    if size is None:
        rows, columns = (
            Dim(name, min=smallest // stride, max=LARGEST_SIDE // stride)
            for name in ("rows", "columns")
        )
        if stride > 1:
            rows, columns = stride * rows, stride * columns
        shapes = {"image": {2: rows, 3: columns}} | ({"size": None} if takes_size else {})
    if takes_size:
        inputs += (torch.tensor([height, width]),)
    try:
        with _quiet(), torch.no_grad():
            program = torch.export.export(
                graph,
                inputs,
                dynamic_shapes=shapes,
                strict=False,
                prefer_deferred_runtime_asserts_over_guards=True,
            )
    except torch._dynamo.exc.UserError as error:
        if size is not None:
            raise
        raise UserError(
            "the model can't be exported for images of any size "
            f"({' '.join(str(error).split())[:200]}); give --size HEIGHT WIDTH"
        ) from error
    drop_assertions(program)
    return program


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what PyTorch says to the authors of torchvision."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        yield
