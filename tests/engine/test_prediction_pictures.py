"""Pictures in the middle of a training, and that they leave no trace in it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.data.catalog import Metadata
from detectron2.structures import Boxes, BoxMode, Instances
from detectron2.utils.events import EventStorage
from PIL import Image
from torch import nn

from segtron.config import load_config
from segtron.data.panoptic_png import write_panoptic_png
from segtron.engine import prediction_pictures
from segtron.engine.prediction_pictures import build_prediction_pictures, draw_beside_truth
from segtron.errors import UserError
from segtron.modeling.build import build_model

HEIGHT, WIDTH = 64, 96
METADATA = Metadata(
    name="by hand",
    thing_classes=["square"],
    thing_colors=[(255, 0, 0)],
    stuff_classes=["square", "ground"],
    stuff_colors=[(255, 0, 0), (0, 255, 0)],
    panoptic_classes=["square", "ground"],
    panoptic_colors=[(255, 0, 0), (0, 255, 0)],
)


def square() -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[20:50, 40:80] = True
    return mask


def instances(scores: list[float]) -> Instances:
    masks = torch.from_numpy(square()).repeat(len(scores), 1, 1)
    return Instances(
        (HEIGHT, WIDTH),
        pred_boxes=Boxes(torch.tensor([[40.0, 20, 80, 50]] * len(scores))),
        pred_masks=masks,
        pred_classes=torch.zeros(len(scores), dtype=torch.long),
        scores=torch.tensor(scores),
    )


@pytest.fixture
def record(tmp_path: Path) -> dict[str, Any]:
    """A grey image with a square, as instance, as class of pixels, and as segment."""
    Image.fromarray(np.full((HEIGHT, WIDTH, 3), 128, np.uint8)).save(tmp_path / "a.png")
    classes = np.where(square(), 0, 1).astype(np.uint8)
    Image.fromarray(classes).save(tmp_path / "classes.png")
    write_panoptic_png(tmp_path / "segments.png", classes.astype(np.int32) + 1)
    return {
        "file_name": str(tmp_path / "a.png"),
        "height": HEIGHT,
        "width": WIDTH,
        "image_id": 1,
        "sem_seg_file_name": str(tmp_path / "classes.png"),
        "annotations": [
            {
                "bbox": [40, 20, 80, 50],
                "bbox_mode": BoxMode.XYXY_ABS,
                "category_id": 0,
                "segmentation": [[40, 20, 80, 20, 80, 50, 40, 50]],
            }
        ],
    }


@pytest.fixture
def panels(monkeypatch: pytest.MonkeyPatch):
    """What was last drawn, before it went onto a sheet."""
    drawn: list[np.ndarray] = []

    def keep(pictures: list[np.ndarray], titles: list[str]) -> np.ndarray:
        drawn[:] = pictures
        assert titles == ["ground truth", "prediction"]
        return pictures[0]

    monkeypatch.setattr(prediction_pictures, "side_by_side", keep)
    return drawn


def draw(record: dict[str, Any], output: dict[str, Any], min_score: float = 0.5) -> None:
    draw_beside_truth(record, output, METADATA, min_score=min_score, title="prediction")


def middle(picture: np.ndarray) -> list[int]:
    """The colour within the square, away from its label."""
    return picture[int(40 / HEIGHT * len(picture)), int(70 / WIDTH * picture.shape[1])].tolist()


class TestWhatIsDrawn:
    def test_classes(self, record, panels) -> None:
        right = torch.stack([torch.from_numpy(square()), torch.from_numpy(~square())]).float()
        draw(record, {"sem_seg": right})
        truth, prediction = panels
        np.testing.assert_array_equal(truth, prediction)
        red, green, blue = middle(truth)
        assert red > green == blue
        draw(record, {"sem_seg": right.flip(0)})
        np.testing.assert_array_equal(panels[0], truth)
        red, green, blue = middle(panels[1])
        assert green > red == blue

    def test_instances(self, record, panels) -> None:
        draw(record, {"instances": instances([0.4])})
        truth, prediction = panels
        red, green, _ = middle(truth)
        assert red > green
        assert middle(prediction) == [128, 128, 128]
        draw(record, {"instances": instances([0.4])}, min_score=0.3)
        assert middle(panels[1]) == middle(truth)

    def test_segments(self, record, panels) -> None:
        segments = [
            {"id": 1, "category_id": 0, "isthing": True},
            {"id": 2, "category_id": 1, "isthing": False},
        ]
        path = str(Path(record["file_name"]).with_name("segments.png"))
        full = {**record, "pan_seg_file_name": path, "segments_info": segments}
        ids = torch.from_numpy(np.where(square(), 1, 2)).int()
        # What a panoptic model gives besides is in its segments.
        draw(full, {"panoptic_seg": (ids, segments), "instances": instances([0.9])})
        np.testing.assert_array_equal(*panels)
        red, green, _ = middle(panels[0])
        assert red > green
        # Without ground truth of that kind the image alone is beside it.
        draw(record | {"sem_seg_file_name": None}, {"panoptic_seg": (ids, segments)})
        assert middle(panels[0]) == [128, 128, 128]
        assert middle(panels[1])[0] > 128

    def test_many_instances_are_counted(self, record, panels) -> None:
        many = record | {"annotations": record["annotations"] * 31}
        draw(many, {"instances": instances([0.9] * 31)})
        for counted in panels:
            # the colour of the class in the legend, in the corner
            assert counted[12, 12].tolist() != [128, 128, 128]

    def test_nothing_there(self, record, panels) -> None:
        del record["annotations"], record["sem_seg_file_name"]
        draw(record, {"instances": instances([]), "sem_seg": torch.zeros(2, HEIGHT, WIDTH)})
        assert middle(panels[0]) == [128, 128, 128]

    def test_scores_that_are_no_numbers(self, record) -> None:
        nan = torch.full((2, HEIGHT, WIDTH), float("nan"))
        with pytest.raises(UserError, match="by hand: the model's semantic scores are not finite"):
            draw(record, {"sem_seg": nan})


class TestHook:
    @pytest.fixture
    def cfg(self, tiny_run: Path, tmp_path: Path):
        options = ["OUTPUT_DIR", str(tmp_path / "out"), "LOG.PICTURES_PERIOD", "5"]
        return load_config(tiny_run / "config.yaml", options)

    @pytest.fixture
    def model(self, cfg) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = build_model(cfg)
        model.train()
        # As a frozen part.
        model.backbone.bottom_up.stem.eval()
        return model

    def run(self, cfg, model: nn.Module, iterations: range) -> list[tuple[str, Any, int]]:
        hook = build_prediction_pictures(cfg)
        with EventStorage() as storage:
            hook.trainer = SimpleNamespace(model=model, storage=storage)
            for iteration in iterations:
                hook.trainer.iter = storage.iter = iteration
                hook.after_step()
        return storage._vis_data

    def test_pictures_go_to_files_and_to_the_writers(self, cfg, model, tmp_path: Path) -> None:
        images = self.run(cfg, model, range(12))
        folder = tmp_path / "out" / "pictures"
        # The set has two images, fewer than PICTURES_NUMBER.
        names = [f"{i:07d}_{n}.png" for i in (4, 9) for n in (1, 2)]
        assert sorted(path.name for path in folder.iterdir()) == names
        assert [(name, at) for name, _, at in images] == [
            (f"pictures/{n}", i) for i in (4, 9) for n in (1, 2)
        ]
        for (_, image, _), name in zip(images, names, strict=True):
            assert image.dtype == np.uint8
            np.testing.assert_array_equal(
                image.transpose(1, 2, 0), np.asarray(Image.open(folder / name))
            )

    def test_number(self, cfg, model, tmp_path: Path) -> None:
        cfg = cfg.clone()
        cfg.defrost()
        cfg.LOG.PICTURES_NUMBER = 1
        self.run(cfg, model, range(4, 5))
        [path] = (tmp_path / "out" / "pictures").iterdir()
        assert path.name == "0000004_1.png"

    def test_the_model_is_afterwards_as_before(self, cfg, model) -> None:
        modes = [module.training for module in model.modules()]
        assert len(set(modes)) == 2
        state = {name: value.clone() for name, value in model.state_dict().items()}
        assert any("running_mean" in name for name in state)
        self.run(cfg, model, range(4, 5))
        assert [module.training for module in model.modules()] == modes
        for name, value in model.state_dict().items():
            assert torch.equal(value, state[name]), name
        assert all(parameter.grad is None for parameter in model.parameters())
        assert torch.is_grad_enabled()

    def test_also_after_a_failure(self, cfg, model, monkeypatch: pytest.MonkeyPatch) -> None:
        modes = [module.training for module in model.modules()]

        def fail(*_: Any, **__: Any) -> None:
            assert not any(module.training for module in model.modules())
            raise UserError("no")

        monkeypatch.setattr(prediction_pictures, "draw_beside_truth", fail)
        with pytest.raises(UserError, match="no"):
            self.run(cfg, model, range(4, 5))
        assert [module.training for module in model.modules()] == modes

    def test_a_distributed_model_does_not_wait_for_others(
        self, cfg, model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Distributed(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.module = model

        monkeypatch.setattr(prediction_pictures, "DistributedDataParallel", Distributed)
        self.run(cfg, Distributed(), range(4, 5))
        assert len(list((tmp_path / "out" / "pictures").iterdir())) == 2

    @pytest.mark.parametrize("off", [["LOG.PICTURES_PERIOD", "0"], ["DATASETS.TEST", "()"]])
    def test_off(self, tiny_run: Path, off: list[str]) -> None:
        options = ["LOG.PICTURES_PERIOD", "5", *off]
        assert build_prediction_pictures(load_config(tiny_run / "config.yaml", options)) is None
