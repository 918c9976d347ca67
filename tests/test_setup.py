"""The set-up script: what it chooses, what it says, and that a killed run is mended.

Nothing is installed here: pip's place is taken by a fake that can die at any step.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("set_up", ROOT / "requirements" / "set_up.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


script = load_script()
SetUpError = script.SetUpError


def interpreter(version: tuple[int, ...], makes_venvs: bool = True) -> script.Interpreter:
    return script.Interpreter(f"/bin/python{version[0]}.{version[1]}", version, makes_venvs)


class TestChooseInterpreter:
    def test_python3_comes_first(self):
        machine = {"python3": interpreter((3, 12, 1)), "python3.14": interpreter((3, 14, 0))}
        assert script.choose_interpreter(None, machine.get).version == (3, 12, 1)

    @pytest.mark.parametrize("python3", [(3, 10, 9), (3, 15, 0)])
    def test_else_the_newest_that_suits(self, python3):
        machine = {
            "python3": interpreter(python3),
            "python3.11": interpreter((3, 11, 2)),
            "python3.13": interpreter((3, 13, 0)),
        }
        assert script.choose_interpreter(None, machine.get).version == (3, 13, 0)

    def test_passes_over_one_that_makes_no_venv(self):
        machine = {
            "python3": interpreter((3, 12, 1), makes_venvs=False),
            "python3.11": interpreter((3, 11, 2)),
        }
        assert script.choose_interpreter(None, machine.get).version == (3, 11, 2)

    @pytest.mark.parametrize(
        ("machine", "wanted", "message"),
        [
            ({}, None, "needs Python 3.11 to 3.14 and the PATH has none"),
            (
                {"python3": interpreter((3, 8, 1))},
                None,
                "the PATH has /bin/python3.8 (Python 3.8.1)",
            ),
            ({"python3": interpreter((3, 12, 1), False)}, None, "apt install python3.12-venv"),
            ({"python3": interpreter((3, 12, 1))}, "/no/such", "PYTHON=/no/such does not run"),
            ({"py": interpreter((3, 9, 1))}, "py", "PYTHON=py is /bin/python3.9 (Python 3.9.1)"),
        ],
    )
    def test_says_what_is_missing(self, machine, wanted, message):
        with pytest.raises(SetUpError, match=re.escape(message)):
            script.choose_interpreter(wanted, machine.get)

    def test_asks_a_real_interpreter(self):
        answer = script.ask_interpreter(sys.executable)
        assert answer.version == sys.version_info[:3]
        assert Path(answer.path).samefile(sys.executable)
        assert script.ask_interpreter("/no/such/python") is None
        assert script.ask_interpreter(shutil.which("false")) is None


class TestDetectron2Source:
    @pytest.mark.parametrize(
        ("value", "source"),
        [
            ("wheel", "wheel"),
            ("https://host/detectron2.git", "git+https://host/detectron2.git"),
            ("https://host/detectron2.git@abc", "git+https://host/detectron2.git@abc"),
            ("git+ssh://git@host/d2", "git+ssh://git@host/d2"),
            ("git@host:team/detectron2.git", "git+ssh://git@host/team/detectron2.git"),
            ("https://host/d2-0.6.zip", "https://host/d2-0.6.zip"),
        ],
    )
    def test_urls(self, value, source, tmp_path):
        assert script.detectron2_source(value, tmp_path) == source

    def test_folder_becomes_absolute(self, tmp_path):
        (tmp_path / "d2").mkdir()
        (tmp_path / "d2" / "setup.py").touch()
        assert script.detectron2_source("d2/", tmp_path) == str(tmp_path / "d2")

    def test_refuses_what_is_no_source(self, tmp_path):
        with pytest.raises(SetUpError, match="neither a folder nor a git URL"):
            script.detectron2_source("d2", tmp_path)
        with pytest.raises(SetUpError, match=r"has no setup\.py"):
            script.detectron2_source(str(tmp_path), tmp_path)

    def test_a_folder_is_new_when_its_code_is(self, tmp_path):
        code = tmp_path / "detectron2" / "structures" / "boxes.py"
        code.parent.mkdir(parents=True)
        code.write_text("old")
        before = script.source_fingerprint(str(tmp_path))
        assert script.source_fingerprint(str(tmp_path)) == before
        code.write_text("new")
        assert script.source_fingerprint(str(tmp_path)) != before


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        ("ERROR: [Errno 28] No space left on device", "the disk is full: make room for "),
        (
            "WARNING: Retrying: NewConnectionError(': Failed')\n"
            "ERROR: No matching distribution found for pip==26.3",
            "the package index can't be reached: check the network",
        ),
        (
            "ERROR: No matching distribution found for torch==2.14.1 (from -r x)",
            "the package index has no torch==2.14.1 for this Python and machine",
        ),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM", "does not have the hash"),
        ("fatal: no such repository\nERROR: Failed to build", "“pip” ended with “fatal: no such"),
        ("Traceback\n  File x\nImportError: libGL.so.1\n", "“pip” ended with “ImportError: libGL"),
        ("", "“pip” ended with “no word”"),
    ],
)
def test_explains_a_failure_in_one_sentence(output, sentence):
    explanation = script.explain("pip", output, Path("/x/set-up.log"))
    assert sentence in explanation
    assert "/x/set-up.log" in explanation
    assert "\n" not in explanation


class FakePip:
    """Stands in for Environment._run: makes real, empty venvs, but installs by leaving files.

    Attributes:
        steps: the titles of the steps run so far.
        dies_at: the number of the step, from 0, that is killed half-way.
    """

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.dies_at: int | None = None

    def __call__(self, environment: script.Environment, command: list, title: str) -> None:
        self.steps.append(title)
        command = [str(word) for word in command]
        venv = environment.venv
        if command[1:4] == ["-I", "-m", "venv"]:
            subprocess.run([*command, "--without-pip"], check=True)
        elif "--target" in command:
            site_packages = Path(command[command.index("--target") + 1])
            dist_info = site_packages / "sal_detectron2-0.7.2.dist-info"
            for file in (site_packages / "tools" / "a.py", dist_info / "RECORD"):
                file.parent.mkdir(parents=True)
                file.touch()
            (dist_info / "RECORD").write_text("detectron2/b.py,,\ntools/a.py,,\n")
        elif "runtime.txt" in " ".join(command):
            (venv / "half-made").touch()
        if self.dies_at == len(self.steps) - 1:
            raise KeyboardInterrupt
        if "runtime.txt" in " ".join(command):
            (venv / "half-made").unlink()


@pytest.fixture
def pip(monkeypatch) -> FakePip:
    fake = FakePip()
    monkeypatch.setattr(script.Environment, "_run", lambda *a: fake(*a))
    monkeypatch.setattr(script, "FETCHED", 0)
    monkeypatch.setattr(script, "KEPT", 0)
    return fake


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A checkout with what the set-up reads, on a path with a space."""
    root = tmp_path / "a checkout"
    shutil.copytree(ROOT / "requirements", root / "requirements")
    shutil.copy(ROOT / "setup.py", root)
    return root


