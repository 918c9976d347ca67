"""Checks of what a config can say about a model's parts."""

from __future__ import annotations

from collections.abc import Sequence

from segtron.errors import UserError


def check_choice(key: str, value: str, choices: Sequence[str]) -> str:
    """
    Returns:
        `value`.

    Raises:
        UserError: `value`, which the config key `key` has, is none of `choices`.
    """
    if value not in choices:
        raise UserError(f"{key} is {value!r}; it must be one of {', '.join(map(repr, choices))}")
    return value


def check_dropout(key: str, chance: float) -> float:
    """
    Returns:
        `chance`.

    Raises:
        UserError: `chance`, which the config key `key` has, is no chance to be dropped.
    """
    if not 0.0 <= chance < 1.0:
        raise UserError(f"{key} is {chance}; it must be at least 0 and below 1")
    return chance


def check_channels(key: str, channels: Sequence[int]) -> list[int]:
    """
    Returns:
        `channels` as a list.

    Raises:
        UserError: `channels`, which the config key `key` has, is no list of widths of layers.
    """
    if not all(type(width) is int and width > 0 for width in channels):
        raise UserError(f"{key} is {list(channels)}; it must list whole numbers above 0")
    return list(channels)
