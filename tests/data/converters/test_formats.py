"""The table of formats and the readers' own arguments say the same."""

import dataclasses
import inspect
from pathlib import Path

import pytest

from segtron.data.converters import formats
from segtron.data.converters.formats import COMMON_FLAGS, FORMATS, Option, register_format
from segtron.errors import UserError


@pytest.mark.parametrize("name", FORMATS)
def test_every_argument_of_a_reader_has_an_option(name: str) -> None:
    arguments = inspect.signature(FORMATS[name].open).parameters
    assert list(arguments)[:2] == ["src", "dropped"]
    own = {a for a, p in arguments.items() if p.kind is inspect.Parameter.KEYWORD_ONLY}
    assert {option.argument for option in FORMATS[name].options} == own
    assert all(p.default is not inspect.Parameter.empty for a, p in arguments.items() if a in own)


@pytest.mark.parametrize("name", FORMATS)
def test_examples_are_of_their_format(name: str) -> None:
    assert FORMATS[name].example.split()[0] == name


@pytest.mark.parametrize("name", FORMATS)
def test_the_page_tells_of_every_format(name: str) -> None:
    page = Path(__file__).parents[3] / "docs" / "converting.md"
    assert f"`{name}`" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["", "Via", "my format", "2d", "to-via", "-x", "ä"])
def test_names_must_fit_the_command_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "FORMATS", {})
    with pytest.raises(UserError, match="can't be a command"):
        register_format(name, FORMATS["via"])
    assert not formats.FORMATS


def test_names_are_given_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "FORMATS", dict(FORMATS))
    register_format("mine", FORMATS["via"])
    for name in ("via", "mine"):
        with pytest.raises(UserError, match=f"there is a format '{name}' already"):
            register_format(name, FORMATS["coco"])


@pytest.mark.parametrize(
    ("options", "mistake"),
    [
        *(([Option(flag, "", {})], f"{flag} .* is there already") for flag in COMMON_FLAGS),
        ([Option("--own", "", {}), Option("--own", "", {})], "--own .* is there already"),
        ([Option("--format", "", {})], "--format .* fills 'format'"),
        ([Option("--dropped", "", {})], "--dropped .* fills 'dropped'"),
        ([Option("--own", "", {"dest": "val_share"})], "--own .* fills 'val_share'"),
        ([Option("-o", "", {})], "-o .* is no flag"),
        ([Option("own", "", {})], "own .* is no flag"),
    ],
)
def test_options_that_the_command_can_not_have(monkeypatch, options, mistake) -> None:
    monkeypatch.setattr(formats, "FORMATS", {})
    with pytest.raises(UserError, match=mistake):
        register_format("mine", dataclasses.replace(FORMATS["via"], options=options))
    assert not formats.FORMATS


def test_options_that_the_command_can_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "FORMATS", {})
    options = [
        Option("--format", "", {"dest": "kind"}),
        Option("--boxes", "", {"action": "store_true"}),
        Option("--no-boxes", "", {"action": "store_false", "dest": "boxes"}),
    ]
    register_format("mine", dataclasses.replace(FORMATS["via"], options=options))
    assert list(formats.FORMATS) == ["mine"]


@pytest.mark.parametrize("name", FORMATS)
def test_our_own_formats_could_be_registered(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "FORMATS", {})
    register_format(name, FORMATS[name])
