"""What is written of how a training was started."""

from __future__ import annotations

import datetime
import json
import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

import segtron
from segtron.engine import run_description
from segtron.engine.run_description import Code, describe_run, read_code, write_run_description

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="no git")


def description(first_iteration: int = 0) -> dict:
    return describe_run(
        ["tools/train_net.py", "--config-file", "my config.yaml"],
        seed=7,
        precision="bfloat16",
        num_processes=2,
        first_iteration=first_iteration,
    )


def starts(folder: Path) -> list[dict]:
    return json.loads((folder / "run.json").read_text())


def test_what_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setenv("WANDB_API_KEY", "hush")
    found = description(20)
    assert found["command"] == "tools/train_net.py --config-file 'my config.yaml'"
    assert (found["seed"], found["precision"], found["processes"]) == (7, "bfloat16", 2)
    assert found["first_iteration"] == 20
    assert found["versions"]["torch"] == torch.__version__
    assert found["versions"]["segtron"] == segtron.__version__
    assert {"python", "cuda", "torchvision", "detectron2", "numpy", "cv2"} < set(found["versions"])
    assert found["machine"]["cores"] == os.cpu_count()
    assert found["environment"]["SLURM_JOB_ID"] == "4711"
    assert "WORLD_SIZE" not in found["environment"]
    age = datetime.datetime.now().astimezone() - datetime.datetime.fromisoformat(found["date"])
    assert datetime.timedelta(seconds=-1) < age < datetime.timedelta(minutes=1)
    text = json.dumps(found)
    assert "hush" not in text
    assert platform.node() not in text


class TestStarts:
    def test_each_is_added(self, tmp_path: Path) -> None:
        write_run_description(tmp_path, description(), None)
        write_run_description(tmp_path, description(10), None)
        assert [start["first_iteration"] for start in starts(tmp_path)] == [0, 10]
        assert "git" not in starts(tmp_path)[0]

    def test_a_training_from_the_beginning_begins_anew(self, tmp_path: Path) -> None:
        for first in (0, 10, 0):
            write_run_description(tmp_path, description(first), None)
        assert [start["first_iteration"] for start in starts(tmp_path)] == [0]

    @pytest.mark.parametrize("content", ["[{", "\udcff"])
    def test_a_broken_file_does_not_stop_a_training(self, tmp_path: Path, content, caplog) -> None:
        (tmp_path / "run.json").write_bytes(content.encode("utf-8", "surrogateescape"))
        write_run_description(tmp_path, description(10), None)
        assert "run.json can't be read" in caplog.text
        assert len(starts(tmp_path)) == 1

    def test_patches_that_are_the_same_are_written_once(self, tmp_path: Path) -> None:
        for first, patch in enumerate((b"a", b"a", b"", b"b", b"b")):
            code = Code("c0ffee", "main", patch, is_cut=False)
            write_run_description(tmp_path, description(first), code)
        found = [start["git"] for start in starts(tmp_path)]
        assert [git["patch"] for git in found] == [
            "run.patch", "run.patch", None, "run_4.patch", "run_4.patch",
        ]  # fmt: skip
        assert [git["changed"] for git in found] == [True, True, False, True, True]
        assert found[0] == {
            "commit": "c0ffee",
            "branch": "main",
            "changed": True,
            "patch": "run.patch",
            "patch_is_cut": False,
        }
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "run.json", "run.patch", "run_4.patch",
        ]  # fmt: skip
        assert (tmp_path / "run_4.patch").read_bytes() == b"b"

    @pytest.mark.parametrize(
        "before",
        [
            [5],
            [{"git": 5}],
            [{"git": {"patch": 5}}],
            [{"git": {"patch": "../secret"}}],
            {"git": {"patch": "../secret"}},
        ],
    )
    def test_what_others_wrote_there_is_kept_and_not_followed(self, tmp_path: Path, before) -> None:
        (tmp_path / "secret").write_bytes(b"a")
        out = tmp_path / "out"
        out.mkdir()
        (out / "run.json").write_text(json.dumps(before))
        write_run_description(out, description(10), Code("c0ffee", None, b"a", is_cut=False))
        assert starts(out)[0] == (before[0] if isinstance(before, list) else before)
        assert starts(out)[1]["git"]["patch"] == "run_2.patch"


