"""Panoptic segmentation from end to end: toytown and a set of one's own, trained, scored, shown."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from segtron.data.coco_panoptic import read_coco_panoptic
from segtron.engine import run_job

from .conftest import assert_one_sentence

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs"
SHARED = ROOT.parent / "shared" / "data" / "coco_panoptic"
VAL = "toytown_panoptic_val"
# Small frames and narrow heads: what is tested is the way, not how well the model learns.
FAST = str.split(
    "MODEL.DEVICE cpu DATALOADER.NUM_WORKERS 0 INPUT.MIN_SIZE_TRAIN (96,96) INPUT.MIN_SIZE_TEST 96 "
    "SOLVER.IMS_PER_BATCH 2 SOLVER.STEPS () MODEL.FPN.OUT_CHANNELS 32 "
    "MODEL.SEM_SEG_HEAD.CONVS_DIM 32 MODEL.SEM_SEG_HEAD.UNET.CHANNELS [32,32,32] "
    "MODEL.CENTER_HEAD.CHANNELS [32,32,32] MODEL.ROI_BOX_HEAD.FC_DIM 32 "
    "MODEL.ROI_MASK_HEAD.CONV_DIM 16 MODEL.RPN.POST_NMS_TOPK_TEST 40"
)
# So that there are segments after a few iterations: some right, some wrong, things among them.
LEARN = str.split(
    "SOLVER.MAX_ITER 30 SOLVER.WARMUP_ITERS 0 SOLVER.BASE_LR 0.005 MODEL.SEM_SEG_HEAD.NORM GN "
    "MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH 0.05"
)


@pytest.fixture(scope="session", params=["panoptic_fpn_lite0", "bottom_up_lite0"])
def trained(
    request: pytest.FixtureRequest, datasets: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """OUTPUT_DIR of a short training on toytown, which saves what it predicts."""
    output_dir = tmp_path_factory.mktemp("panoptic") / "out"
    keys = [*FAST, *LEARN, "TEST.SAVE_PANOPTIC", "True", "OUTPUT_DIR", str(output_dir)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DETECTRON2_DATASETS", str(datasets))
        config = CONFIGS / "toytown" / f"{request.param}.yaml"
        run_job(str(config), keys, resume=False, eval_only=False)
    return output_dir


@pytest.fixture
def toytown(datasets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(datasets))


def last_metrics(output_dir: Path) -> dict[str, Any]:
    return json.loads((output_dir / "metrics.json").read_text().splitlines()[-1])


def scores_of(output_dir: Path) -> dict[str, float]:
    return {name: value for name, value in last_metrics(output_dir).items() if "/" in name}


def class_counts(output_dir: Path) -> tuple[int, int, list[int]]:
    """What the config of a run says of its classes: how many things, how many, which are things."""
    model = yaml.safe_load((output_dir / "config.yaml").read_text())["MODEL"]
    head = model["SEM_SEG_HEAD"]
    return model["ROI_HEADS"]["NUM_CLASSES"], head["NUM_CLASSES"], head["THING_CLASSES"]


def check_panoptic_files(folder: Path) -> dict[str, list[tuple[int, int]]]:
    """Read `panoptic.json` and `panoptic/` as another program would.

    Returns:
        Category and area of all segments by the name of the image's file.
    """
    content = read_coco_panoptic(folder / "panoptic.json")
    names = {image["id"]: image for image in content["images"]}
    segments = {}
    for annotation in content["annotations"]:
        image = names[annotation["image_id"]]
        colors = np.asarray(Image.open(folder / "panoptic" / annotation["file_name"]), np.int64)
        assert colors.shape == (image["height"], image["width"], 3)
        ids, areas = np.unique(colors @ [1, 256, 65536], return_counts=True)
        found = dict(zip(ids.tolist(), areas.tolist(), strict=True))
        found.pop(0, None)
        listed = {segment["id"]: segment for segment in annotation["segments_info"]}
        assert {i: segment["area"] for i, segment in listed.items()} == found
        segments[Path(image["file_name"]).name] = sorted(
            (segment["category_id"], segment["area"]) for segment in listed.values()
        )
    assert len(segments) == len(content["images"])
    return segments


def assert_same_scores_from_files(
    gt_json: Path, gt_folder: Path, output_dir: Path, name: str, run_here: Any, out: Path
) -> dict[str, Any]:
    """tools/evaluate.py gives what the run gave; returns its scores."""
    predicted = output_dir / "inference" / name / "panoptic.json"
    files = ["--gt", gt_json, "--gt-png", gt_folder, "--pred", predicted, "--json", out]
    code, stderr = run_here("evaluate.py", "panoptic", *files)
    assert code == 0, stderr
    scores, in_run = json.loads(out.read_text()), last_metrics(output_dir)
    for part in ("", "_th", "_st"):
        for quality in ("PQ", "SQ", "RQ"):
            key = quality + part
            assert scores[key] == pytest.approx(in_run[f"panoptic_seg/{key}"], abs=1e-9)
    for class_name, of_class in scores["per_class"].items():
        quality = math.nan if of_class["PQ"] is None else of_class["PQ"]
        expected = in_run[f"panoptic_seg/PQ-{class_name}"]
        assert quality == pytest.approx(expected, abs=1e-9, nan_ok=True)
    return scores


# Toytown -----------------------------------------------------------------------------------------


def test_a_training_leaves_its_results(trained: Path) -> None:
    scores = last_metrics(trained)
    for name in ("panoptic_seg/PQ", "panoptic_seg/RQ_st", "segm/AP", "sem_seg/mIoU"):
        assert 0 <= scores[name] <= 100
    assert scores["iteration"] == 30
    assert class_counts(trained) == (8, 19, list(range(11, 19)))
    for curve in ("loss", "ap", "miou", "pq"):
        assert Image.open(trained / f"{curve}.png").width > 200
    log = (trained / "log.txt").read_text()
    (table,) = [line for line in log.splitlines() if "PQ" in line and "AP" in line and "|" in line]
    assert [cell.strip() for cell in table.split("|")[1:5]] == ["class", "PQ", "SQ", "RQ"]


def test_the_same_scores_from_the_saved_files(
    datasets: Path, trained: Path, tmp_path: Path, run_here: Any
) -> None:
    assert len(check_panoptic_files(trained / "inference" / VAL)) == 4
    # A copy: panoptic sets are read from these files where there are some.
    root = shutil.copytree(datasets / "toytown", tmp_path / "toytown")
    prepare = ROOT / "datasets" / "prepare_cityscapes.py"
    code, stderr = run_here(prepare, root, "--splits", "val")
    assert code == 0, stderr
    folder = root / "gtFine" / "cityscapes_panoptic_val"
    gt_json, out = folder.with_suffix(".json"), tmp_path / "scores.json"
    scores = assert_same_scores_from_files(gt_json, folder, trained, VAL, run_here, out)
    # Or nothing would be compared. How good the segments are matters more with data of one's own.
    assert sum(of_class["predicted"] for of_class in scores["per_class"].values()) > 8


def test_scoring_again_saves_segments_only_when_asked(
    toytown: None, trained: Path, tmp_path: Path, run_here: Any
) -> None:
    code, stderr = run_here(
        "train_net.py",
        *("--config-file", trained / "config.yaml", "--eval-only"),
        *("MODEL.WEIGHTS", trained / "model_final.pth"),
        *("OUTPUT_DIR", tmp_path, "TEST.SAVE_PANOPTIC", "False"),
    )
    assert code == 0, stderr
    assert scores_of(tmp_path) == pytest.approx(scores_of(trained), abs=1e-9, nan_ok=True)
    inference = tmp_path / "inference" / VAL
    assert not [path for path in inference.iterdir() if path.is_dir()]
    assert not (inference / "panoptic.json").exists()
    # Charts of scores, a fixed number of them; no picture of an image.
    charts = [
        f"{chart}_{task}"
        for chart in ("error_types", "precision_recall", "sizes")
        for task in ("bbox", "segm")
    ]
    pictures = {path.stem for path in tmp_path.rglob("*.png")}
    assert "confusion_matrix" in pictures
    assert pictures <= {"confusion_matrix", *charts}


def test_resuming_goes_on(toytown: None, trained: Path, tmp_path: Path, run_here: Any) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run, ignore=shutil.ignore_patterns("inference", "report"))
    # Without a test set: what is scored is tested above.
    keys = ["SOLVER.MAX_ITER", 32, "DATASETS.TEST", "()", "OUTPUT_DIR", run]
    code, stderr = run_here("train_net.py", "--config-file", run / "config.yaml", "--resume", *keys)
    assert code == 0, stderr
    before = (trained / "metrics.json").read_text()
    after = (run / "metrics.json").read_text()
    assert after.startswith(before)
    (added,) = map(json.loads, after.removeprefix(before).splitlines())
    assert added["iteration"] == 31
    assert 0 < added["total_loss"] < 100


def test_results_are_shown_beside_the_ground_truth(
    toytown: None, trained: Path, run_here: Any, report_content: Any
) -> None:
    code, stderr = run_here("visualize_results.py", trained, "--number", 2)
    assert code == 0, stderr
    content = report_content(trained)
    pq = next(task["overall"]["PQ"] for task in content["scores"] if "PQ" in task["overall"])
    assert pq == round(last_metrics(trained)["panoptic_seg/PQ"], 3)
    gallery = next(gallery for gallery in content["galleries"] if gallery["kind"] == "panoptic")
    assert gallery["data_set"] == VAL
    qualities = [image["numbers"]["PQ"] for image in gallery["images"]]
    assert len(qualities) == 2 and qualities == sorted(qualities)


@pytest.mark.parametrize("source", ["model", "annotation"])
def test_data_is_drawn(toytown: None, tmp_path: Path, run_here: Any, source: str) -> None:
    config = CONFIGS / "toytown" / "panoptic_fpn_lite0.yaml"
    code, stderr = run_here(
        "visualize_data.py",
        *("--config-file", config, "--source", source, "--number", 2, "--output", tmp_path),
    )
    assert code == 0, stderr
    assert len(list(tmp_path.glob("00[12]_*.png"))) == 2
    for path in tmp_path.iterdir():
        assert np.asarray(Image.open(path)).std() > 10


def test_predictions_are_saved_and_drawn(
    toytown: None, datasets: Path, trained: Path, tmp_path: Path, run_here: Any
) -> None:
    images = sorted((datasets / "toytown" / "leftImg8bit" / "val").glob("*/*.png"))[:2]
    arguments = ["--config-file", trained / "config.yaml", "--output", tmp_path]
    arguments += ["--save", "overlay,panoptic", "--input", *images]
    code, stderr = run_here("predict.py", *arguments)
    assert code == 0, stderr
    for image in images:
        overlay = np.asarray(Image.open(tmp_path / image.name))
        assert overlay.shape[0] >= 96
        assert overlay.std() > 10
    found = check_panoptic_files(tmp_path)
    in_run = check_panoptic_files(trained / "inference" / VAL)
    assert found == {image.name: in_run[image.name] for image in images}


# Other models ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "score", "keys"),
    [
        ("mask_rcnn_lite0_FPN", "segm/AP", []),
        ("unet_lite0", "sem_seg/mIoU", ["INPUT.CROP.SIZE", "[64,96]"]),
    ],
)
def test_other_models_get_the_scores_that_they_can_have(
    toytown: None, tmp_path: Path, run_here: Any, config: str, score: str, keys: list[str]
) -> None:
    code, stderr = run_here(
        *("train_net.py", "--config-file", CONFIGS / "quick" / f"{config}.yaml"),
        *(*FAST, *keys, "SOLVER.MAX_ITER", 2, "OUTPUT_DIR", tmp_path),
        *("DATASETS.TRAIN", "('toytown_panoptic_train',)", "DATASETS.TEST", f"('{VAL}',)"),
    )
    assert code == 0, stderr
    scores = scores_of(tmp_path)
    assert 0 <= scores[score] <= 100
    tasks = {name.split("/")[0].removeprefix("cityscapes_") for name in scores}
    assert tasks == ({"bbox", "segm"} if score == "segm/AP" else {"sem_seg"})
    things, classes, _ = class_counts(tmp_path)
    assert (things if score == "segm/AP" else classes) == (8 if score == "segm/AP" else 19)


# Data of one's own -------------------------------------------------------------------------------

# Ids neither in order nor contiguous, things and stuff mixed; a class that is nowhere.
CATEGORIES = [
    {"id": 90, "name": "cat", "isthing": 1},
    {"id": 7, "name": "tree", "isthing": 0},
    {"id": 3, "name": "dog", "isthing": 1},
    {"id": 40, "name": "sky", "isthing": 0},
    {"id": 21, "name": "snow", "isthing": 0},
]


def own_data(folder: Path, base: str = "quick/panoptic_fpn_lite0") -> Path:
    """A config, built on another one, for a panoptic set of one's own.

    In each of its images of 64 x 96 are sky, trees, two dogs that touch, a crowd of cats, and void.
    """
    rng = np.random.default_rng(0)
    shades = {0: 0, 9: 60, 1: 200, 2: 230, 300: 150, 70000: 110}
    categories = {9: 7, 1: 3, 2: 3, 300: 90, 70000: 40}
    entries = []
    for split in ("train", "val"):
        annotations, images = [], []
        for kind in ("images", "panoptic"):
            (folder / split / kind).mkdir(parents=True)
        for number in range(3):
            ids = np.full((64, 96), 70000)
            ids[32:] = 9
            ids[20:50, 10 + 5 * number : 30] = 1
            ids[20:50, 30:50] = 2
            ids[40:60, 60:80] = 300
            ids[:, 90:] = 0
            colors = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=2).astype(np.uint8)
            Image.fromarray(colors).save(folder / split / "panoptic" / f"{number}.png")
            gray = np.vectorize(shades.get)(ids)[:, :, None] + rng.integers(0, 25, (64, 96, 3))
            Image.fromarray(gray.astype(np.uint8)).save(folder / split / "images" / f"{number}.jpg")
            images.append(
                {"id": 5 - number, "file_name": f"{number}.jpg", "height": 64, "width": 96}
            )
            segments = [
                {"id": i, "category_id": category, "iscrowd": int(i == 300)}
                | {"area": int((ids == i).sum())}
                for i, category in categories.items()
            ]
            annotations.append(
                {"image_id": 5 - number, "file_name": f"{number}.png", "segments_info": segments}
            )
        content = {"images": images, "annotations": annotations, "categories": CATEGORIES}
        (folder / split / "gt.json").write_text(json.dumps(content))
        entries.append(
            {"name": f"panoptic_{folder.name}_{split}", "type": "coco_panoptic"}
            | {"json": f"{split}/gt.json", "images": f"{split}/images"}
            | {"panoptic": f"{split}/panoptic"}
        )
    return write_config(folder, entries, base)


def write_config(
    folder: Path, entries: Sequence[dict[str, str]], base: str = "quick/panoptic_fpn_lite0"
) -> Path:
    """A config, built on another one, for two registered sets: to train on and to test on."""
    train, test = (entry["name"] for entry in entries)
    tree = {
        "_BASE_": str(CONFIGS / f"{base}.yaml"),
        "DATASETS": {"REGISTER": list(entries), "TRAIN": [train], "TEST": [test]},
        "TEST": {"SAVE_PANOPTIC": True},
        "OUTPUT_DIR": str(folder / "out"),
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(tree))
    return folder / "config.yaml"


def test_own_data_from_a_config(tmp_path: Path, run_here: Any) -> None:
    config = own_data(tmp_path)
    keys = [*FAST, *LEARN, "SOLVER.MAX_ITER", 24]
    # Or what it takes for dogs so soon would cover everything.
    keys += ["MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH", 0.3]
    code, stderr = run_here("train_net.py", "--config-file", config, *keys)
    assert code == 0, stderr
    out, name = tmp_path / "out", f"panoptic_{tmp_path.name}_val"
    # By id: dog, tree, snow, sky, cat.
    assert class_counts(out) == (2, 5, [0, 4])
    named = yaml.safe_load((out / "config.yaml").read_text())["DATASETS"]
    assert named["THING_CLASSES"] == ["dog", "cat"]
    assert named["STUFF_CLASSES"] == ["dog", "tree", "snow", "sky", "cat"]
    scores = last_metrics(out)
    assert math.isnan(scores["panoptic_seg/PQ-cat"])  # a crowd only
    assert math.isnan(scores["segm/AP-cat"])

    # With the ids of the set itself.
    found = check_panoptic_files(out / "inference" / name)
    assert set(found) == {"0.jpg", "1.jpg", "2.jpg"}
    assert {category for segments in found.values() for category, _ in segments} <= {
        3,
        7,
        21,
        40,
        90,
    }
    gt_json, folder = tmp_path / "val" / "gt.json", tmp_path / "val" / "panoptic"
    from_files = assert_same_scores_from_files(
        gt_json, folder, out, name, run_here, tmp_path / "scores.json"
    )
    assert from_files["per_class"]["tree"]["PQ"] > 50
    assert 0 < from_files["PQ"] < 100


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs photographs that are not in the repository")
def test_photographs_in_cocos_format(tmp_path: Path, run_here: Any) -> None:
    entries = []
    for split in ("train", "val"):
        # The first few of them.
        content = json.loads((SHARED / f"panoptic_{split}.json").read_text())
        content["images"] = sorted(content["images"], key=lambda image: image["id"])[:4]
        kept = {image["id"] for image in content["images"]}
        content["annotations"] = [a for a in content["annotations"] if a["image_id"] in kept]
        (tmp_path / f"{split}.json").write_text(json.dumps(content))
        entries.append(
            {"name": f"photographs_{split}", "type": "coco_panoptic", "json": f"{split}.json"}
            | {"images": str(SHARED / split), "panoptic": str(SHARED / f"panoptic_{split}")}
        )
    config = write_config(tmp_path, entries)
    code, stderr = run_here("train_net.py", "--config-file", config, *FAST, "SOLVER.MAX_ITER", 2)
    assert code == 0, stderr
    out, name = tmp_path / "out", "photographs_val"
    # COCO's ids put the things first.
    assert class_counts(out) == (80, 133, list(range(80)))
    scores = last_metrics(out)
    for score in ("panoptic_seg/PQ", "segm/AP", "sem_seg/mIoU"):
        assert 0 <= scores[score] <= 100
    assert len(check_panoptic_files(out / "inference" / name)) == 4
    gt_json, folder = tmp_path / "val.json", SHARED / "panoptic_val"
    assert_same_scores_from_files(gt_json, folder, out, name, run_here, tmp_path / "scores.json")


# Mistakes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", ["panoptic_fpn_lite0", "bottom_up_lite0"])
def test_instances_alone_train_no_panoptic_model(
    toytown: None, tmp_path: Path, run_here: Any, config: str
) -> None:
    code, stderr = run_here(
        *("train_net.py", "--config-file", CONFIGS / "toytown" / f"{config}.yaml", *FAST),
        *("DATASETS.TRAIN", "('toytown_instance_seg_train',)", "OUTPUT_DIR", tmp_path / "out"),
        *("MODEL.SEM_SEG_HEAD.LOSS.CLASS_WEIGHTS_FROM_DATA", ""),
    )
    words = ["toytown_instance_seg_train", "6 of 6 images have no semantic labels"]
    assert_one_sentence(code, stderr, words)
    assert not (tmp_path / "out").exists()


def test_detectron2s_panoptic_fpn_is_for_other_sets(
    toytown: None, tmp_path: Path, run_here: Any
) -> None:
    code, stderr = run_here(
        *("train_net.py", "--config-file", CONFIGS / "toytown" / "panoptic_fpn_lite0.yaml", *FAST),
        *("MODEL.META_ARCHITECTURE", "PanopticFPN", "OUTPUT_DIR", tmp_path / "out"),
    )
    words = ["toytown_panoptic_train", "PanopticFPN", "take UnifiedPanopticFPN"]
    assert_one_sentence(code, stderr, words)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("split", "damage", "words"),
    [
        ("train", "truncated", ["cannot be read"]),
        ("train", "gray", ["Pillow mode L", "colour picture"]),
        ("train", "size", ["48 x 32", "96 x 64"]),
        ("train", "unlisted", ["segment 77", "doesn't list"]),
        ("train", "area", ["segment 9", "pixels", "area 5"]),
        ("val", "truncated", ["cannot be read"]),
        ("val", "area", ["segment 9", "pixels", "area 5"]),
    ],
)
def test_a_broken_panoptic_file_is_named(
    tmp_path: Path, run_here: Any, split: str, damage: str, words: list[str]
) -> None:
    config = own_data(tmp_path)
    # The second, as what comes first may be looked at sooner than the rest.
    png, gt_json = tmp_path / split / "panoptic" / "1.png", tmp_path / split / "gt.json"
    image, content = Image.open(png), json.loads(gt_json.read_text())
    segments = content["annotations"][1]["segments_info"]
    if damage == "truncated":
        png.write_bytes(png.read_bytes()[:-40])
    elif damage == "unlisted":
        image.putpixel((0, 0), (77, 0, 0))
        image.save(png)
    elif damage == "area":
        segments[0]["area"] = 5
    elif damage == "gray":
        image.convert("L").save(png)
    elif damage == "size":
        image.resize((48, 32), Image.Resampling.NEAREST).save(png)
    gt_json.write_text(json.dumps(content))
    keys = [*FAST, "SOLVER.MAX_ITER", 1]
    code, stderr = run_here("train_net.py", "--config-file", config, *keys)
    assert_one_sentence(code, stderr, [f"{split}/panoptic/1.png", *words])
