"""The results of a run as pictures: the worst images first."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from tqdm import tqdm

from segtron.data import load_dataset_dicts
from segtron.data.image_io import read_image
from segtron.errors import UserError
from segtron.evaluation.image_quality import InstanceMatch, match_instances
from segtron.evaluation.masks import as_rle
from segtron.files import replacing_folder
from segtron.visualization.comparison import draw_comparison
from segtron.visualization.layout import contact_sheet, shrink, write_picture

logger = logging.getLogger(__name__)

RESULTS_FILE = "coco_instances_results.json"
ON_OVERVIEW = 12
# Whose rules a score follows, by the name that it has in metrics.json.
PROTOCOLS = {"bbox": "COCO's", "segm": "COCO's", "cityscapes_segm": "Cityscapes'"}


@dataclass(frozen=True)
class ImageResult:
    """One image, what is there and what was predicted.

    Attributes:
        record: its standard dict.
        predictions: as COCO results, with contiguous `category_id`, of at least the score asked
            for.
        match: of the predictions to the record's annotations.
    """

    record: Mapping[str, Any]
    predictions: Sequence[Mapping[str, Any]]
    match: InstanceMatch


def visualize_results(
    cfg: CfgNode, output_dir: Path, *, number: int, min_score: float
) -> list[Path]:
    """Draw the worst images of each test set that a run has predictions of.

    They go to `output_dir/visualizations/<data set>/`: `overview.png`, and a picture an image by
    `draw_comparison`, named by rank, quality and image. What was in that folder is replaced.

    Args:
        cfg: the run's config.
        output_dir: the run's folder, with `inference/<data set>/coco_instances_results.json`.
        number: how many images of each test set to draw.
        min_score: predictions below it don't count.

    Returns:
        The folders made.

    Raises:
        UserError: there are no predictions, they don't belong to the data set, or the data is
            missing.
    """
    inference = output_dir / "inference"
    names = [name for name in cfg.DATASETS.TEST if (inference / name / RESULTS_FILE).is_file()]
    if not names:
        raise UserError(
            f"{inference} holds no <data set>/{RESULTS_FILE} of {', '.join(cfg.DATASETS.TEST)}; "
            "score the model first: tools/train_net.py --eval-only"
        )
    folders = []
    for name in names:
        results = load_image_results(name, inference / name / RESULTS_FILE, min_score)
        folder = output_dir / "visualizations" / name
        with replacing_folder(folder) as temporary:
            _draw(results[:number], MetadataCatalog.get(name), temporary)
        logger.info(
            "%s: the worst %d of %d images", folder, min(number, len(results)), len(results)
        )
        folders.append(folder)
    return folders


def last_scores(metrics_file: Path) -> list[str]:
    """The overall scores of a run's last evaluation, each with the name of its protocol.

    Args:
        metrics_file: metrics.json of a run; it may be missing.

    Returns:
        A line for each kind of AP, such as "segm/AP 36.2 by COCO's protocol".
    """
    lines = metrics_file.read_text(encoding="utf-8").splitlines() if metrics_file.is_file() else []
    for line in reversed(lines):
        scores = {
            name: value
            for name, value in json.loads(line).items()
            if name.endswith("/AP") and name.split("/")[-2] in PROTOCOLS
        }
        if scores:
            return [
                f"{name} {value:.1f} by {PROTOCOLS[name.split('/')[-2]]} protocol"
                for name, value in scores.items()
            ]
    return []


def load_image_results(name: str, results_file: Path, min_score: float) -> list[ImageResult]:
    """Bring saved predictions and ground truth of a data set together.

    Args:
        name: a registered data set with masks.
        results_file: COCO results; `image_id` and `category_id` as in the data set.
        min_score: predictions below it are left out.

    Returns:
        One for each image, the worst first.

    Raises:
        UserError: the file is no COCO results with masks, or not of this data set; or the data set
            is missing.
    """
    records = load_dataset_dicts([name], filter_empty=False)
    predictions = _read_results(name, results_file, {record["image_id"] for record in records})
    results = []
    for record in tqdm(records, unit=" images", desc=name):
        kept = [p for p in predictions[record["image_id"]] if p["score"] >= min_score]
        annotations = [a for a in record.get("annotations", []) if "segmentation" in a]
        size = record["height"], record["width"]
        match = match_instances(
            [as_rle(a["segmentation"], *size) for a in annotations],
            [a["category_id"] for a in annotations],
            [bool(a.get("iscrowd", 0)) for a in annotations],
            [p["segmentation"] for p in kept],
            [p["category_id"] for p in kept],
        )
        results.append(ImageResult({**record, "annotations": annotations}, kept, match))
    # Equal qualities stay in the data set's order.
    return sorted(results, key=lambda result: result.match.quality)


def _read_results(name: str, path: Path, image_ids: set[Any]) -> dict[Any, list[dict[str, Any]]]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); score the model again") from error
    if not isinstance(entries, list):
        raise UserError(f"{path} is not a list of COCO results; score the model again")
    to_contiguous = MetadataCatalog.get(name).get("thing_dataset_id_to_contiguous_id")
    by_image: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for number, entry in enumerate(entries):
        try:
            category = entry["category_id"]
            contiguous = category if to_contiguous is None else to_contiguous[category]
            if entry["image_id"] not in image_ids:
                raise KeyError(entry["image_id"])
            by_image[entry["image_id"]].append(
                {
                    "category_id": contiguous,
                    "score": float(entry["score"]),
                    "segmentation": entry["segmentation"],
                }
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{path}: entry {number} is no COCO result with a mask for {name} ({error!r}); "
                "was it made from another version of the data? Score the model again"
            ) from error
    return by_image


def _draw(results: Sequence[ImageResult], metadata: Any, folder: Path) -> None:
    tiles, titles = [], []
    for rank, result in enumerate(tqdm(results, unit=" pictures", desc="draw"), start=1):
        image_file = Path(result.record["file_name"])
        sheet, errors = draw_comparison(
            read_image(image_file, "RGB"),
            result.record["annotations"],
            result.predictions,
            result.match,
            metadata,
        )
        quality = result.match.quality
        write_picture(folder / f"{rank:03d}_q{quality:.2f}_{image_file.stem[:150]}.png", sheet)
        if rank <= ON_OVERVIEW:
            tiles.append(shrink(errors, 640))
            titles.append(f"{quality:.2f}  {image_file.name}")
    write_picture(folder / "overview.png", contact_sheet(tiles, titles))
