"""Classes by number: known from the start, or numbered as they turn up and sorted at the end."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np

from segtron.errors import UserError
from segtron.wording import first_few

_VOID = 255
# Unicode's control characters, and halves of pairs of surrogates, which JSON can hold.
_NOT_WRITTEN = ("Cc", "Cs")


class ClassNumbers:
    """Numbers the classes of a conversion from 0."""

    def __init__(self, known: Sequence[str] | None, of_source: Sequence[str] | None) -> None:
        """
        Args:
            known: all classes in their final order; None where they aren't known yet.
            of_source: the source's own, which its label files number.

        Raises:
            UserError: a name is empty, no text, or comes twice.
        """
        self._numbers: dict[str, int] = {}
        self._is_complete = known is not None
        for name in known or ():
            if name in self._numbers:
                raise UserError(f"two classes are called {name!r}; rename one")
            self._add(name, "the list of classes")
        self._of_source = list(of_source or ())

    def number(self, name: str, where: str) -> int:
        """The number of a class.

        Args:
            name: of the class.
            where: what is of this class.

        Raises:
            UserError: it can't be the name of a class, or is none of those that are known.
        """
        found = self._numbers.get(name)
        if found is not None:
            return found
        if self._is_complete:
            classes = first_few([repr(known) for known in self._numbers])
            raise UserError(
                f"{where} is of the class {name!r}, but the classes are {classes}; correct it, or "
                "add it to them"
            )
        return self._add(name, where)

    def _add(self, name: str, where: str) -> int:
        check_class_name(name, where)
        return self._numbers.setdefault(name, len(self._numbers))

    def renumbered(self, labels: np.ndarray) -> np.ndarray:
        """Semantic labels in the final order.

        Args:
            labels: (H, W) places in the source's own classes, 255 where there is none.

        Returns:
            (H, W) uint8.
        """
        if len(self._numbers) > _VOID:
            raise UserError(f"label PNGs have room for {_VOID} classes, not {len(self._numbers)}")
        table = np.full(_VOID + 1, _VOID, np.uint8)
        for place, name in enumerate(self._of_source):
            table[place] = self.number(name, "the source's label files")
        return table[labels]

    def final(self) -> tuple[list[str], list[int]]:
        """The names in their final order; and for each number the id, which counts them from 1."""
        names = list(self._numbers)
        order = names if self._is_complete else sorted(names)
        ids = {name: place + 1 for place, name in enumerate(order)}
        return order, [ids[name] for name in names]


def check_class_name(name: object, where: str) -> None:
    """Make sure that something can be the name of a class, in all formats.

    Raises:
        UserError: it is empty, no text, or holds control characters.
    """
    is_text = isinstance(name, str) and bool(name.strip())
    if not is_text or any(unicodedata.category(c) in _NOT_WRITTEN for c in name):
        raise UserError(f"{where}: {name!r} can't be the name of a class; write a word")
