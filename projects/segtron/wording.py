"""Numbers, lists and texts from outside in sentences."""

from __future__ import annotations

from collections.abc import Sequence


def count_of(number: int, noun: str) -> str:
    """A number of things in words.

    Args:
        number: 0 or more.
        noun: of one of them, which takes an s for several.

    Example:
        >>> count_of(1, "image"), count_of(2, "image")
        ('1 image', '2 images')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def first_few(words: Sequence[str]) -> str:
    """The first of many words.

    Example:
        >>> first_few(["car", "bus"]), first_few(["car", "bus", "dog", "cat", "sky"])
        ('car, bus', 'car, bus, dog, cat, …')
    """
    return ", ".join(words[:4]) + (", …" if len(words) > 4 else "")


def listed(words: Sequence[str]) -> str:
    """Words, one or more, as a list.

    Example:
        >>> listed(["weights"]), listed(["inputs", "weights", "--save"])
        ('weights', 'inputs, weights and --save')
    """
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def printable(text: str) -> str:
    """A text that a terminal shows as it is: line breaks, control characters, marks that turn the
    direction of writing, and bytes that are no UTF-8 become escapes.

    Example:
        >>> printable("a\\nb")
        'a\\\\nb'
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii")
        for c in text
    )
