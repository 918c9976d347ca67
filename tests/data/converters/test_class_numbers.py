"""Numbers of classes."""

import numpy as np
import pytest

from segtron.data.converters.class_numbers import ClassNumbers
from segtron.errors import UserError


def test_classes_without_an_order_are_sorted_at_the_end() -> None:
    classes = ClassNumbers(None, None)
    assert [classes.number(name, "x") for name in ("dog", "cat", "dog", "Äpfel")] == [0, 1, 0, 2]
    names, ids = classes.final()
    assert names == ["cat", "dog", "Äpfel"] and ids == [2, 1, 3]


def test_known_classes_keep_theirs_and_let_no_other_in() -> None:
    classes = ClassNumbers(["dog", "cat"], ["dog", "cat"])
    assert classes.number("cat", "x") == 1
    assert classes.final() == (["dog", "cat"], [1, 2])
    with pytest.raises(UserError, match=r"a\.json: shapes\[0\] is of the class 'cow'"):
        classes.number("cow", "a.json: shapes[0]")


def test_labels_are_renumbered() -> None:
    classes = ClassNumbers(["c", "b", "a"], ["a", "b", "c"])
    labels = classes.renumbered(np.array([[0, 1, 2, 255]]))
    assert labels.dtype == np.uint8 and labels.tolist() == [[2, 1, 0, 255]]


@pytest.mark.parametrize("name", ["", " ", "a\nb", "\ud800", "a\0"])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(UserError, match="name of a class"):
        ClassNumbers(None, None).number(name, "x")
    with pytest.raises(UserError, match="the list of classes"):
        ClassNumbers([name], None)


def test_two_classes_of_one_name() -> None:
    with pytest.raises(UserError, match="two classes are called 'a'"):
        ClassNumbers(["a", "b", "a"], None)
