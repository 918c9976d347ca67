"""The one exception that means "the user can mend this"."""

from __future__ import annotations


class UserError(Exception):
    """A mistake or a state of the machine that the user can mend.

    Its text is one sentence that names the file, the value and the remedy. Tools print it
    and end with exit code 2 (`segtron.command_line`); every other exception is a bug and keeps
    its traceback.

    Example:
        >>> raise UserError("gt.json: entry 3 of 'annotations' has no 'bbox'; export it again")
    """

    @property
    def sentence(self) -> str:
        """The sentence alone.

        A data-loading process hands its exception over as text, with the traceback of that process
        in front (`torch._utils.ExceptionWrapper`); here everything but the sentence is dropped.
        """
        return str(self).rsplit(f"{type(self).__name__}: ", 1)[-1].strip()


class UnreadableFileError(UserError):
    """An image or a label file is missing, broken, too large to decode, or no image at all.

    Training can do without it (DATALOADER.SKIP_UNREADABLE), other than with files that can be read
    and contradict each other.
    """
