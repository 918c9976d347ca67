"""A job in this process: what it leaves behind, and how it ends when the user is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from detectron2.data import MetadataCatalog
from detectron2.modeling import build_model

from segtron.engine import Trainer, run_job
from segtron.errors import UserError


def options(output_dir: Path, *more: str) -> list[str]:
    """One iteration, nothing else at work."""
    short = ["SOLVER.MAX_ITER", "1", "SOLVER.IMS_PER_BATCH", "1", "DATALOADER.NUM_WORKERS", "0"]
    return [*short, "OUTPUT_DIR", str(output_dir), *more]


def test_scoring_leaves_a_config_to_draw_from(tiny_run: Path, tmp_path: Path) -> None:
    weights = ["MODEL.WEIGHTS", str(tiny_run / "model_final.pth")]
    opts = options(tmp_path, *weights)
    run_job(str(tiny_run / "config.yaml"), opts, resume=False, eval_only=True)
    written = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert written["DATASETS"]["TEST"] == ["tiny"]
    (tmp_path / "config.yaml").write_text("mine")
    run_job(str(tiny_run / "config.yaml"), opts, resume=False, eval_only=True)
    assert (tmp_path / "config.yaml").read_text() == "mine"


def test_no_pretrained_weights_are_fetched_for_a_trained_model(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def build(cfg):
        seen.append(cfg.MODEL.WEIGHTS)
        return build_model(cfg)

    monkeypatch.setattr(Trainer, "build_model", staticmethod(build))
    for resume, eval_only in ((False, False), (True, False), (False, True)):
        run_job(
            str(tiny_run / "config.yaml"), options(tmp_path), resume=resume, eval_only=eval_only
        )
    assert seen == ["", *2 * [str(tmp_path / "model_final.pth")]]
    assert yaml.safe_load((tmp_path / "config.yaml").read_text())["MODEL"]["WEIGHTS"] == ""


def test_weights_alone_are_nothing_to_resume(tiny_run: Path, tmp_path: Path) -> None:
    (tmp_path / "model_final.pth").write_bytes((tiny_run / "model_final.pth").read_bytes())
    (tmp_path / "last_checkpoint").write_text("model_final.pth")
    with pytest.raises(UserError, match=r"holds weights, .* MODEL.WEIGHTS .*model_final\.pth"):
        run_job(str(tiny_run / "config.yaml"), options(tmp_path), resume=True, eval_only=False)


def test_scores_are_held_to_those_expected(tiny_run: Path, tmp_path: Path) -> None:
    opts = options(tmp_path, "TEST.EXPECTED_RESULTS", "[['segm', 'AP', 50.0, 50.0]]")
    run_job(str(tiny_run / "config.yaml"), opts, resume=False, eval_only=False)
    assert (tmp_path / "model_final.pth").is_file()


def test_a_resumed_training_names_no_rate_that_it_does_not_use(
    tiny_run: Path, tmp_path: Path
) -> None:
    keys = ["SOLVER.REFERENCE_BATCH_SIZE", "4", "SOLVER.BASE_LR", "0.0001", "DATASETS.TEST", "()"]
    config = str(tiny_run / "config.yaml")
    run_job(config, options(tmp_path, *keys), resume=False, eval_only=False)
    log = (tmp_path / "log.txt").read_text()
    assert log.count("BASE_LR 0.0001, for batches of 4 images, is 2.5e-05 for batches of 1") == 1
    keys += ["SOLVER.MAX_ITER", "2", "SOLVER.REFERENCE_BATCH_SIZE", "2"]
    run_job(config, options(tmp_path, *keys), resume=True, eval_only=False)
    more = (tmp_path / "log.txt").read_text().removeprefix(log)
    assert "checkpoint's learning rates, up to 2.5e-05, and not with the config's, up to 5e-05" in (
        more
    )
    assert "for batches of" not in more


def test_settings_that_do_nothing_are_said_once(tiny_run: Path, tmp_path: Path) -> None:
    more = ["DATASETS.TEST", "()", "LOG.PICTURES_PERIOD", "5", "SOLVER.EMA.ENABLED", "True"]
    more += ["SOLVER.EMA.DECAY", "0.0", "SOLVER.WARMUP_ITERS", "1", "SOLVER.STEPS", "(5,)"]
    run_job(str(tiny_run / "config.yaml"), options(tmp_path, *more), resume=False, eval_only=False)
    log = (tmp_path / "log.txt").read_text()
    for words in ("LOG.PICTURES_PERIOD 5;", "DECAY is 0.0", "WARMUP_ITERS 1 is", "STEPS [5]"):
        assert log.count(words) == 1


def test_a_set_that_nothing_can_score_is_refused_before_training(
    tiny_run: Path, tmp_path: Path
) -> None:
    entry = {"name": "job_unscored", "type": "coco_instance"}
    entry |= {"json": str(tiny_run / "annotations.json"), "images": str(tiny_run / "images")}
    config = yaml.safe_load((tiny_run / "config.yaml").read_text())
    config["DATASETS"] = {"REGISTER": [entry], "TRAIN": ["job_unscored"], "TEST": ["job_unscored"]}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    opts = options(tmp_path / "out", "MODEL.WEIGHTS", str(tmp_path / "gone.pth"))
    with pytest.raises(UserError, match=r"gone\.pth"):
        run_job(str(tmp_path / "config.yaml"), opts, resume=False, eval_only=False)
    metadata = MetadataCatalog.get("job_unscored")
    del metadata.evaluator_type
    metadata.evaluator_type = "beauty"
    with pytest.raises(UserError, match="'beauty'"):
        run_job(str(tmp_path / "config.yaml"), opts, resume=False, eval_only=False)
    assert not (tmp_path / "out").exists()


def test_a_truncated_image_is_a_sentence_in_the_log_and_no_traceback(
    tiny_run: Path, tmp_path: Path
) -> None:
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.png"):
        content = (tiny_run / "images" / name).read_bytes()
        (tmp_path / "images" / name).write_bytes(content[: len(content) // 2])
    (tmp_path / "annotations.json").write_bytes((tiny_run / "annotations.json").read_bytes())
    config = yaml.safe_load((tiny_run / "config.yaml").read_text())
    config["DATASETS"]["REGISTER"][0]["name"] = "job_truncated"
    config["DATASETS"] |= {"TRAIN": ["job_truncated"], "TEST": []}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    out = tmp_path / "out"
    with pytest.raises(UserError, match=r"\.png cannot be read"):
        run_job(str(tmp_path / "config.yaml"), options(out), resume=False, eval_only=False)
    log = (out / "log.txt").read_text()
    assert "The training ends: image" in log
    assert "Traceback" not in log
