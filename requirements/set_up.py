"""Makes `.venv`, the environment that the Makefile's targets run in; where it stands, does nothing.

    python3 requirements/set_up.py [--python INTERPRETER] [--detectron2 SOURCE]

`.venv/set-up.json` records what stands. A part that is about to change is struck off that record
first and entered last, so a run that was killed, at whatever moment, is noticed by the next one.

Any Python from 3.7 on can run this file, so that one that is too old for Segtron can say so. It
needs nothing but the standard library.
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Iterator, NamedTuple, Sequence

ROOT = Path(__file__).resolve().parent.parent

OLDEST, NEWEST = (3, 11), (3, 14)  # every pinned package has wheels for these
VERSIONS = "Python {}.{} to {}.{}".format(*OLDEST, *NEWEST)
INTERPRETERS = ("python3", "python3.14", "python3.13", "python3.12", "python3.11", "python")

PINNED_WHEEL = "wheel"  # as a source: the Detectron2 of requirements/detectron2.txt

# Gigabytes that pip fetches and that .venv keeps. On Linux the package index has torch with CUDA.
FETCHED, KEPT = (3, 6) if sys.platform.startswith("linux") else (1, 2)


class SetUpError(Exception):
    """One sentence that says what stands in the way and what to do about it."""


# ---- which interpreter ---------------------------------------------------------------------------


class Interpreter(NamedTuple):
    """A Python that answered: its executable outside any venv, and whether it can make a venv."""

    path: str
    version: tuple[int, ...]
    makes_venvs: bool

    def __str__(self) -> str:
        return f"{self.path} (Python {'.'.join(map(str, self.version))})"

    @property
    def suits(self) -> bool:
        return OLDEST <= tuple(self.version[:2]) <= NEWEST


def ask_interpreter(command: str) -> Interpreter | None:
    """Run an interpreter to see what it is. None: it isn't there, or it doesn't run."""
    question = (
        "import importlib.util, json, os, sys\n"
        "path = os.path.realpath(getattr(sys, '_base_executable', sys.executable))\n"
        "venv = all(importlib.util.find_spec(name) for name in ('venv', 'ensurepip'))\n"
        "print(json.dumps([path, sys.version_info[:3], venv]))"
    )
    try:
        answer = subprocess.run(
            [command, "-c", question], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True
        )
        path, version, makes_venvs = json.loads(answer.stdout.decode())
    except (OSError, subprocess.CalledProcessError, ValueError):
        return None
    return Interpreter(path, tuple(version), makes_venvs)


def choose_interpreter(
    wanted: str | None, ask: Callable[[str], Interpreter | None] = ask_interpreter
) -> Interpreter:
    """Find the interpreter for `.venv`: the wanted one, else python3 if it suits, else the newest.

    Raises:
        SetUpError: there is none of the right version, or none that can make a venv.
    """
    answers = [ask(command) for command in ([wanted] if wanted else INTERPRETERS)]
    found = [interpreter for interpreter in answers if interpreter is not None]
    suitable = [interpreter for interpreter in found if interpreter.suits]
    for interpreter in suitable:
        if interpreter.makes_venvs:
            return interpreter
    if suitable:
        major, minor = suitable[0].version[:2]
        raise SetUpError(
            f"{suitable[0]} has no venv module: install it (Debian, Ubuntu: apt install "
            f"python{major}.{minor}-venv) or name another interpreter with "
            "`make setup PYTHON=/path/to/python3`"
        )
    if wanted:
        problem = f"is {found[0]}" if found else "does not run"
        raise SetUpError(f"PYTHON={wanted} {problem}: name an interpreter of {VERSIONS}")
    on_path = ", ".join(sorted({str(interpreter) for interpreter in found})) or "none at all"
    raise SetUpError(
        f"Segtron needs {VERSIONS} and the PATH has {on_path}: install one of these versions, or "
        "name one with `make setup PYTHON=/path/to/python3`"
    )


# ---- where Detectron2 comes from -----------------------------------------------------------------


def detectron2_source(value: str, working_dir: Path) -> str:
    """Turn DETECTRON2=… into "wheel", the absolute path of a folder or file, or a URL for pip.

    Raises:
        SetUpError: it is none of these.
    """
    if value == PINNED_WHEEL or value.startswith("git+"):
        return value
    if re.match(r"https?://.*\.(whl|zip|tar\.gz)$", value):
        return value
    if re.match(r"(https?|ssh|git|file)://", value):
        return f"git+{value}"
    over_ssh = re.match(r"(\w+@[\w.-]+):(.+)$", value)
    if over_ssh:
        return "git+ssh://{}/{}".format(*over_ssh.groups())
    path = Path(os.path.abspath(working_dir / Path(value).expanduser()))
    if not path.exists():
        raise SetUpError(
            f"DETECTRON2={value} is neither a folder nor a git URL: name a checkout of Detectron2, "
            f"a URL such as https://host/detectron2.git, or `{PINNED_WHEEL}` for the pinned one"
        )
    if path.is_dir() and not ((path / "setup.py").exists() or (path / "pyproject.toml").exists()):
        raise SetUpError(
            f"DETECTRON2={value} has no setup.py: name the top folder of a checkout of Detectron2"
        )
    return str(path)


def source_fingerprint(source: str, root: Path = ROOT) -> str:
    """Digest what `source` names. A URL is taken at its word: name a commit in it."""
    if source == PINNED_WHEEL:
        return fingerprint([root / "requirements" / "detectron2.txt"])
    folder = Path(source)
    if not folder.is_dir():
        return source
    code = [folder / "setup.py", *(folder / "detectron2").rglob("*.py")]
    code += (file for suffix in ("h", "cpp", "cu") for file in folder.rglob(f"*.{suffix}"))
    return fingerprint([file for file in sorted(code) if file.is_file()])


# ---- what stands ---------------------------------------------------------------------------------


def fingerprint(files: Sequence[Path]) -> str:
    """Digest the files' content, in the given order."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


