"""The runner's NumPy against what Segtron and Detectron2 do, and its files."""

from __future__ import annotations

import ast
import json
import runpy
import sys
import zipfile
from pathlib import Path

import detectron2.data.transforms as T
import numpy as np
import pytest
import torch
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import Boxes
from detectron2.structures import Instances as Detectron2Instances
from PIL import Image
from pycocotools import mask as coco_mask
from torch.nn import functional as F

from segtron.inference.export import run_exported
from segtron.inference.export.description import describe
from segtron.inference.export.run_exported import Instances
from segtron.inference.export.support import Task
from segtron.modeling.grouping import find_centers
from segtron.modeling.panoptic_merging import merge_panoptic

from .exported_models import make_cfg, make_model


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def test_it_imports_nothing_but_what_it_says():
    tree = ast.parse(Path(run_exported.__file__).read_text(encoding="utf-8"))
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module.partition(".")[0])
    others = names - set(sys.stdlib_module_names)
    assert others == {"numpy", "PIL", "onnxruntime", "torch", "torchvision"}


@pytest.mark.parametrize(
    ("shape", "min_size", "max_size"),
    [((48, 96), 64, 128), ((97, 31), 64, 128), ((40, 200), 64, 100), ((33, 33), 20, 90)]
    + [((75, 101), 0, 0)],
)
def test_images_are_resized_as_detectron2_does(shape, min_size, max_size):
    image = noise(*shape, 3)
    inputs = {"min_size": min_size, "max_size": max_size, "size": None}
    found = run_exported.resize_image(image, inputs)
    resize = T.ResizeShortestEdge([min_size, min_size], max_size)
    expected = resize.get_transform(image).apply_image(image) if min_size else image
    assert np.array_equal(found, expected)


def test_an_image_shrinks_further_to_fit_the_only_size():
    inputs = {"min_size": 64, "max_size": 128, "size": [64, 128]}
    assert run_exported.resize_image(noise(100, 50, 3), inputs).shape == (64, 32, 3)
    assert run_exported.resize_image(noise(50, 100, 3), inputs).shape == (64, 128, 3)


@pytest.mark.parametrize("size", [None, [64, 128]])
def test_a_pixel_is_left_of_the_short_side_of_a_long_image(size):
    inputs = {"min_size": 64, "max_size": 128, "size": size}
    assert run_exported.resize_image(noise(1, 5000, 3), inputs).shape == (1, 128, 3)
    longest = 128 if size is None else 64
    assert run_exported.resize_image(noise(5000, 1, 3), inputs).shape == (longest, 1, 3)


def test_padding_is_the_mean_up_to_a_size_that_the_network_takes():
    inputs = {"stride": 32, "smallest": 64, "size": None, "pixel_mean": [1.5, 2.0, 3.0]}
    image = noise(40, 70, 3)
    padded, size = run_exported.pad_image(image, inputs)
    assert padded.shape == (1, 3, 64, 96)
    assert padded.dtype == np.float32
    assert size.tolist() == [40, 70]
    assert np.array_equal(padded[0, :, :40, :70], image.transpose(2, 0, 1))
    assert (padded[0, :, 40:] == np.array([1.5, 2, 3])[:, None, None]).all()
    assert (padded[0, :, :, 70:] == np.array([1.5, 2, 3])[:, None, None]).all()


@pytest.mark.parametrize("size", [(7, 9), (20, 9), (3, 31), (1, 1), (14, 18)])
def test_scores_are_interpolated_as_torch_does(size):
    values = np.random.default_rng(0).normal(size=(4, 7, 9)).astype(np.float32)
    expected = F.interpolate(
        torch.from_numpy(values)[None], size=size, mode="bilinear", align_corners=False
    )[0]
    found = run_exported.interpolate(values, *size)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


def test_instances_come_to_the_image_as_by_detectron2():
    rng = np.random.default_rng(1)
    corners = rng.uniform(-5, 90, (40, 2, 2)).astype(np.float32)
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    boxes[0, 2] = boxes[0, 0]  # without an extent
    boxes[1] = [-40, -40, -3, -2]  # outside
    masks = rng.uniform(0, 1, (40, 28, 28)).astype(np.float32)
    scores, classes = rng.uniform(0, 1, 40).astype(np.float32), rng.integers(0, 3, 40)
    expected = detector_postprocess(
        Detectron2Instances(
            (60, 80),
            pred_boxes=Boxes(torch.from_numpy(boxes.copy())),
            scores=torch.from_numpy(scores),
            pred_classes=torch.from_numpy(classes),
            pred_masks=torch.from_numpy(masks)[:, None],
        ),
        45,
        100,
    )
    found = run_exported.to_image_size(
        Instances(boxes, scores, classes, masks), (60, 80), (45, 100)
    )
    assert 0 < len(found.boxes) < 39
    np.testing.assert_allclose(found.boxes, expected.pred_boxes.tensor.numpy(), atol=1e-4)
    assert np.array_equal(found.scores, expected.scores.numpy())
    assert np.array_equal(found.classes, expected.pred_classes.numpy())
    # Pixels at the threshold may fall either way.
    assert np.mean(found.masks != expected.pred_masks.numpy()) < 1e-5


