from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from segtron.errors import UserError
from segtron.files import refuse_overwriting, replacing, replacing_folder, write_json


def test_a_file_takes_its_place_when_the_block_ends_well(tmp_path):
    path = tmp_path / "new" / "scores.json"
    with replacing(path) as temporary:
        temporary.write_text("1")
        assert not path.exists()
        assert temporary.suffix == ".json"
    assert path.read_text() == "1"
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "scores.json"
    path.write_text("old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_is_a_users_mistake(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"), replacing(tmp_path / "file" / "a.json"):
        pass


def test_a_full_disk_is_a_users_matter_but_other_failures_are_not(tmp_path):
    with pytest.raises(UserError, match="No space left"), replacing(tmp_path / "a"):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a"):
        (tmp_path / "elsewhere").read_text()


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "old.png").write_text("old")
    with replacing_folder(folder) as temporary:
        (temporary / "new.png").write_text("new")
        assert (folder / "old.png").exists()
    assert [path.name for path in folder.iterdir()] == ["new.png"]
    with pytest.raises(RuntimeError), replacing_folder(folder):
        raise RuntimeError
    assert [path.name for path in folder.iterdir()] == ["new.png"]
    assert list(tmp_path.iterdir()) == [folder]


def test_what_would_be_overwritten_is_named(tmp_path):
    taken = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in taken:
        path.write_text("")
    refuse_overwriting([tmp_path / "c.png"])
    with pytest.raises(UserError, match=r"a\.png and 1 more files would be overwritten"):
        refuse_overwriting([tmp_path / "c.png", *taken])


def test_what_could_not_be_written_is_named_before(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "locked").mkdir(mode=0o500)
    cannot = [tmp_path / "file" / "a.json", tmp_path / f"{'a' * 300}.json"]
    if os.geteuid() != 0:  # root may write everywhere
        cannot += [tmp_path / "locked" / "a.json", tmp_path / "locked" / "new" / "a.json"]
    if Path("/proc/self").exists():
        cannot.append(Path("/proc/new/a.json"))
    before = sorted(tmp_path.rglob("*"))
    for path in cannot:
        with pytest.raises(UserError, match=r"cannot write .*; choose another --json"):
            refuse_overwriting([path], "--json")
    refuse_overwriting([tmp_path / "new" / "folder" / "a.json", Path("a.json")], "--json")
    assert sorted(tmp_path.rglob("*")) == before


def test_json_with_half_a_pair_of_surrogates(tmp_path):
    path = tmp_path / "names.json"
    write_json(path, ["ä", "\ud800"])
    assert path.read_bytes() == '["ä", "\\ud800"]'.encode()
    assert json.loads(path.read_bytes()) == ["ä", "\ud800"]


def test_json_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "scores.json"
    write_json(path, {"naïve": [1, None]})
    assert path.read_bytes() == '{"naïve": [1, null]}'.encode()
    # JSON has no nan; what was there stays.
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"AP": float("nan")})
    assert json.loads(path.read_text(encoding="utf-8")) == {"naïve": [1, None]}
    assert [p.name for p in path.parent.iterdir()] == ["scores.json"]
