from __future__ import annotations

import errno

import pytest

from segtron.errors import UserError
from segtron.inference.journal import Journal, Position

# With what no text file likes.
HOSTILE = "a\nb\t\"'\u202e\udcff"


def always(name):
    return True


def open_journal(path, is_there=always):
    return Journal(path, is_there)


def fill(path, steps):
    journal = open_journal(path)
    ends = []
    for i in range(steps):
        journal.append(
            {"coco": [[HOSTILE, i]], "csv": [{"i": i}, {"i": i + 0.1}]},
            predicted=[f"{i}{HOSTILE}"],
            unreadable=[f"not {i}"],
            position=Position(0, 2 * i + 2, 2 * i + 2),
        )
        ends.append(path.stat().st_size)
    journal.close()
    return ends


def test_all_that_was_added_comes_back(tmp_path):
    fill(tmp_path / "j", 3)
    journal = open_journal(tmp_path / "j")
    assert journal.position == Position(0, 6, 6)
    assert journal.predicted == 3
    assert journal.unreadable == ["not 0", "not 1", "not 2"]
    records = journal.records("coco")
    for _ in range(2):
        assert list(records) == [[HOSTILE, 0], [HOSTILE, 1], [HOSTILE, 2]]
    assert [entry["i"] for entry in journal.records("csv")] == [0, 0.1, 1, 1.1, 2, 2.1]
    assert list(journal.records("co")) == []


def test_a_tail_that_was_cut_off_anywhere_is_dropped(tmp_path):
    path = tmp_path / "j"
    ends = fill(path, 3)
    content = path.read_bytes()
    lengths = {*range(0, len(content), 7), *(end + i for end in ends for i in (-1, 0, 1))}
    for length in lengths - {len(content) + 1}:
        path.write_bytes(content[:length])
        journal = open_journal(path)
        complete = sum(end <= length for end in ends)
        assert journal.position.number == 2 * complete
        assert path.stat().st_size == ([0, *ends])[complete]
        journal.append({}, predicted=["next"], unreadable=[], position=Position(1, 0, 9))
        journal.close()
        journal = open_journal(path)
        assert (journal.position.number, journal.predicted) == (9, complete + 1)
        assert len(list(journal.records("coco"))) == complete
        journal.close()


@pytest.mark.parametrize("place", [3, 60, -3])
def test_blocks_that_never_reached_the_disk_are_noticed(tmp_path, place):
    path = tmp_path / "j"
    first, _, last = fill(path, 3)
    content = bytearray(path.read_bytes())
    start = first + place if place > 0 else last + place - 10
    content[start : start + 8] = bytes(8)
    path.write_bytes(content)
    assert open_journal(path).position.number == (2 if place > 0 else 4)


def test_images_whose_files_are_gone_are_to_be_predicted_again(tmp_path):
    fill(tmp_path / "j", 4)
    journal = open_journal(tmp_path / "j", lambda name: not name.startswith("2"))
    assert (journal.position.number, journal.predicted) == (4, 2)
    assert len(list(journal.records("coco"))) == 2


def test_a_full_disk_is_a_sentence(tmp_path):
    journal = open_journal(tmp_path / "j")

    class Full:
        def write(self, content):
            raise OSError(errno.ENOSPC, "No space left on device")

    journal._file = Full()
    with pytest.raises(UserError, match="No space left on device; make room there, and go on with"):
        journal.append({}, predicted=[], unreadable=[], position=Position())