def test_no_instances():
    nothing = Instances(
        np.zeros((0, 4), np.float32),
        np.zeros(0, np.float32),
        np.zeros(0, np.int64),
        np.zeros((0, 28, 28), np.float32),
    )
    found = run_exported.to_image_size(nothing, (60, 80), (45, 100))
    assert found.masks.shape == (0, 45, 100)


@pytest.mark.parametrize("seed", range(5))
def test_segments_are_merged_as_by_the_model(seed):
    rng = np.random.default_rng(seed)
    masks = np.zeros((12, 30, 40), bool)
    for mask in masks[:-1]:  # the last one is empty
        y, x = rng.integers(0, 25), rng.integers(0, 35)
        mask[y : y + rng.integers(1, 20), x : x + rng.integers(1, 20)] = True
    scores = rng.choice([0.2, 0.5, 0.7, 0.9], 12).astype(np.float32)  # with ties
    classes = rng.integers(0, 2, 12)
    sem_seg = rng.integers(0, 4, (6, 8)).repeat(5, axis=0).repeat(5, axis=1)
    rules = {"overlap_threshold": 0.5, "stuff_area_limit": 60, "confidence_threshold": 0.4}
    expected_ids, expected = merge_panoptic(
        Detectron2Instances(
            (30, 40),
            scores=torch.from_numpy(scores),
            pred_classes=torch.from_numpy(classes),
            pred_masks=torch.from_numpy(masks),
        ),
        torch.from_numpy(sem_seg),
        thing_classes=[3, 1],
        **rules,
    )
    for segment in expected:
        if segment["isthing"]:
            segment["category_id"] = [3, 1][segment["category_id"]]
    found = Instances(np.zeros((12, 4), np.float32), scores, classes, masks)
    ids, segments = run_exported.merge_panoptic(found, sem_seg, thing_classes=[3, 1], **rules)
    assert {segment["isthing"] for segment in segments} == {True, False}
    assert np.array_equal(ids, expected_ids.numpy())
    assert ids.dtype == np.int32
    assert segments == expected


@pytest.mark.parametrize(("nms_kernel", "top_k"), [(3, 200), (7, 200), (5, 4)])
def test_centers_are_those_of_the_model(nms_kernel, top_k):
    # In steps, so that many values are equal.
    heatmap = np.random.default_rng(0).integers(0, 12, (30, 40)).astype(np.float32) / 12
    options = {"threshold": 0.5, "nms_kernel": nms_kernel, "top_k": top_k}
    points, scores = run_exported.find_centers(heatmap, **options)
    expected = find_centers(torch.from_numpy(heatmap), **options)
    assert 1 < len(points) <= top_k
    assert np.array_equal(points, expected.points.numpy())
    assert np.array_equal(scores, expected.scores.numpy())


def bottom_up_maps(thing_logit=1.0, seed=0):
    """Scores of 5 classes, a heatmap and offsets, coarse noise."""
    rng = np.random.default_rng(seed)
    sem_seg = rng.normal(size=(5, 6, 8)).repeat(5, axis=1).repeat(5, axis=2).astype(np.float32)
    sem_seg[[1, 2, 4]] += thing_logit
    heatmap = rng.normal(0.5, 0.5, (30, 40)).astype(np.float32)
    return sem_seg, heatmap, rng.normal(0, 5, (2, 30, 40)).astype(np.float32)


