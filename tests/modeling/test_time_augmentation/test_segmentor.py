"""Windows, scales and mirror images, against sums over pixels in plain Python."""

import math

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from detectron2.evaluation import DatasetEvaluator, inference_on_dataset
from detectron2.modeling import build_model
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from segtron.config import get_default_config
from segtron.modeling.test_time_augmentation.segmentor import AveragingSegmentor

from .averaging import averaging_config


class Toy(nn.Module):
    """A semantic model of one function from an image, (C, H, W) float, to logits, (K, H, W).

    Attributes:
        batches: the images of each call.
    """

    def __init__(self, logits) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.logits = logits
        self.batches = []

    @property
    def device(self):
        return self.weight.device

    def forward(self, batched_inputs):
        assert all(set(x) == {"image", "height", "width"} for x in batched_inputs)
        self.batches.append([x["image"] for x in batched_inputs])
        return [
            {
                "sem_seg": F.interpolate(
                    self.weight * self.logits(x["image"].float())[None],
                    (x["height"], x["width"]),
                    mode="bilinear",
                    align_corners=False,
                )[0]
            }
            for x in batched_inputs
        ]


def of_each_pixel(image):
    """Three classes, from the pixel alone."""
    return torch.stack([image[0] / 50, image[1] / 50 - 1, (image[0] - image[2]) / 80])


def of_the_window(image):
    """Two classes, the same all over the window: what the first pixel says."""
    return torch.stack([image[0, 0, 0].expand(image.shape[1:]), torch.zeros(image.shape[1:])])


def from_left_to_right(image):
    """Two classes: the first grows from left to right, whatever there is."""
    height, width = image.shape[1:]
    return torch.stack([torch.arange(width).repeat(height, 1) / 4, torch.zeros(height, width)])


def picture(height, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (3, height, width), generator=generator, dtype=torch.uint8)


def predict(model, image, **size):
    (output,) = model.eval()([{"image": image, **size}])
    assert set(output) == {"sem_seg"}
    result = output["sem_seg"]
    torch.testing.assert_close(result.sum(0), torch.ones(result.shape[1:]), rtol=0, atol=1e-5)
    return result


def plain(model, image, height, width):
    (output,) = model([{"image": image, "height": height, "width": width}])
    return output["sem_seg"].detach().softmax(dim=0)


def close(result, expected, atol=1e-6):
    expected = torch.as_tensor(np.asarray(expected), dtype=torch.float32)
    torch.testing.assert_close(result, expected, rtol=0, atol=atol)


@pytest.fixture
def cfg() -> CfgNode:
    return averaging_config()


@pytest.mark.parametrize(
    ("windows", "scales", "expected"),
    [
        (True, False, {"window": (8, 12), "stride": (5, 7), "min_sizes": (0,), "flip": False}),
        (False, True, {"window": None, "min_sizes": (10, 20), "max_size": 24, "flip": True}),
        (True, True, {"window": (8, 12), "min_sizes": (10, 20), "max_size": 24, "flip": True}),
    ],
)
def test_what_the_config_asks_for(cfg, windows, scales, expected):
    cfg.TEST.SLIDING_WINDOW.ENABLED = windows
    cfg.TEST.AUG.ENABLED = scales
    toy = Toy(of_each_pixel)
    model = AveragingSegmentor(cfg, toy)
    assert model.model is toy
    assert {name: getattr(model, name) for name in expected} == expected


@pytest.mark.parametrize("size", [{}, {"height": 17, "width": 31}])
@pytest.mark.parametrize("window", [(9, 14), (40, 40), (9, 40), None])
def test_one_window_says_what_the_model_says(window, size):
    image = picture(9, 14)
    toy = Toy(of_each_pixel)
    result = predict(AveragingSegmentor(toy, window=window, stride=window), image, **size)
    assert [tuple(x.shape) for batch in toy.batches for x in batch] == [(3, 9, 14)]
    close(result, plain(toy, image, size.get("height", 9), size.get("width", 14)), atol=0)


@pytest.mark.parametrize("size", [(23, 37), (8, 37), (23, 12), (5, 100), (61, 3), (9, 13)])
@pytest.mark.parametrize("stride", [(5, 7), (8, 12), (1, 12)])
def test_tiles_of_a_pointwise_model_leave_no_trace(size, stride):
    image, toy = picture(*size), Toy(of_each_pixel)
    result = predict(AveragingSegmentor(toy, window=(8, 12), stride=stride), image)
    close(result, plain(toy, image, *size))
    # All windows have full size, where the image has.
    shape = (3, min(8, size[0]), min(12, size[1]))
    assert {tuple(x.shape) for batch in toy.batches[:-1] for x in batch} == {shape}