class Record:
    """What stands in an environment, kept in `.venv/set-up.json`.

    Keys, each absent until its part stands: `location` of .venv (it works in no other place),
    `interpreter` (its path, which a later run keeps to), `packages` (the fingerprint
    of what was installed), `detectron2` (its source, which a later run keeps to, and fingerprint).
    """

    def __init__(self, venv: Path) -> None:
        self.file = venv / "set-up.json"
        try:
            self.entries = dict(json.loads(self.file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            self.entries = {}

    def get(self, key: str) -> Any:
        return self.entries.get(key)

    def update(self, **entries: Any) -> None:
        """Enter these parts, strike off those that are None, and write it all at one stroke."""
        self.entries = {k: v for k, v in {**self.entries, **entries}.items() if v is not None}
        draft = self.file.with_suffix(".draft")
        draft.write_text(json.dumps(self.entries, indent=1), encoding="utf-8")
        os.replace(draft, self.file)


# ---- what goes wrong -----------------------------------------------------------------------------

NO_CONNECTION = re.compile(
    r"NewConnectionError|NameResolutionError|ConnectTimeout|ReadTimeout|ProxyError|SSLError|"
    r"ConnectionResetError|Connection broken|Max retries exceeded|HTTP error|connection error|"
    r"Could not fetch URL|Temporary failure in name resolution"
)


def explain(step: str, output: str, log: Path) -> str:
    """Say in one sentence why a step whose command printed `output` failed, and what to do."""
    details = f"(details: {log})"
    if "No space left on device" in output or "Disk quota exceeded" in output:
        return f"the disk is full: make room for {FETCHED + KEPT} GB and run it again {details}"
    if "DO NOT MATCH THE HASHES" in output:
        return (
            "the package index served a file that does not have the hash in requirements/, so it "
            f"was not installed: ask whoever runs that index {details}"
        )
    if NO_CONNECTION.search(output):
        return (
            "the package index can't be reached: check the network, the proxy and what "
            f"`pip config list` says, then run it again {details}"
        )
    missing = re.search(r"No matching distribution found for ([^\s(]+)", output)
    if missing:
        return (
            f"the package index has no {missing[1]} for this Python and machine: check the network "
            f"and which index `pip config list` names {details}"
        )
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"(ERROR|error|fatal|\w*Error):", line)]
    fatal = [line for line in errors if line.startswith("fatal:")]  # git's, before pip's own
    last = (fatal or errors or lines or ["no word"])[-1]
    return f"“{step}” ended with “{last}” {details}"