def set_up(root: Path, **wishes: str) -> None:
    script.set_up(root, **{"python": sys.executable, **wishes})


class TestSetUp:
    def test_second_run_does_nothing(self, checkout, pip):
        set_up(checkout)
        assert [step[:5] for step in pip.steps] == [f"[{i}/5]" for i in range(1, 6)] + ["     "]
        pip.steps.clear()
        script.set_up(checkout)
        set_up(checkout)
        assert pip.steps == []

    def test_the_wheels_stray_tools_go(self, checkout, pip):
        set_up(checkout)
        assert list(checkout.glob(".venv/lib/*/site-packages/sal_detectron2*/RECORD"))
        assert not list(checkout.glob(".venv/lib/*/site-packages/tools"))

    @pytest.mark.parametrize("step", range(6))
    def test_killed_at_any_step_it_mends_itself(self, checkout, pip, step):
        pip.dies_at = step
        with pytest.raises(KeyboardInterrupt):
            set_up(checkout)
        pip.dies_at = None
        killed = len(pip.steps)
        script.set_up(checkout)
        # All of it again where packages may be half-installed, else Detectron2 alone.
        assert len(pip.steps) - killed == (6 if step < 4 else 2)
        assert not (checkout / ".venv" / "half-made").exists()
        pip.steps.clear()
        script.set_up(checkout)
        assert pip.steps == []

    def test_new_pins_are_installed_into_the_old_environment(self, checkout, pip):
        set_up(checkout)
        pip.steps.clear()
        with open(checkout / "requirements" / "runtime.txt", "a") as file:
            file.write("another-package==1.0\n")
        script.set_up(checkout)
        assert [step[:5] for step in pip.steps] == ["[2/5]", "[3/5]", "[4/5]"]

    def test_a_moved_checkout_gets_a_new_environment(self, checkout, pip):
        set_up(checkout)
        moved = checkout.rename(checkout.with_name("moved"))
        pip.steps.clear()
        script.set_up(moved)
        assert len(pip.steps) == 6

    def test_keeps_to_the_chosen_detectron2(self, checkout, pip, tmp_path, monkeypatch):
        (tmp_path / "d2").mkdir()
        (tmp_path / "d2" / "setup.py").touch()
        monkeypatch.chdir(tmp_path)
        set_up(checkout)
        pip.steps.clear()
        set_up(checkout, detectron2="d2")
        assert pip.steps[0] == f"[5/5] Detectron2 from {tmp_path / 'd2'}"
        pip.steps.clear()
        set_up(checkout, detectron2="d2")
        script.set_up(checkout)
        assert pip.steps == []
        set_up(checkout, detectron2="wheel")
        assert pip.steps == ["[5/5] Detectron2", "      does it all import?"]

    def test_a_source_that_does_not_build_leaves_the_old_one(
        self, checkout, pip, tmp_path, monkeypatch
    ):
        (tmp_path / "setup.py").touch()
        set_up(checkout)
        before = json.loads((checkout / ".venv" / "set-up.json").read_text())

        def fail(environment, command, title):
            raise SetUpError("no compiler")

        monkeypatch.setattr(script.Environment, "_run", fail)
        with pytest.raises(SetUpError, match="no compiler: mend that source or name another"):
            set_up(checkout, detectron2=str(tmp_path))
        assert json.loads((checkout / ".venv" / "set-up.json").read_text()) == before

    def test_refuses_an_environment_of_somebody_else(self, checkout, pip):
        (checkout / ".venv").mkdir()
        (checkout / ".venv" / "pyvenv.cfg").touch()
        with pytest.raises(SetUpError, match="was not made by this set-up"):
            set_up(checkout)
        assert pip.steps == []
        assert [file.name for file in (checkout / ".venv").iterdir()] == ["pyvenv.cfg"]


