"""Record what another implementation says of the Boundary AP of a small fixed case.

    python -m venv other && other/bin/pip install faster-coco-eval==1.8.0
    other/bin/python tests/evaluation/record_boundary_ap.py

writes boundary_ap.json beside this file. The tests take the same case from here. (The authors' own
implementation, github.com/bowenc0221/boundary-iou-api, is on no package index; it gives the same.)
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as mask_util

RECORD = Path(__file__).with_name("boundary_ap.json")
HEIGHT, WIDTH = 240, 320  # a diagonal of 400 pixels
RATIOS = (0.02, 0.005)
CATEGORY_IDS = [2, 5, 6]
MAX_DETECTIONS = 100


def disc(row: int, column: int, radius: int, hole: int = 0) -> np.ndarray:
    """(HEIGHT, WIDTH) bool with a disc or a ring, perhaps cut off by the border."""
    rows, columns = np.indices((HEIGHT, WIDTH))
    square = (rows - row) ** 2 + (columns - column) ** 2
    return (square < radius**2) & (square >= hole**2)


def box(top: int, bottom: int, left: int, right: int) -> np.ndarray:
    """(HEIGHT, WIDTH) bool with one rectangle."""
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


def fixed_case() -> tuple[list[dict], list[dict], list[dict]]:
    """Images, annotations and results in COCO's form.

    They have crowds, equal scores, duplicates, thin lines, a hole, masks at the border, of one
    pixel, of the whole image and of none, an image without results and one with nothing to find. No
    random numbers: all versions of numpy agree.
    """
    whole = box(0, HEIGHT, 0, WIDTH)
    images = [{"id": number, "height": HEIGHT, "width": WIDTH} for number in (4, 7, 8, 11)]
    annotations = [
        _entry(4, 2, disc(60, 60, 50)),
        _entry(4, 2, disc(150, 250, 60, hole=30)),
        _entry(4, 2, disc(0, 300, 40)),
        _entry(4, 2, box(180, 240, 0, 120), iscrowd=1),
        _entry(4, 5, box(100, 102, 10, 200)),
        _entry(4, 5, disc(200, 200, 12)),
        _entry(8, 2, disc(100, 100, 80)),
        _entry(8, 6, disc(100, 250, 20), iscrowd=1),
        _entry(11, 5, whole),
        _entry(11, 5, box(20, 21, 30, 31)),
        _entry(11, 2, box(50, 150, 50, 150)),
        _entry(11, 2, box(10, 40, 200, 230)),
    ]
    results = [
        _entry(4, 2, disc(61, 62, 50), score=0.9),
        _entry(4, 2, disc(60, 60, 44), score=0.8),  # a fair mask with a poor contour
        _entry(4, 2, disc(152, 250, 60, hole=30), score=0.7),
        _entry(4, 2, disc(150, 250, 60), score=0.7),  # no hole
        _entry(4, 2, disc(0, 301, 40), score=0.6),
        _entry(4, 2, box(190, 230, 10, 60), score=0.95),  # lies in the crowd
        _entry(4, 5, box(100, 102, 10, 190), score=0.5),
        _entry(4, 5, disc(201, 200, 12), score=0.5),
        _entry(4, 6, disc(201, 200, 12), score=0.5),
        _entry(7, 2, disc(120, 120, 30), score=0.65),
        _entry(11, 5, whole, score=0.4),
        _entry(11, 5, box(20, 21, 30, 31), score=0.3),
        _entry(11, 5, box(0, 0, 0, 0), score=0.85),  # no pixel
        _entry(11, 2, box(55, 145, 55, 145), score=0.75),
        _entry(11, 2, box(52, 152, 50, 150), score=0.75),
        _entry(11, 2, box(12, 42, 200, 230), score=0.55),
    ]
    for number, annotation in enumerate(annotations, start=1):
        annotation["id"] = number
    return images, annotations, results


def _entry(image_id: int, category_id: int, mask: np.ndarray, **more: float) -> dict[str, Any]:
    rle = mask_util.encode(np.asfortranarray(mask, dtype=np.uint8))
    entry = {
        "image_id": image_id,
        "category_id": category_id,
        "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
    }
    if "score" not in more:
        box_of_mask = [float(number) for number in mask_util.toBbox(rle)]
        entry |= {"iscrowd": 0, "area": float(mask.sum()), "bbox": box_of_mask}
    return entry | more


def main() -> None:
    import faster_coco_eval
    from faster_coco_eval import COCO, COCOeval_faster

    images, annotations, results = fixed_case()
    ground_truth = COCO()
    ground_truth.dataset = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": k, "name": str(k)} for k in CATEGORY_IDS],
    }
    ground_truth.createIndex()
    precision = {}
    for ratio in RATIOS:
        scorer = COCOeval_faster(
            ground_truth,
            ground_truth.loadRes([dict(result) for result in results]),
            "boundary",
            boundary_dilation_ratio=ratio,
            boundary_cpu_count=1,
        )
        scorer.evaluate()
        scorer.accumulate()
        last = np.asarray(scorer.eval["precision"])[..., -1]
        # mean over recalls: (10 IoU thresholds, classes, 4 areas), -1 where undefined
        precision[str(ratio)] = last.mean(axis=1).tolist()
    record = {
        "command": "python tests/evaluation/record_boundary_ap.py",
        "versions": f"faster-coco-eval {faster_coco_eval.__version__}, numpy {np.__version__}",
        "precision": precision,
    }
    RECORD.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
