"""Record what the official Cityscapes script says of a small fixed case.

It was written for numpy 1, so it runs in an environment of its own:

    python -m venv official && official/bin/pip install "numpy<2" cityscapesscripts==2.3.0 pillow
    official/bin/python tests/evaluation/record_official_sem_seg.py

writes official_sem_seg.json beside this file. The tests take the same case from here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

RECORD = Path(__file__).with_name("official_sem_seg.json")
SCRIPT = "cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling"


def fixed_case() -> list[tuple[np.ndarray, np.ndarray]]:
    """Three images as (instance ids (48, 80) uint16, predicted label ids (48, 80) uint8).

    They have void, groups, cut and tiny instances, a caravan, labels that are nowhere or only in
    the prediction, and one id in two images. No random numbers: all versions of numpy agree.
    """
    first = _canvas(23)  # sky
    first[20:] = 7
    first[16:30, :24] = 11
    first[22:32, 10:30] = 26001
    first[24:34, 26:44] = 26002
    first[30:33, 5:9] = 26
    first[28:40, 50:55] = 24000
    first[26:29, 51:54] = 25000
    first[36:44, 49:57] = 33000
    first[20:26, 60:75] = 29000
    first[46:] = 1
    second = _canvas(7)
    second[:10] = 0
    second[12:14, 40:41] = 24001  # two pixels
    second[14:34, 8:28] = 26001  # the id that the first has, but larger
    second[14:34, 16:18] = 17  # cut in two by a pole
    second[20:30, 40:70] = 24
    second[30:33, 44:50] = 9
    second[40:44, 60:70] = 31005
    third = _canvas(8)  # no instance
    third[:24, :40] = 21

    moved = ((first, (1, 2)), (second, (-2, 1)), (third, (0, 5)))
    guesses = [_labels(np.roll(ids, shift, axis=(0, 1))) for ids, shift in moved]
    row, column = np.indices(first.shape)
    guesses[0][(row * 7 + column * 3) % 19 == 0] = 12  # wall is nowhere in the ground truth
    guesses[0][26:30, 14:22] = 29  # a car as caravan
    guesses[0][30:34, 50:52] = 25  # a person as rider
    guesses[1][(row * 5 + column) % 23 == 0] = 0
    guesses[1][22:28, 45:60] = 26  # a group of persons as car
    guesses[1][40:44, 60:64] = 28  # a train as bus
    guesses[2][30:36, 10:20] = 32  # motorcycle is nowhere in the ground truth
    return list(zip((first, second, third), guesses, strict=True))


def _canvas(label: int) -> np.ndarray:
    return np.full((48, 80), label, dtype=np.uint16)


def _labels(instance_ids: np.ndarray) -> np.ndarray:
    return np.where(instance_ids < 1000, instance_ids, instance_ids // 1000).astype(np.uint8)


def write_case(root: Path, case: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Write ground truth and predictions as the script finds them below a folder."""
    truth, results = root / "gtFine" / "val" / "town", root / "results"
    for folder in (truth, results):
        folder.mkdir(parents=True)
    for number, (instance_ids, prediction) in enumerate(case):
        frame = f"town_{number:06d}_000019"
        Image.fromarray(instance_ids).save(truth / f"{frame}_gtFine_instanceIds.png")
        Image.fromarray(_labels(instance_ids)).save(truth / f"{frame}_gtFine_labelIds.png")
        Image.fromarray(prediction).save(results / f"{frame}_leftImg8bit.png")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_case(Path(folder), fixed_case())
        variables = {
            "CITYSCAPES_DATASET": folder,
            "CITYSCAPES_RESULTS": f"{folder}/results",
            "CITYSCAPES_EXPORT_DIR": folder,
        }
        subprocess.run([sys.executable, "-m", SCRIPT], env=os.environ | variables, check=True)
        said = json.loads(Path(folder, "resultPixelLevelSemanticLabeling.json").read_text())
    record = {
        "command": "python tests/evaluation/record_official_sem_seg.py",
        "versions": f"numpy {np.__version__}, cityscapesscripts 2.3.0",
    }
    record |= {key: value for key, value in said.items() if "core" in key}
    RECORD.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
