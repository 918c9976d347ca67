"""The official scorers, run in an environment of their own, for the Cityscapes scripts need
numpy<2.

Beside these they are what Segtron doesn't depend on: the code of TIDE's authors, and for Boundary
AP, of which the authors' own code is on no package index, faster-coco-eval.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Literal

from segtron.benchmarks.timing import Run
from segtron.errors import UserError
from segtron.files import replacing_folder

_PINS = Path(__file__).parents[3] / "requirements" / "official_scorers.txt"
_WORKER = Path(__file__).with_name("official_worker.py")
# There are wheels of the pinned numpy for these.
_VERSIONS = ((3, 11), (3, 12))

Task = Literal["instances", "labels", "panoptic", "boundary", "error_types"]


class OfficialScorers:
    """The official Cityscapes scripts, TIDE's authors' code, and faster-coco-eval.

    Attributes:
        numpy: the version that they ran with; None before they ran.
        peak_bytes: the most memory that the process of the last run held; None before, and where
            the system doesn't say.
    """

    def __init__(self, python: Path) -> None:
        """
        Args:
            python: the interpreter of an environment that has them.
        """
        self._python = python
        self.numpy: str | None = None
        self.peak_bytes: int | None = None

    def score_instances(self, gt_folder: Path, predictions: Path) -> Run:
        """Run `evalInstanceLevelSemanticLabeling`.

        Args:
            gt_folder: with `<city>/*_gtFine_instanceIds.png`.
            predictions: with one `*_pred.txt` a frame, and the PNGs that it lists.

        Returns:
            The script's seconds, and {"AP", "AP50", "AP-person", ..., "AP50-person", ...} in
            percent, nan where they are undefined.
        """
        return self._run("instances", gt_folder, predictions)

    def score_labels(self, gt_folder: Path, predictions: Path) -> Run:
        """Run `evalPixelLevelSemanticLabeling`.

        Args:
            gt_folder: with `<city>/*_gtFine_labelIds.png` and `*_gtFine_instanceIds.png`.
            predictions: with one PNG of label ids a frame.

        Returns:
            The script's seconds, and {"IoU", "iIoU", "IoU_sup", "iIoU_sup", "IoU-road", ...,
            "iIoU-person", ...} in percent, nan where they are undefined.
        """
        return self._run("labels", gt_folder, predictions)

    def score_panoptic(self, gt_json: Path, pred_json: Path, pred_folder: Path) -> Run:
        """Run `evalPanopticSemanticLabeling` on one core.

        Args:
            gt_json: ground truth in COCO's panoptic format; its PNGs are in the folder beside it.
            pred_json: predictions.
            pred_folder: their PNGs.

        Returns:
            The scorer's seconds, and {"PQ", "SQ", "RQ", "PQ_th", ..., "RQ_st"} in percent, nan
            where they are undefined.
        """
        return self._run("panoptic", gt_json, pred_json, pred_folder)

    def score_boundaries(self, gt_json: Path, results_json: Path, dilation_ratio: float) -> Run:
        """Run faster-coco-eval for Boundary AP on one core.

        Args:
            gt_json: ground truth in COCO's format.
            results_json: results with masks.
            dilation_ratio: see `segtron.evaluation.boundary.boundary_width`.

        Returns:
            Its seconds, those of reading the files among them, and {"AP", "AP50", "AP75", "APs",
            "APm", "APl"} in percent, nan where they are undefined.
        """
        return self._run("boundary", gt_json, results_json, str(dilation_ratio))

    def score_error_types(self, gt_json: Path, results_json: Path) -> Run:
        """Run TIDE on masks.

        Args:
            gt_json: ground truth in COCO's format.
            results_json: results with masks, of all images together at least one.

        Returns:
            Its seconds, without reading the files; and {"AP50"}, the points gained by type of error
            as in `segtron.evaluation.error_types.ErrorScores`, and as "number-classification", ...
            how many errors of the type there are.
        """
        return self._run("error_types", gt_json, results_json)

    def _run(self, task: Task, *args: Path | str) -> Run:
        with tempfile.TemporaryDirectory() as scratch:
            words = [arg.resolve() if isinstance(arg, Path) else arg for arg in args]
            done = subprocess.run(
                [self._python, "-I", _WORKER, task, *words],
                cwd=scratch,
                capture_output=True,
                text=True,
            )
        if done.returncode:
            raise RuntimeError(f"the official scorer failed:\n{done.stdout}{done.stderr}")
        content = json.loads(done.stdout)
        self.numpy = content["numpy"]
        self.peak_bytes = content["peak_bytes"]
        scores = {
            name: math.nan if value is None else value for name, value in content["scores"].items()
        }
        return Run(content["seconds"], scores)


def prepare_official_scorers(cache: Path | None = None) -> OfficialScorers:
    """Find the environment of the official scorers, or make it, which takes some seconds.

    Args:
        cache: the folder that environments are kept in; default: `segtron` in the user's cache.

    Raises:
        UserError: it can't be made: no network, no suitable Python, no room.
    """
    if cache is None:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "segtron"
    try:
        pins = _PINS.read_bytes()
    except OSError as error:
        raise UserError(
            f"{_PINS} cannot be read ({error.strerror}), so it is not known what the official "
            "scorers need; run the benchmark in a clone of the repository"
        ) from error
    interpreter = _suitable_python()
    fingerprint = hashlib.sha256(pins + interpreter.encode()).hexdigest()[:12]
    folder = cache / f"official-scorers-{fingerprint}"
    python = folder / "bin" / "python"
    if not python.exists():
        with replacing_folder(folder) as temporary:
            _run_step([interpreter, "-I", "-m", "venv", str(temporary)])
            install = ["-m", "pip", "install", "--no-deps", "--no-input", "-r", str(_PINS)]
            install.append("--disable-pip-version-check")
            _run_step([str(temporary / "bin" / "python"), "-I", *install])
    return OfficialScorers(python)


def _suitable_python() -> str:
    """A Python for which the pinned packages exist: this one, or another on the PATH."""
    if sys.version_info[:2] in _VERSIONS:
        return sys.executable
    for major, minor in _VERSIONS:
        found = shutil.which(f"python{major}.{minor}")
        if found and not subprocess.run([found, "-c", "import ensurepip"]).returncode:
            return found
    raise UserError(
        "the official Cityscapes scripts need numpy<2 and so Python 3.11 or 3.12, and there is "
        "neither on the PATH; install one"
    )


def _run_step(command: list[str]) -> None:
    """Run a step of making the environment.

    Raises:
        UserError: it failed.
    """
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")]
        reason = (errors or lines or [f"exit code {done.returncode}"])[-1].strip()
        raise UserError(
            f"the environment of the official scorers could not be made ({reason}); "
            "the first time this needs the network"
        )
