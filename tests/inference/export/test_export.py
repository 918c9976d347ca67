"""Files against the models that they were made of."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from segtron.data.toytown.scene import make_scene
from segtron.errors import UserError
from segtron.inference import Predictor
from segtron.inference.export import FORMATS, export_model
from segtron.inference.export.export import compare
from segtron.inference.export.run_exported import ExportedModel

from .exported_models import POINT_REND, make_cfg, save_model

# None a multiple of the strides but the first; one upright, one smaller than any input, one long.
SIZES = [(64, 128), (75, 101), (101, 75), (20, 20), (30, 200)]


def scenes(sizes=SIZES):
    images = []
    for size in sizes:
        scene = make_scene(seed=0, split=0, index=0, size=tuple(max(64, side) for side in size))
        images.append(np.ascontiguousarray(scene.image[: size[0], : size[1], ::-1]))
    return images


@pytest.fixture(scope="module")
def unet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unet")
    cfg = make_cfg("unet")
    return cfg, save_model(cfg, folder / "weights.pth"), folder


def test_one_semantic_file_serves_all_sizes(unet):
    cfg, weights, folder = unet
    export_model(cfg, weights, "torch", folder / "unet.pt2")
    exported = ExportedModel(folder / "unet.pt2")
    assert exported.info["task"] == "semantic"
    assert exported.info["input"]["stride"] == 1
    result = compare(Predictor(cfg, weights), exported, scenes())
    assert result.problems == []
    assert result.images == len(result.sem_seg) == len(SIZES)
    assert not list(folder.glob(".*"))


def test_one_panoptic_file_serves_all_sizes(tmp_path):
    cfg = make_cfg("panoptic")
    weights = save_model(cfg, tmp_path / "weights.pth")
    export_model(cfg, weights, "torch", tmp_path / "model.pt2")
    exported = ExportedModel(tmp_path / "model.pt2")
    predictor = Predictor(cfg, weights)
    result = compare(predictor, exported, scenes())
    assert result.problems == []
    assert result.matched > 20
    assert len(result.panoptic) == len(SIZES)
    [predicted] = predictor(scenes(SIZES[:1]))
    assert len(predicted["panoptic_seg"][1]) > 2
    # The rules of merging are not in the graph.
    assert exported.info["panoptic"]["thing_classes"] == [4, 1, 2]
    assert exported.info["panoptic"]["confidence_threshold"] == 0.3
    assert exported.info["outputs"] == ["boxes", "scores", "classes", "masks", "sem_seg"]


@pytest.mark.parametrize(("format", "size"), [("torch", None), ("onnx", (64, 128))])
def test_point_rend(format, size, tmp_path):
    if format == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    cfg = make_cfg("instance", POINT_REND)
    weights = save_model(cfg, tmp_path / "weights.pth")
    path = tmp_path / f"model{FORMATS[format].suffix}"
    export_model(cfg, weights, format, path, size=size)
    exported = ExportedModel(path, threads=1)
    result = compare(Predictor(cfg, weights), exported, scenes(SIZES if size is None else [size]))
    assert result.problems == []
    assert result.matched > 5


@pytest.mark.parametrize("format", ["torch", "onnx"])
def test_one_bottom_up_file_serves_all_sizes(format, tmp_path):
    if format == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    cfg = make_cfg("bottom_up")
    weights = save_model(cfg, tmp_path / "weights.pth")
    path = tmp_path / f"model{FORMATS[format].suffix}"
    export_model(cfg, weights, format, path)
    exported = ExportedModel(path, threads=1)
    result = compare(Predictor(cfg, weights), exported, scenes())
    assert result.problems == []
    assert result.matched > 20
    assert len(result.sem_seg) == len(result.panoptic) == len(SIZES)
    assert exported.info["task"] == "bottom-up"
    assert exported.info["bottom_up"]["thing_classes"] == [4, 1, 2]
    assert exported.info["outputs"] == ["sem_seg", "heatmap", "offsets"]


def test_onnx(tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    cfg = make_cfg("panoptic")
    weights = save_model(cfg, tmp_path / "weights.pth")
    # One size only, which takes a fraction of the time.
    export_model(cfg, weights, "onnx", tmp_path / "model.onnx", size=(64, 128))
    exported = ExportedModel(tmp_path / "model.onnx", threads=1)
    result = compare(Predictor(cfg, weights), exported, scenes(SIZES[:1]))
    assert result.problems == []
    assert result.matched > 5
    assert len(result.panoptic) == 1
    assert exported.info["task"] == "panoptic"


def test_onnx_of_all_sizes(unet):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    cfg, weights, folder = unet
    export_model(cfg, weights, "onnx", folder / "unet.onnx")
    exported = ExportedModel(folder / "unet.onnx", threads=1)
    assert compare(Predictor(cfg, weights), exported, scenes()).problems == []


def test_a_file_of_one_size(unet):
    cfg, weights, folder = unet
    export_model(cfg, weights, "torch", folder / "fixed.pt2", size=(50, 70))
    exported = ExportedModel(folder / "fixed.pt2")
    assert exported.info["input"]["size"] == [50, 70]
    assert exported.info["input"]["min_size"] == 50
    # Other images are made to fit.
    [image] = scenes([(90, 60)])
    assert exported(image)["sem_seg"].shape == (5, 90, 60)


def test_a_size_that_the_model_cannot_take(tmp_path):
    cfg = make_cfg("instance")
    with pytest.raises(
        UserError, match="--size is 50 64; height and width must be multiples of 32"
    ):
        export_model(cfg, "", "torch", tmp_path / "a.pt2", size=(50, 64))


def test_mistakes_are_told_before_the_work(unet, tmp_path, monkeypatch):
    cfg, weights, _ = unet
    (tmp_path / "taken.pt2").write_text("mine")
    with pytest.raises(UserError, match="would be overwritten"):
        export_model(cfg, weights, "torch", tmp_path / "taken.pt2")
    assert (tmp_path / "taken.pt2").read_text() == "mine"
    with pytest.raises(UserError, match=r"must end in \.pt2"):
        export_model(cfg, weights, "torch", tmp_path / "model.onnx")
    with pytest.raises(UserError, match=r"nowhere\.png does not exist"):
        export_model(cfg, weights, "torch", tmp_path / "a.pt2", images=[tmp_path / "nowhere.png"])
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(UserError, match="--format onnx needs the package") as problem:
        export_model(cfg, weights, "onnx", tmp_path / "model.onnx")
    assert "pip install onnx onnxscript onnxruntime" in str(problem.value)


def test_a_file_of_another_program(tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    result = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([node], "other", [value], [result])
    opset = [onnx.helper.make_opsetid("", 18)]
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=opset, ir_version=10), tmp_path / "o.onnx"
    )
    with pytest.raises(ValueError, match=r"o\.onnx was not written by"):
        ExportedModel(tmp_path / "o.onnx")