class TestExitCode:
    """A user's problem is one sentence and exit code 2."""

    @pytest.fixture
    def run(self, checkout, pip, monkeypatch, capsys) -> Callable[..., str]:
        monkeypatch.setattr(script, "ROOT", checkout)

        def run(*arguments: str) -> str:
            assert script.main(["--python", sys.executable, *arguments]) == 2
            errors = [s for s in capsys.readouterr().err.splitlines() if s.startswith("error: ")]
            assert len(errors) == 1
            return errors[0]

        return run

    def test_no_disk_space(self, run, monkeypatch):
        usage = namedtuple("usage", "free")(2.5e9)
        monkeypatch.setattr(script.shutil, "disk_usage", lambda path: usage)
        monkeypatch.setattr(script, "FETCHED", 3)
        monkeypatch.setattr(script, "KEPT", 6)
        assert "2.5 GB of free disk and the set-up takes 9 GB" in run()

    def test_no_index(self, run, monkeypatch):
        def popen(command, **options):
            if "pip" in command:
                command = [sys.executable, "-c", "raise SystemExit('NewConnectionError')"]
            return real_popen(command, **options)

        real_popen = subprocess.Popen
        monkeypatch.setattr(script.Environment, "_run", RUN)
        monkeypatch.setattr(script.subprocess, "Popen", popen)
        assert "the package index can't be reached" in run()

    def test_no_python(self, run):
        assert "PYTHON=/no/such does not run" in run("--python", "/no/such")

    def test_no_such_source(self, run):
        assert "neither a folder nor a git URL" in run("--detectron2", "/no/such")

    def test_disk_full_when_the_record_is_written(self, run, monkeypatch):
        def fail(*paths):
            raise OSError(script.errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(script.os, "replace", fail)
        assert "No space left on device): make room there" in run()

    def test_success_and_interruption(self, checkout, pip, monkeypatch):
        monkeypatch.setattr(script, "ROOT", checkout)
        pip.dies_at = 2
        assert script.main(["--python", sys.executable]) == 130
        pip.dies_at = None
        assert script.main([]) == 0


RUN = script.Environment._run


class TestProgress:
    def test_off_a_terminal_it_names_the_large_files_only(self, capsys):
        with script.Progress("title") as progress:
            progress.read("Collecting torch==2.14.1\n")
            progress.read("  Downloading torch-2.14.1-cp311-cp311-x.whl (820.3 MB)\n")
            progress.read("  Downloading tqdm-4.70.1-py3-none-any.whl (90 kB)\n")
            progress.read("Installing collected packages: " + ", ".join("abcdefghijkl") + "\n")
        assert capsys.readouterr().err.splitlines() == [
            "title",
            "      fetching torch (820.3 MB)",
            "      unpacking 12 packages",
        ]


class TestPins:
    """Every version is pinned, and in one place."""

    def pins(self) -> list[str]:
        folder = ROOT / "requirements"
        # official_scorers.txt is for an environment of its own.
        files = [f for f in folder.glob("*.txt") if f.name != "official_scorers.txt"]
        lines = [line for file in files for line in file.read_text().splitlines()]
        return [line.split(" ")[0] for line in lines if line and not line.startswith("#")]

    def test_each_once(self):
        names = [re.sub("[-_.]+", "-", pin.split("==")[0]).lower() for pin in self.pins()]
        assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in self.pins())
        assert len(names) == len(set(names))

    def test_all_that_is_installed(self):
        """Follows what the named packages need, as far as it is installed here."""
        from importlib.metadata import PackageNotFoundError, requires, version

        from packaging.requirements import Requirement

        pinned = dict(pin.split("==") for pin in self.pins())
        pinned = {re.sub("[-_.]+", "-", name).lower(): v for name, v in pinned.items()}
        if any(pinned[name] != version(name) for name in ("torch", "numpy", "timm")):
            pytest.skip("this environment wasn't made from the pins")
        waiting, unpinned, seen = ["torch", "timm", "cityscapesscripts", "pytest"], [], set()
        while waiting:
            name = re.sub("[-_.]+", "-", waiting.pop()).lower()
            if name in seen:
                continue
            seen.add(name)
            if name not in pinned:
                unpinned.append(name)
            try:
                needed = [Requirement(text) for text in requires(name) or []]
            except PackageNotFoundError:
                continue
            waiting += [r.name for r in needed if not r.marker or r.marker.evaluate({"extra": ""})]
        assert unpinned == []
