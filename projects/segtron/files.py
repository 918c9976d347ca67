"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from segtron.errors import UserError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; what the block writes there then takes its place.

    Until then what was at `path` stays; when the block fails nothing is left of the temporary file.
    The folder is made if it is missing.

    Yields:
        A name in the folder of `path`, with the same suffix, where nothing exists yet.

    Raises:
        UserError: the folder can't be written to, or there is no space left.

    Example:
        >>> with replacing(Path("scores.json")) as temporary:
        ...     temporary.write_text("{}")
    """
    temporary = path.with_name(f".{path.stem[:40]}-{secrets.token_hex(6)}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        # What the block does besides writing may fail, too; that is not for this function to explain.
        if error.errno not in _FULL and error.filename not in (str(path.parent), str(temporary)):
            raise
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
