"""What all command lines share: how they end."""

from __future__ import annotations

import sys
from collections.abc import Callable

from segtron.errors import UserError

USER_ERROR_EXIT_CODE = 2
INTERRUPTED_EXIT_CODE = 130  # 128 + SIGINT, as shells report it


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
    try:
        return main() or 0
    except UserError as error:
        print(f"error: {error.sentence}", file=sys.stderr)
        return USER_ERROR_EXIT_CODE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED_EXIT_CODE
