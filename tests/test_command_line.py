"""What all command lines share; that tools end as it says is tested with the tools."""

from pathlib import Path

import pytest

from segtron.command_line import split_at_key


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
