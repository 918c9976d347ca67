"""What all command lines share; that tools end as it says is tested with the tools."""

import argparse
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from segtron.command_line import number_between, run, seed, split_at_key

TOOLS = Path(__file__).parents[1] / "tools"


@pytest.mark.parametrize(
    ("given", "num_paths"),
    [
        ([], 0),
        (["a.png", "photos"], 2),
        (["a.png", "MODEL.DEVICE", "cpu"], 1),
        (["A.PNG", "MODEL.DEVICE", "cpu"], 0),  # as a key looks, and there is no such file
        (["MODEL", "B.png"], 2),
    ],
)
def test_keys_and_values_after_paths(given: list[str], num_paths: int) -> None:
    assert split_at_key(given) == (given[:num_paths], given[num_paths:])


def test_a_file_with_the_name_of_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("A.PNG").touch()
    assert split_at_key(["A.PNG", "MODEL.DEVICE", "cpu"]) == (["A.PNG"], ["MODEL.DEVICE", "cpu"])


NOT_WRITABLE = "The given NumPy array is not writable, and PyTorch does not support that"


@pytest.mark.parametrize(
    ("message", "module", "is_shown"),
    [
        ("torch.meshgrid: in an upcoming release, it will be required", "torch.functional", False),
        (NOT_WRITABLE, "detectron2.data.detection_utils", False),
        # What a user can act upon, and what Segtron itself should be told of.
        (NOT_WRITABLE, "segtron.inference.predictor", True),
        ("This DataLoader will create 8 worker processes", "torch.utils.data.dataloader", True),
        ("a warning of its own", "segtron.data.mapper", True),
    ],
)
def test_warnings_for_the_authors_of_libraries_alone_are_kept_back(
    message: str, module: str, is_shown: bool
) -> None:
    def main() -> None:
        warnings.warn_explicit(message, UserWarning, "a.py", 1, module=module, registry={})

    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        assert run(main) == 0
    assert [str(warning.message) for warning in shown] == [message] * is_shown


@pytest.mark.parametrize("tool", ["benchmark.py", "predict.py"])
def test_help_comes_without_warnings(tool: str) -> None:
    """Those of imports included, which come before anything can be kept back."""
    command = [sys.executable, str(TOOLS / tool), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and done.stderr == ""


def test_numbers_have_two_limits(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--scale", type=number_between(0.05, 20))
    for text in ("0.05", "1", "20"):
        assert parser.parse_args(["--scale", text]).scale == float(text)
    for text, said in {
        "0.0499": "0.0499 is not between 0.05 and 20",
        "20.1": "20.1 is not between 0.05 and 20",
        "nan": "nan is not between 0.05 and 20",
        "wide": "invalid number value: 'wide'",
    }.items():
        with pytest.raises(SystemExit, match="2"):
            parser.parse_args(["--scale", text])
        assert said in capsys.readouterr().err


def test_seeds() -> None:
    assert [seed(text) for text in ("0", "4294967295")] == [0, 4294967295]
    for text in ("-1", "4294967296"):
        with pytest.raises(argparse.ArgumentTypeError, match=f"{text} is not from 0 to 4294967295"):
            seed(text)