@needs_git
class TestCode:
    @pytest.fixture
    def repository(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """One commit on the branch `work`, of a package and a table."""
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        top = tmp_path / "repository"
        (top / "source" / "package").mkdir(parents=True)
        (top / "source" / "package" / "__init__.py").write_text("a = 1\n")
        (top / "table.csv").write_text("1,2\n")
        (top / ".gitignore").write_text("/ignored/\n")
        self.git(top, "init", "-q", "-b", "work")
        self.commit(top)
        return top

    def git(self, top: Path, *arguments: str) -> str:
        identity = ("-c", "user.name=n", "-c", "user.email=e@example.com")
        command = ["git", *identity, "-C", str(top), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def commit(self, top: Path) -> None:
        self.git(top, "add", "-A")
        self.git(top, "commit", "-q", "-m", "m")

    def test_nothing_changed(self, repository: Path) -> None:
        commit = self.git(repository, "rev-parse", "HEAD").strip()
        assert read_code(repository / "source" / "package") == Code(commit, "work", b"", False)

    def test_what_changed_can_be_applied_elsewhere(self, repository: Path, tmp_path: Path) -> None:
        package = repository / "source" / "package"
        self.git(repository, "clone", "-q", str(repository), str(tmp_path / "clone"))
        (package / "__init__.py").write_text("a = 2\n")
        self.git(repository, "add", "-A")  # staged or not
        (repository / "table.csv").write_text("1,3\n")
        (package / "ümlaut file.py").write_text("b = 1\n")
        (repository / "notes.txt").write_text("not part of the code\n")
        (repository / "ignored").mkdir()
        (repository / "ignored" / "other.py").write_text("c = 1\n")
        before = (repository / ".git" / "index").read_bytes()
        code = read_code(package)
        assert (repository / ".git" / "index").read_bytes() == before
        assert not code.is_cut
        (tmp_path / "run.patch").write_bytes(code.patch)
        clone = tmp_path / "clone"
        self.git(clone, "apply", str(tmp_path / "run.patch"))
        assert (clone / "source" / "package" / "__init__.py").read_text() == "a = 2\n"
        assert (clone / "source" / "package" / "ümlaut file.py").read_text() == "b = 1\n"
        assert (clone / "table.csv").read_text() == "1,3\n"
        assert not (clone / "notes.txt").exists()
        assert b"other.py" not in code.patch

    def test_a_patch_too_large_ends_with_a_whole_file(
        self, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in "abc":
            (repository / f"{name}.py").write_text("x = 1\n" * 100)
        whole = read_code(repository / "source" / "package").patch
        monkeypatch.setattr(run_description, "_MOST_PATCH_BYTES", len(whole) - 100)
        code = read_code(repository / "source" / "package")
        assert code.is_cut
        assert whole.startswith(code.patch)
        assert code.patch.count(b"diff --git") == 2
        assert code.patch.endswith(b"+x = 1\n")
        monkeypatch.setattr(run_description, "_MOST_PATCH_BYTES", 10)
        code = read_code(repository / "source" / "package")
        assert (code.patch, code.is_cut) == (b"", True)
        write_run_description(tmp_path, description(), code)
        [start] = starts(tmp_path)
        assert start["git"]["changed"]
        assert start["git"]["patch"] is None

    def test_large_files_are_named_only(self, repository: Path) -> None:
        (repository / "table.csv").write_text("1,2\n" * 600_000)
        code = read_code(repository / "source" / "package")
        assert len(code.patch) < 300
        assert b"Binary files a/table.csv and b/table.csv differ" in code.patch

    def test_no_program_of_the_repository_is_started(
        self, repository: Path, tmp_path: Path
    ) -> None:
        trap = f"touch {tmp_path / 'started'}; cat"
        for key in ("diff.external", "diff.trap.textconv", "core.fsmonitor", "core.pager"):
            self.git(repository, "config", key, trap)
        (repository / ".git" / "info" / "attributes").write_text("*.csv diff=trap\n")
        (repository / "table.csv").write_text("1,3\n")
        assert b"+1,3" in read_code(repository / "source" / "package").patch
        assert not (tmp_path / "started").exists()

    def test_detached(self, repository: Path) -> None:
        self.git(repository, "checkout", "-q", "--detach")
        assert read_code(repository / "source" / "package").branch is None

    def test_started_from_a_hook_of_another_repository(
        self, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        commit = self.git(repository, "rev-parse", "HEAD").strip()
        self.git(tmp_path, "init", "-q", str(tmp_path / "other"))
        monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
        assert read_code(repository / "source" / "package").commit == commit

    def test_a_package_that_is_not_part_of_the_repository_around_it(self, repository: Path) -> None:
        installed = repository / "ignored" / "site-packages" / "package"
        installed.mkdir(parents=True)
        (installed / "__init__.py").touch()
        assert read_code(installed) is None

    def test_no_repository_and_no_commit(self, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
        (tmp_path / "__init__.py").touch()
        assert read_code(tmp_path) is None
        self.git(tmp_path, "init", "-q")
        self.git(tmp_path, "add", "__init__.py")
        assert read_code(tmp_path) is None

    def test_no_git(self, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "")
        assert read_code(repository / "source" / "package") is None