# ---- what goes on --------------------------------------------------------------------------------


class Progress:
    """Turns pip's output into one line that is kept up to date or, off a terminal, a few lines."""

    LARGE = 100.0  # MB; off a terminal only files of that size are named

    def __init__(self, title: str) -> None:
        self.title, self.doing, self.start = title, "", time.monotonic()
        self.terminal = sys.stderr.isatty()
        self.ended = threading.Event()
        self.ticker = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> Progress:
        if self.terminal:
            self.ticker.start()
        else:
            print(self.title, file=sys.stderr, flush=True)
        return self

    def __exit__(self, *exception: object) -> None:
        self.ended.set()
        if self.terminal:
            self.ticker.join()
            self.doing = ""
            self._show()
            print(file=sys.stderr)

    def read(self, line: str) -> None:
        """Take a line of pip's output."""
        fetched = re.match(r"\s*Downloading (\S+) \((\S+) (\S+)\)", line)
        if fetched:
            file, size, unit = fetched.groups()
            is_large = unit == "GB" or (unit == "MB" and float(size) >= self.LARGE)
            self._say(f"fetching {file.split('-')[0]} ({size} {unit})", is_large)
        elif line.startswith("Installing collected packages:"):
            count = line.count(",") + 1
            self._say(f"unpacking {count} packages", count > 10)

    def _say(self, doing: str, matters: bool) -> None:
        self.doing = doing
        if matters and not self.terminal:
            print(f"      {doing}", file=sys.stderr, flush=True)

    def _tick(self) -> None:
        while not self.ended.wait(0.25):
            self._show()

    def _show(self) -> None:
        seconds = int(time.monotonic() - self.start)
        width = shutil.get_terminal_size().columns - 1
        line = f"{self.title}  {seconds // 60}:{seconds % 60:02d}  {self.doing}"
        print(f"\r{line[:width]:{width}}", end="", file=sys.stderr, flush=True)


# ---- the environment -----------------------------------------------------------------------------


