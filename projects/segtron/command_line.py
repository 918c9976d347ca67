"""What all command lines share: how they name a config, and how they end."""

from __future__ import annotations

import argparse
import logging
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

from segtron.errors import UserError

USER_ERROR_EXIT_CODE = 2
INTERRUPTED_EXIT_CODE = 130  # 128 + SIGINT, as shells report it


def config_parser(description: str, example: str) -> argparse.ArgumentParser:
    """A parser with `--config-file`, `--parts` and `KEY VALUE …`, for tools that take a config.

    Parse with `parse_intermixed_args`, so that options may also follow the KEY VALUE pairs.

    Args:
        description: what the tool does, one sentence.
        example: a command that works.
    """
    parser = argparse.ArgumentParser(
        description=description,
        epilog=f"Example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--config-file", required=True, metavar="FILE", help="the config, a YAML file"
    )
    add_parts(parser)
    parser.add_argument(
        "opts",
        nargs="*",
        default=[],
        metavar="KEY VALUE",
        help="config keys to change, such as SOLVER.MAX_ITER 1000",
    )
    return parser


def add_parts(parser: argparse.ArgumentParser) -> None:
    """Add `--parts FILE`, for tools that may meet what a user has made; see `load_parts`."""
    parser.add_argument(
        "--parts",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a Python file to import first, with data sets, heads, metrics, augmentations, sinks, "
        "formats to convert of your own (docs/extending.md); it may be given several times",
    )


def number_between(low: float, high: float) -> Callable[[str], float]:
    """Reads an option's number, `low` and `high` included; for argparse's `type`."""

    def number(text: str) -> float:
        value = float(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is not between {low:g} and {high:g}")
        return value

    return number


def positive_int(text: str) -> int:
    """An option's whole number from 1, for argparse's `type`."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return value


def seed(text: str) -> int:
    """An option's seed of all generators of random numbers, for argparse's `type`."""
    value = int(text)
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to {2**32 - 1}")
    return value


def run(main: Callable[[], int | None]) -> int:
    """Run a tool's `main` and turn how it ended into an exit code.

    Args:
        main: parses `sys.argv`, does the work, returns an exit code or None for 0.

    Returns:
        `main`'s own code; 2 after one sentence on stderr for a `UserError`; 130 after Ctrl-C. Any
        other exception passes through with its traceback: it is a bug.

    Example:
        >>> if __name__ == "__main__":
        ...     sys.exit(command_line.run(main))
    """
    _quieten_libraries()
    try:
        return main() or 0
    except UserError as error:
        print(f"error: {error.sentence}", file=sys.stderr)
        return USER_ERROR_EXIT_CODE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED_EXIT_CODE


def _quieten_libraries() -> None:
    """Keep back what newer PyTorch says to Detectron2's authors, not to its users."""
    # Detectron2's anchors name no `indexing`.
    warnings.filterwarnings("ignore", message="torch.meshgrid", category=UserWarning)
    # Its mapper, which tools/benchmark.py times, makes tensors of masks that nobody writes to.
    warnings.filterwarnings(
        "ignore",
        message="The given NumPy array is not writable",
        category=UserWarning,
        module=r"detectron2\.data\.detection_utils",
    )
    logging.getLogger("torch.fx._symbolic_trace").setLevel(logging.ERROR)


def split_at_key(given: list[str]) -> tuple[list[str], list[str]]:
    """Tell paths from the KEY VALUE pairs that follow them; argparse takes both for paths.

    Args:
        given: the values of an option that takes any number of paths.

    Returns:
        The paths, and what comes from the first key on.
    """
    for i, word in enumerate(given):
        if re.fullmatch(r"[A-Z0-9_]+(\.[A-Z0-9_]+)+", word) and not Path(word).exists():
            return given[:i], given[i:]
    return given, []
