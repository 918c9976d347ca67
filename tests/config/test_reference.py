"""The page of config keys: complete, and as the code has it."""

import re
from pathlib import Path

from detectron2.config import CfgNode, get_cfg
from detectron2.projects.point_rend import add_pointrend_config

from segtron.config import get_default_config
from segtron.config.reference import config_reference

PAGE = Path(__file__).parents[2] / "docs" / "config.md"


def leaves(node: CfgNode, path: str = "") -> dict[str, object]:
    found = {}
    for name, value in node.items():
        inner = leaves(value, f"{path}{name}.") if isinstance(value, CfgNode) else {}
        found |= inner or {f"{path}{name}": value}
    return found


def test_the_page_is_that_of_the_code():
    assert PAGE.read_text() == config_reference(), (
        "make it anew: python -m segtron.config.reference > docs/config.md"
    )


def test_every_key_and_its_default_stand_there_once():
    detectron2 = get_cfg()
    add_pointrend_config(detectron2)
    theirs = leaves(detectron2)
    added = {
        name: value
        for name, value in leaves(get_default_config()).items()
        if theirs.get(name, KeyError) != value
    }
    listed = re.findall(r"^\*\*`(.+?)`\*\* = `(.*)`  $", config_reference(), re.MULTILINE)
    assert len(listed) == len({name for name, _ in listed})
    assert {name: eval(default) for name, default in listed} == added


def test_no_key_is_without_a_comment():
    paragraphs = config_reference().split("\n\n")
    assert not [text for text in paragraphs if re.fullmatch(r"(\*\*`.+\n?)+", text)]