@pytest.mark.parametrize(
    "maps",
    [bottom_up_maps(), bottom_up_maps(seed=1), bottom_up_maps(thing_logit=-50.0)]
    + [(bottom_up_maps()[0], np.zeros((30, 40), np.float32), bottom_up_maps()[2])],
    ids=["noise", "other noise", "no things", "no centres"],
)
def test_pixels_are_grouped_as_by_the_model(maps):
    cfg = make_cfg("bottom_up")
    model = make_model(cfg)
    rules = describe(cfg, model, Task.BOTTOM_UP, None)["bottom_up"]
    expected = model.output(*map(torch.from_numpy, maps))
    instances, (ids, segments) = run_exported.merge_bottom_up(*maps, **rules)
    assert np.array_equal(ids, expected["panoptic_seg"][0].numpy())
    assert ids.dtype == np.int32
    scores = [segment.pop("score", None) for segment in segments]
    expected_segments = [dict(segment) for segment in expected["panoptic_seg"][1]]
    assert scores == pytest.approx([segment.pop("score", None) for segment in expected_segments])
    assert segments == expected_segments
    found = expected["instances"]
    assert np.array_equal(instances.boxes, found.pred_boxes.tensor.numpy())
    np.testing.assert_allclose(instances.scores, found.scores.numpy(), rtol=1e-5)
    assert np.array_equal(instances.classes, found.pred_classes.numpy())
    assert np.array_equal(instances.masks, found.pred_masks.numpy())
    assert instances.boxes.dtype == np.float32


@pytest.mark.parametrize("corner", [False, True])
def test_run_lengths_are_cocos(corner):
    mask = noise(9, 7) > 128
    mask[0, 0] = corner
    encoded = {"size": [9, 7], "counts": run_exported.run_lengths(mask)}
    assert np.array_equal(coco_mask.decode(coco_mask.frPyObjects(encoded, 9, 7)), mask)


def test_what_is_written_of_each_task(tmp_path):
    info = {"classes": {"thing": ["Straße"], "stuff": ["road", "Straße"]}}
    masks = np.zeros((1, 4, 6), bool)
    masks[0, 1:3, 2:5] = True
    boxes = np.array([[2, 1, 5, 3]], np.float32)
    found = Instances(boxes, np.array([0.5], np.float32), np.array([0]), masks)
    [written] = run_exported.save({"instances": found}, info, tmp_path / "a.b")
    assert written.name == "a.b.json"
    [entry] = json.loads(written.read_text(encoding="utf-8"))
    assert entry["class"] == "Straße" and entry["class_index"] == 0
    assert entry["bbox"] == [2, 1, 3, 2]
    assert entry["segmentation"] == {"size": [4, 6], "counts": [9, 2, 2, 2, 2, 2, 5]}

    sem_seg = np.zeros((2, 4, 6), np.float32)
    sem_seg[1, :, 3:] = 1
    [written] = run_exported.save({"sem_seg": sem_seg}, info, tmp_path / "semantic")
    assert np.asarray(Image.open(written)).tolist() == [[0, 0, 0, 1, 1, 1]] * 4

    ids = np.array([[0, 70000]], np.int32)
    segments = [{"id": 70000, "isthing": False, "category_id": 5, "area": 1}]
    png, listed = run_exported.save(
        {"sem_seg": sem_seg, "instances": found, "panoptic_seg": (ids, segments)},
        info,
        tmp_path / "panoptic",
    )
    assert np.asarray(Image.open(png)).tolist() == [[[0, 0, 0], [112, 17, 1]]]
    # A class without a name goes by its number.
    expected = {"id": 70000, "isthing": False, "area": 1, "class": "5", "class_index": 5}
    assert json.loads(listed.read_text()) == [expected]
    with pytest.raises(FileExistsError):
        run_exported.save({"sem_seg": sem_seg}, info, tmp_path / "semantic")


