"""Files with parts of one's own."""

from __future__ import annotations

import pickle
import sys

import pytest

from segtron.errors import UserError
from segtron.parts import load_parts

pytestmark = pytest.mark.usefixtures("no_parts_stay")


def test_a_file_is_a_module_and_finds_what_lies_beside_it(tmp_path):
    (tmp_path / "beside_me.py").write_text("NUMBER = 3\n")
    (tmp_path / "my_own_parts.py").write_text(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "from typing import ClassVar\n"
        "import beside_me\n"
        "@dataclass\nclass Settings:\n"
        "    known: ClassVar[int] = beside_me.NUMBER\n"
        "    size: int = 4\n"
    )
    load_parts([tmp_path / "my_own_parts.py"])
    settings = sys.modules["my_own_parts"].Settings(5)
    assert settings.known == 3 and pickle.loads(pickle.dumps(settings)) == settings


def test_each_is_run_once(tmp_path):
    path = tmp_path / "counting_parts.py"
    path.write_text("open(__file__ + '.txt', 'a').write('run ')\n")
    load_parts([path, tmp_path / "." / "counting_parts.py"])
    load_parts([path])
    assert (tmp_path / "counting_parts.py.txt").read_text() == "run "


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("absent.py", "absent.py is no Python file"),
        ("parts.txt", "parts.txt is no Python file"),
        ("torch.py", "torch.py has the name of a module that is loaded already; rename it"),
    ],
)
def test_what_is_refused(tmp_path, name, sentence):
    if name != "absent.py":
        (tmp_path / name).write_text("")
    with pytest.raises(UserError, match=sentence):
        load_parts([tmp_path / name])


def test_a_file_that_fails_leaves_no_module(tmp_path):
    path = tmp_path / "failing_parts.py"
    path.write_text("1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        load_parts([path])
    assert "failing_parts" not in sys.modules
