"""Values that a key can't have are named before anything is built of them."""

from pathlib import Path

import pytest

from segtron.config import get_default_config, load_config
from segtron.config.checks import check_values
from segtron.errors import UserError


def test_the_defaults_pass() -> None:
    check_values(get_default_config())


@pytest.mark.parametrize(
    ("opts", "said"),
    [
        (("INPUT.RANDOM_FLIP", "both"), "INPUT.RANDOM_FLIP is 'both'; it must be one of none"),
        (("SOLVER.LR_SCHEDULER_NAME", "cosine"), "one of WarmupMultiStepLR"),
        (("SOLVER.MAX_ITER", "0"), "SOLVER.MAX_ITER is 0; it must be 1 or more"),
        (("SOLVER.CHECKPOINT_PERIOD", "0"), "SOLVER.CHECKPOINT_PERIOD is 0"),
        (("SOLVER.STEPS", "(300, 200)"), "each after the one before"),
        (("SOLVER.STEPS", "('a',)"), "a list of iterations"),
        (("DATASETS.TRAIN", "[3]"), "DATASETS.TRAIN holds 3"),
        (("DATASETS.TEST", "[['a']]"), "DATASETS.TEST holds ['a']"),
        (("INPUT.MIN_SIZE_TRAIN", "()"), "INPUT.MIN_SIZE_TRAIN is []"),
        (("INPUT.MIN_SIZE_TRAIN_SAMPLING", "range"), "wants the smallest and the largest"),
        (("INPUT.CROP.SIZE", "(1.5, 0.5)"), "at most 1"),
        (("INPUT.CROP.TYPE", "absolute", "INPUT.CROP.SIZE", "(64,)"), "in pixels"),
    ],
)
def test_a_value_that_a_key_cannot_have_is_named(
    tmp_path: Path, opts: tuple[str, ...], said: str
) -> None:
    (tmp_path / "a.yaml").touch()
    with pytest.raises(UserError) as error:
        load_config(tmp_path / "a.yaml", opts)
    assert said in str(error.value)


def test_a_crop_in_pixels_may_be_larger_than_any_image(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("INPUT: {CROP: {TYPE: absolute, SIZE: [9000, 9000]}}")
    assert load_config(tmp_path / "a.yaml").INPUT.CROP.SIZE == [9000, 9000]