def test_overlaps_are_averaged_with_equal_weights():
    # Rows begin at 0, 3 and, moved back, 4; columns at 0, 2 and, moved back, 3.
    height, width, window, stride = 8, 7, (4, 4), (3, 2)
    values = [[round(math.sin(7 * y + x), 3) for x in range(width)] for y in range(height)]
    image = torch.tensor([values] * 3)
    total, count = np.zeros((height, width)), np.zeros((height, width))
    for top in (0, 3, 4):
        for left in (0, 2, 3):
            for y in range(top, top + window[0]):
                for x in range(left, left + window[1]):
                    total[y, x] += 1 / (1 + math.exp(-values[top][left]))
                    count[y, x] += 1
    assert count.min() == 1 and count.max() == 6
    toy = Toy(of_the_window)
    model = AveragingSegmentor(toy, window=window, stride=stride)
    result = predict(model, image)
    close(result, [total / count, 1 - total / count])
    assert [len(batch) for batch in toy.batches] == [4, 4, 1]


def test_a_window_votes_once_however_sure_it_is():
    # Averaged logits would be 25: all for the first class.
    image = torch.zeros(3, 4, 6)
    image[:, 0, 0], image[:, 0, 2] = 100.0, -50.0
    model = AveragingSegmentor(Toy(of_the_window), window=(4, 4), stride=(4, 2))
    close(predict(model, image)[0], [[1, 1, 0.5, 0.5, 0, 0]] * 4)


@pytest.mark.parametrize("width", [6, 7])
def test_mirror_images_are_mirrored_back(width):
    model = AveragingSegmentor(Toy(from_left_to_right), flip=True)
    first = [1 / (1 + math.exp(-x / 4)) for x in range(width)]
    both = [(a + b) / 2 for a, b in zip(first, reversed(first), strict=True)]
    result = predict(model, picture(3, width))
    close(result, [[both] * 3, [[1 - p for p in both]] * 3])


def test_mirror_images_of_a_pointwise_model_say_the_same():
    image, toy = picture(9, 14), Toy(of_each_pixel)
    result = predict(AveragingSegmentor(toy, flip=True), image, height=18, width=25)
    assert torch.equal(toy.batches[1][0], image.flip(-1))
    close(result, plain(toy, image, 18, 25), atol=1e-5)


def test_windows_of_a_mirror_image():
    # Windows of 4 begin at 0 and, moved back, at 1, on the image and on its mirror image.
    values = [0.0, 1.0, -2.0, 3.0, -1.0]
    image = torch.tensor([[values] * 4] * 3)
    toy = Toy(of_the_window)
    model = AveragingSegmentor(toy, window=(4, 4), stride=(4, 4), flip=True)
    p = [1 / (1 + math.exp(-value)) for value in values]
    once = [p[0], *[(p[0] + p[1]) / 2] * 3, p[1]]
    mirrored = [p[3], *[(p[4] + p[3]) / 2] * 3, p[4]]
    expected = [(a + b) / 2 for a, b in zip(once, mirrored, strict=True)]
    close(predict(model, image)[0], [expected] * 4)


def test_scales_are_averaged_at_the_output_size():
    image, toy = picture(9, 14), Toy(of_each_pixel)
    model = AveragingSegmentor(toy, min_sizes=(0, 18, 9, 5), max_size=20)
    result = predict(model, image, height=20, width=31)
    # 18 would make the longer edge 28, so max_size counts: 20 * 9 / 14 = 12.86.
    assert [tuple(batch[0].shape) for batch in toy.batches] == [
        (3, 9, 14),
        (3, 13, 20),
        (3, 9, 14),
        (3, 5, 8),
    ]
    scaled = [batch[0] for batch in toy.batches]
    assert torch.equal(scaled[0], image) and torch.equal(scaled[2], image)
    expected = sum(plain(toy, x, 20, 31).double() for x in scaled) / 4
    close(result, expected)


@pytest.mark.parametrize("min_size", [7, 40])
def test_images_are_resized_as_the_mapper_does(min_size):
    image, toy = picture(21, 34), Toy(of_each_pixel)
    predict(AveragingSegmentor(toy, min_sizes=(min_size,), max_size=1000), image)
    resized = toy.batches[0][0]
    pillow = Image.fromarray(image.permute(1, 2, 0).numpy()).resize(
        (resized.shape[2], resized.shape[1]), Image.Resampling.BILINEAR
    )
    assert min(resized.shape[1:]) == min_size
    # Pillow rounds to whole grey levels, once in each direction.
    close(resized, np.array(pillow).transpose(2, 0, 1), atol=1.01)


def test_windows_inside_scales():
    image, toy = picture(10, 15), Toy(of_each_pixel)
    model = AveragingSegmentor(
        toy, window=(8, 8), stride=(6, 6), min_sizes=(6, 16), max_size=99, flip=True
    )
    result = predict(model, image, height=10, width=15)
    shapes = [tuple(x.shape[1:]) for batch in toy.batches for x in batch]
    # 6 x 9 is two windows; 16 x 24 has rows at 0, 6, 8 and columns at 0, 6, 12, 16. Each twice.
    assert shapes.count((6, 8)) == 4 and shapes.count((8, 8)) == 24 and len(shapes) == 28
    scaled = [
        F.interpolate(image[None].float(), size, mode="bilinear", antialias=True)
        for size in ((6, 9), (16, 24))
    ]
    expected = sum(
        F.interpolate(of_each_pixel(x[0]).softmax(0)[None], (10, 15), mode="bilinear")[0].double()
        for x in scaled
    )
    close(result, expected / 2, atol=1e-5)