class Environment:
    """The folder `.venv` of a checkout, its record, and the steps that change both."""

    def __init__(self, root: Path = ROOT) -> None:
        self.root, self.venv = root, root / ".venv"
        self.python, self.log = self.venv / "bin" / "python", self.venv / "set-up.log"
        self.lock: int | None = None
        self.record = Record(self.venv)

    def is_foreign(self) -> bool:
        """Tell whether `.venv` is an environment that somebody else made."""
        return (self.venv / "pyvenv.cfg").exists() and not any(self.venv.glob("set-up.*"))

    def is_whole(self) -> bool:
        """Tell whether every package was installed, here, by an interpreter that still exists."""
        return (
            self.record.get("packages") is not None
            and self.record.get("location") == str(self.venv)
            and self.python.exists()
        )

    def packages_fingerprint(self) -> str:
        """Digest what `install_packages` depends on."""
        names = ("installer.txt", "runtime.txt", "development.txt", "transitive.txt", "set_up.py")
        folder = self.root / "requirements"
        return fingerprint([*(folder / name for name in names), self.root / "setup.py"])

    def has_detectron2(self, source: str | None) -> bool:
        """Tell whether Detectron2 stands, from `source` if that is given."""
        kept = self.record.get("detectron2") or [PINNED_WHEEL, None]
        if source is None and kept[0] != PINNED_WHEEL:
            return kept[1] is not None  # wherever it came from
        source = source or PINNED_WHEEL
        return kept == [source, source_fingerprint(source, self.root)]

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep any other set-up of this checkout waiting, and read the record as that one left it.

        pip inherits the lock: should this process be killed, the next one waits for pip's end.
        """
        self.venv.mkdir(exist_ok=True)
        with open(self.venv / "set-up.lock", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print("Another set-up is at work here: waiting for it.", file=sys.stderr)
                fcntl.flock(file, fcntl.LOCK_EX)
            self.lock = file.fileno()
            self.record = Record(self.venv)
            yield

    def create(self, interpreter: Interpreter, detectron2: str) -> None:
        """Make an empty venv in place of what lies there.

        `detectron2` is the source that is to follow: a later run keeps to it, should this one die.
        """
        self.record.update(
            packages=None,
            location=None,
            interpreter=interpreter.path,
            detectron2=[detectron2, None],
        )
        for entry in self.venv.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry.name not in ("set-up.json", "set-up.lock"):
                entry.unlink()
        free = shutil.disk_usage(self.venv).free / 1e9
        if free < FETCHED + KEPT:
            raise SetUpError(
                f"{self.root} has {free:.1f} GB of free disk and the set-up takes {FETCHED + KEPT} "
                f"GB, of which {KEPT} GB stay: make room, or clone Segtron to a larger disk"
            )
        print(
            f"Setting up .venv with {interpreter}, once: {FETCHED} GB to fetch, {KEPT} GB on disk, "
            "two minutes or more, depending on the network.",
            file=sys.stderr,
        )
        self._run([interpreter.path, "-I", "-m", "venv", self.venv], "[1/5] empty environment")
        self.record.update(location=str(self.venv))

    def install_packages(self) -> None:
        """Install everything but Detectron2."""
        installed = self.packages_fingerprint()
        self.record.update(packages=None)
        installer, runtime, development, transitive = (
            self.root / "requirements" / f"{name}.txt"
            for name in ("installer", "runtime", "development", "transitive")
        )
        self._pip("install", "-r", installer, title="[2/5] pip")
        # No isolation: the few packages without a wheel are to be built by the pinned setuptools.
        # No compiling: check_imports does it, for the modules that are used.
        self._pip(
            *("install", "--no-build-isolation", "--no-compile"),
            *("-r", runtime, "-r", development, "-c", transitive),
            title="[3/5] torch and all other packages",
        )
        self._pip(
            *("install", "--no-build-isolation", "--no-deps", "-e", self.root),
            title="[4/5] Segtron",
        )
        self.record.update(packages=installed)

    def install_detectron2(self, source: str) -> None:
        """Put the Detectron2 from `source` in the place of any other."""
        title = "[5/5] Detectron2"
        installed = [source, source_fingerprint(source, self.root)]
        wheels = self.venv / "detectron2-wheel"
        shutil.rmtree(wheels, ignore_errors=True)
        if source != PINNED_WHEEL:
            # Built before the old one goes, so that a build that fails changes nothing.
            self._pip(
                *("wheel", "--no-build-isolation", "--no-deps", "--wheel-dir", wheels, source),
                title=f"{title} from {source}",
            )
        self.record.update(detectron2=[source, None])
        purelib = "import sysconfig; print(sysconfig.get_path('purelib'))"
        answer = subprocess.check_output([str(self.python), "-I", "-c", purelib])
        site_packages = Path(answer.decode().strip())
        remove_stray_tools(site_packages)  # while there is a record of what they are
        for entry in site_packages.glob("*detectron2*"):
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        if source == PINNED_WHEEL:
            # The wheel says that it is for Python 3.10, but what Segtron uses of it is pure Python.
            self._pip(
                *("install", "--no-deps", "--no-compile", "--require-hashes"),
                *("--only-binary=:all:", "--python-version", "3.10", "--implementation", "cp"),
                *("--abi", "none", "--platform", "any", "--target", site_packages),
                *("-r", self.root / "requirements" / "detectron2.txt"),
                title=title,
            )
            remove_stray_tools(site_packages)
        else:
            self._pip("install", "--no-deps", *wheels.glob("*.whl"), title=title)
            shutil.rmtree(wheels, ignore_errors=True)
        self.check_imports()
        self.record.update(detectron2=installed)

    def check_imports(self) -> None:
        """Import the large packages once, which also compiles them for the runs to come."""
        modules = (
            "cv2, detectron2.engine, detectron2.model_zoo, detectron2.modeling, matplotlib.pyplot, "
            "pycocotools.mask, timm, torchvision"
        )
        self._run([self.python, "-I", "-c", f"import {modules}"], "      does it all import?")

    def _pip(self, *arguments: str | Path, title: str) -> None:
        options = ["--no-input", "--disable-pip-version-check", "--progress-bar=off"]
        if shutil.disk_usage(self.venv).free / 1e9 < KEPT + 2 * FETCHED:
            options.append("--no-cache-dir")  # else what is fetched is kept twice
        self._run([self.python, "-I", "-u", "-m", "pip", *arguments, *options], title)

    def _run(self, command: Sequence[str | Path], title: str) -> None:
        """Run a command, with its output in the log and its progress on the terminal.

        Raises:
            SetUpError: it failed.
        """
        scratch = self.venv / "scratch"  # not the system's folder, which may lie in memory
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        lines = []
        with open(self.log, "a", encoding="utf-8") as log, Progress(title) as progress:
            log.write(f"$ {' '.join(map(str, command))}\n")
            process = subprocess.Popen(
                list(map(str, command)),
                cwd=str(self.venv),
                env={**os.environ, "TMPDIR": str(scratch)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                universal_newlines=True,
                pass_fds=() if self.lock is None else (self.lock,),
            )
            with process:
                for line in process.stdout:
                    log.write(line)
                    lines.append(line)
                    progress.read(line)
        shutil.rmtree(scratch, ignore_errors=True)
        if process.returncode:
            raise SetUpError(explain(title.strip(), "".join(lines), self.log))


def remove_stray_tools(site_packages: Path) -> None:
    """Remove the top-level package `tools` that the Detectron2 wheel brings, file by file."""
    for record in site_packages.glob("sal_detectron2-*.dist-info/RECORD"):
        names = [line.split(",")[0] for line in record.read_text(encoding="utf-8").splitlines()]
        for file in (site_packages / name for name in names if name.startswith("tools/")):
            if file.exists():
                file.unlink()
    folder = site_packages / "tools"
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def set_up(root: Path, python: str | None = None, detectron2: str | None = None) -> None:
    """Bring `<root>/.venv` to what is asked for. What isn't asked for stays as it is.

    Raises:
        SetUpError: something that the user can mend stands in the way.
    """
    environment = Environment(root)
    if environment.is_foreign():
        raise SetUpError(
            f"{environment.venv} was not made by this set-up: use it as it is (its own `python -m "
            "pytest` runs the tests), or move it away and run make again"
        )
    interpreter = choose_interpreter(python) if python else None
    source = detectron2_source(detectron2, Path.cwd()) if detectron2 else None

    def stands() -> tuple[bool, bool, bool]:
        record = environment.record
        same_interpreter = interpreter is None or interpreter.path == record.get("interpreter")
        return (
            environment.is_whole() and same_interpreter,
            record.get("packages") == environment.packages_fingerprint(),
            environment.has_detectron2(source),
        )

    if all(stands()):
        return
    with environment.locked():
        has_venv, has_packages, has_detectron2 = stands()
        kept_source = (environment.record.get("detectron2") or [PINNED_WHEEL])[0]
        if not has_venv:
            kept = ask_interpreter(environment.record.get("interpreter") or "")
            if interpreter is None and kept and kept.suits and kept.makes_venvs:
                interpreter = kept
            environment.create(interpreter or choose_interpreter(None), source or kept_source)
        if not (has_venv and has_packages):
            environment.install_packages()
        if not (has_venv and has_detectron2):
            try:
                environment.install_detectron2(source or kept_source)
            except SetUpError as problem:
                if (source or kept_source) == PINNED_WHEEL:
                    raise
                if not environment.has_detectron2(None):
                    environment.record.update(detectron2=None)  # the next run takes the wheel
                raise SetUpError(
                    f"{problem}: mend that source or name another with DETECTRON2"
                ) from None


def main(argv: Sequence[str] | None = None) -> int:
    """Run the set-up. Returns the exit code: 2 where the user has to do something first."""
    parser = argparse.ArgumentParser(
        description="Make .venv, the environment of this checkout.",
        epilog="example: requirements/set_up.py --python python3.12 --detectron2 ../detectron2",
    )
    parser.add_argument("--python", help=f"interpreter for .venv, of {VERSIONS}")
    parser.add_argument(
        "--detectron2",
        metavar="SOURCE",
        help="a checkout's folder, a git URL, or “wheel” for the pinned one (default: as it is)",
    )
    arguments = parser.parse_args(argv)
    try:
        set_up(ROOT, arguments.python or None, arguments.detectron2 or None)
    except SetUpError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    except OSError as problem:
        if problem.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise
        print(
            f"error: {ROOT / '.venv'} can't be written ({problem.strerror}): make room there, or "
            "clone Segtron to a disk that you may write to",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print("\nStopped: the next run mends what is half-done.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