def test_images_are_upright_and_of_8_bits(tmp_path):
    image = Image.fromarray(noise(6, 9, 3))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    image.save(tmp_path / "turned.png", exif=exif)
    assert run_exported.read_image(tmp_path / "turned.png").shape == (9, 6, 3)
    Image.fromarray(noise(6, 9)).save(tmp_path / "grey.png")
    assert run_exported.read_image(tmp_path / "grey.png").shape == (6, 9, 3)
    Image.fromarray(noise(6, 9).astype(np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(ValueError, match="more than 8 bits"):
        run_exported.read_image(tmp_path / "deep.png")


def test_images_that_cannot_be_read(tmp_path, monkeypatch):
    (tmp_path / "text.png").write_text("no image")
    image = Image.fromarray(noise(60, 90, 3))
    image.save(tmp_path / "whole.png")
    # The length of the second chunk is wrong.
    data = bytearray((tmp_path / "whole.png").read_bytes())
    data[33:37] = b"\0\0\0\1"
    (tmp_path / "broken.png").write_bytes(data)
    (tmp_path / "short.png").write_bytes(data[:200])
    for name in ("text.png", "broken.png", "short.png", "none.png", "."):
        with pytest.raises(ValueError, match=f"image {tmp_path / name} can't be read") as problem:
            run_exported.read_image(tmp_path / name)
        assert "\n" not in str(problem.value)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match="exceeds limit"):
        run_exported.read_image(tmp_path / "whole.png")


def test_results_are_called_as_their_images_and_numbered_where_these_have_one_name():
    images = ["a.jpg", "b/a.png", "A.png", "a-2.png", "c.jpg", "a-2.jpg", "a-2"]
    names = run_exported.result_names([Path(image) for image in images])
    assert names == ["a", "a-3", "A-4", "a-2", "c", "a-2-2", "a-2-3"]


class _Brightness(torch.nn.Module):
    def forward(self, image):
        bright = image.mean(dim=1, keepdim=True) - 127.5
        return (torch.cat([-bright, bright], dim=1),)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A file that tells dark from bright."""
    path = tmp_path_factory.mktemp("model") / "brightness.pt2"
    info = {
        "version": run_exported.VERSION,
        "outputs": ["sem_seg"],
        "input": {
            "format": "RGB",
            "pixel_mean": [0.0] * 3,
            "min_size": 0,
            "max_size": 0,
            "size": [8, 16],
            "stride": 1,
            "smallest": 1,
        },
        "classes": {"thing": [], "stuff": ["dark", "bright"]},
    }
    program = torch.export.export(_Brightness(), (torch.zeros(1, 3, 8, 16),))
    torch.export.save(program, path, extra_files={run_exported.METADATA_FILE: json.dumps(info)})
    return path


@pytest.fixture
def run(monkeypatch, capfd):
    """Run the file as a program; gives exit code, stdout and stderr."""

    def run_program(*args):
        monkeypatch.setattr(sys, "argv", ["run_exported.py", *map(str, args)])
        with pytest.raises(SystemExit) as ending:
            runpy.run_path(run_exported.__file__, run_name="__main__")
        return ending.value.code, *capfd.readouterr()

    return run_program


def save_shade(path, shade):
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", (16, 8), (shade,) * 3).save(path)
    return path


def test_an_image_that_cannot_be_read_costs_itself_and_none_of_one_name_another(
    model, run, tmp_path
):
    broken = tmp_path / "broken.png"
    broken.write_text("no image")
    images = [save_shade(tmp_path / "a.jpg", 0), broken, save_shade(tmp_path / "a.png", 255)]
    output = tmp_path / "out"
    code, stdout, stderr = run(model, *images, "--output", output)
    assert code == 0
    assert stderr.startswith(f"left out: image {broken} can't be read")
    assert stdout.splitlines()[-1] == f"2 of 3 images predicted; results are in {output}"
    assert sorted(path.name for path in output.iterdir()) == ["a-2.png", "a.png"]
    assert not np.asarray(Image.open(output / "a.png")).any()
    assert np.asarray(Image.open(output / "a-2.png")).all()


def test_no_image_can_be_read(model, run, tmp_path):
    images = [tmp_path / "a.png", tmp_path / "b.png"]
    code, _, stderr = run(model, *images, "--output", tmp_path / "out")
    assert code == 2
    assert stderr.startswith(f"error: image {images[0]} can't be read")
    assert stderr.endswith("(and 1 more)\n")


def test_nothing_is_overwritten(model, run, tmp_path):
    image = save_shade(tmp_path / "images" / "a.jpg", 0)
    (tmp_path / "a.json").write_text("mine")
    code, _, stderr = run(model, image, "--output", tmp_path)
    assert (code, stderr) == (
        2,
        f"error: {tmp_path / 'a.json'} would be overwritten; choose a new --output\n",
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "images"]


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
@pytest.mark.parametrize("kind", ["none", "text", "zip", "half"])
def test_a_file_that_is_no_model(kind, suffix, model, run, tmp_path):
    if suffix == ".onnx":
        pytest.importorskip("onnxruntime")
    path = tmp_path / f"{kind}{suffix}"
    if kind == "text":
        path.write_text("no model")
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.txt", "no model")
    elif kind == "half":
        data = model.read_bytes()
        path.write_bytes(data[: len(data) // 2])
    image = save_shade(tmp_path / "a.png", 0)
    code, _, stderr = run(path, image, "--output", tmp_path / "out")
    assert code == 2
    words = f"there is no file {path}" if kind == "none" else f"{path} can't be read as a model ("
    assert stderr.startswith(f"error: {words}")
    assert stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