def test_a_batch_of_images_of_different_sizes():
    sizes = [(9, 30), (20, 11), (4, 4)]
    toy = Toy(of_each_pixel)
    model = AveragingSegmentor(toy, window=(8, 8), stride=(8, 8)).eval()
    images = [picture(*size, seed=i) for i, size in enumerate(sizes)]
    labels = torch.zeros(9, 30, dtype=torch.int64)  # in a validation set they come along
    outputs = model([{"image": image, "sem_seg": labels, "file_name": "a"} for image in images])
    for image, size, output in zip(images, sizes, outputs, strict=True):
        close(output["sem_seg"], plain(toy, image, *size))


def test_inputs_are_left_as_they_are():
    image = torch.randn(3, 9, 14)
    before = image.clone()
    predict(AveragingSegmentor(Toy(of_each_pixel), min_sizes=(0, 5), max_size=99, flip=True), image)
    assert torch.equal(image, before)


def test_no_gradient_is_kept():
    toy = Toy(of_each_pixel)
    model = AveragingSegmentor(toy, window=(8, 8), stride=(8, 8))
    assert not predict(model, picture(9, 14)).requires_grad
    with torch.inference_mode():
        predict(model, picture(9, 14))


def test_training_is_refused():
    model = AveragingSegmentor(Toy(of_each_pixel), flip=True)
    assert model.training
    inputs = [{"image": picture(4, 4)}]
    with pytest.raises(RuntimeError, match="only predicts"):
        model(inputs)
    model.eval()(inputs)
    model.model.train()
    with pytest.raises(RuntimeError, match="only predicts"):
        model(inputs)


class Collects(DatasetEvaluator):
    def reset(self):
        self.outputs = []

    def process(self, inputs, outputs):
        self.outputs += outputs

    def evaluate(self):
        return {"outputs": self.outputs}


@pytest.mark.parametrize("training", [True, False])
def test_the_evaluation_leaves_the_model_in_its_mode(training):
    toy = Toy(of_each_pixel).train(training)
    model = AveragingSegmentor(toy, window=(8, 8), stride=(8, 8))
    image = picture(9, 14)
    found = inference_on_dataset(model, [[{"image": image}]], Collects())
    close(found["outputs"][0]["sem_seg"], plain(toy, image, 9, 14))
    assert toy.training == model.training == training
    assert model.device == torch.device("cpu")


def test_the_model_of_several_processes_is_unwrapped(cfg, process_group):
    cfg.TEST.SLIDING_WINDOW.ENABLED = True
    toy = Toy(of_each_pixel)
    model = AveragingSegmentor(cfg, DistributedDataParallel(toy))
    assert model.model is toy
    close(predict(model, picture(9, 14)), plain(toy, picture(9, 14), 9, 14))


@pytest.fixture(scope="module")
def segmentor():
    cfg = get_default_config()
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.META_ARCHITECTURE = "SemanticSegmentor"
    cfg.MODEL.BACKBONE.NAME = "build_resnet_fpn_backbone"
    cfg.MODEL.RESNETS.DEPTH = 18
    cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = 64
    cfg.MODEL.RESNETS.NORM = "GN"  # random weights without one give enormous numbers
    cfg.MODEL.RESNETS.OUT_FEATURES = ["res2", "res3", "res4", "res5"]
    cfg.MODEL.FPN.IN_FEATURES = ["res2", "res3", "res4", "res5"]
    cfg.MODEL.FPN.OUT_CHANNELS = 8
    cfg.MODEL.SEM_SEG_HEAD.IN_FEATURES = ["p2", "p3"]
    cfg.MODEL.SEM_SEG_HEAD.CONVS_DIM = 8
    cfg.MODEL.SEM_SEG_HEAD.NORM = ""
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 5
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build_model(cfg).eval()


def test_detectron2s_model(segmentor):
    image = picture(37, 51)
    model = AveragingSegmentor(segmentor, window=(32, 32), stride=(24, 24), flip=True)
    result = predict(model, image, height=74, width=102)
    views = [picture(37, 51), picture(37, 51).flip(-1)]
    expected = torch.zeros(2, 5, 37, 51, dtype=torch.float64)
    for view, total in zip(views, expected, strict=True):
        count = torch.zeros(37, 51)
        for top in (0, 5):
            for left in (0, 19):
                place = (slice(top, top + 32), slice(left, left + 32))
                total[(slice(None), *place)] += plain(
                    segmentor, view[(slice(None), *place)], 32, 32
                )
                count[place] += 1
        total /= count
    mean = (expected[0] + expected[1].flip(-1)) / 2
    scaled = F.interpolate(mean[None], (74, 102), mode="bilinear")[0]
    close(result, scaled, atol=1e-5)
    # The parts really say different things.
    assert (expected[0] - expected[1].flip(-1)).abs().max() > 1e-3
