"""Whether a run came to its end before, told by its results: nothing else is left of it."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from segtron.errors import UserError
from segtron.inference.run_folder import is_unfinished
from segtron.inference.sinks.base import WORK_FOLDER, Sink
from segtron.inference.sources.base import Source, Unreadable
from segtron.inference.sources.images import Images
from segtron.inference.targets import Target, targets


@dataclass
class Finished:
    """A run that came to its end.

    Attributes:
        images: number of its images; None where videos are among them, whose frames nobody counts.
        unreadable: for each image that has no results of its own a sentence that names it.
    """

    images: int | None
    unreadable: list[str] = field(default_factory=list)


def find_finished(
    sources: Sequence[Source], sinks: Sequence[Sink], made_with: Sequence[Path] = ()
) -> Finished | None:
    """Look whether all that a run would write is there already.

    Options that leave no trace in the names of files, such as a limit to scores, can't be told.

    Args:
        sources: of the images.
        sinks: at least one, all with one output folder.
        made_with: other files that results depend on, such as the weights.

    Returns:
        None where no result is there, or a run was interrupted.

    Raises:
        UserError: some results are there and others not, or an image, a folder of images or a file
            of `made_with` is newer than they are.
    """
    output_dir = sinks[0].output_dir
    if is_unfinished(output_dir) or not all(source.is_repeatable for source in sources):
        return None
    kept = list(_kept(sources, sinks))
    times = [time for time in (_time(target.guarded) for target in kept) if time is not None]
    if not times:
        return None
    unreadable = []
    if len(times) < len(kept):
        lacking = {target.image for target in _missing(sources, sinks)}
        readable, unreadable = _without_unreadable(sources, lacking)
        for path, _, image, _ in _missing(readable, sinks):
            of_image = "" if image is None else f" of {image}"
            raise UserError(
                f"{output_dir} has results of an earlier run, but not {path}{of_image}; predict "
                "what is new to another --output, or remove the results"
            )
    depends_on = [*made_with, *(path for source in sources for path in source.paths())]
    if all(target.image is None for target in kept):
        # No file tells which images there were.
        depends_on += _folders(sources)
    for path in depends_on:
        changed = _time(path)
        if changed is not None and changed > min(times):
            raise UserError(
                f"{path} was changed after the results in {output_dir} were made; choose another "
                "--output, or remove the results"
            )
    are_images = all(isinstance(source, Images) for source in sources)
    return Finished(
        sum(source.length or 0 for source in sources) if are_images else None, unreadable
    )


def _kept(sources: Sequence[Source], sinks: Sequence[Sink]) -> Iterator[Target]:
    """What is left of a run that came to its end."""
    work = sinks[0].output_dir / WORK_FOLDER
    return (target for target in targets(sources, sinks) if work not in target.path.parents)


def _missing(sources: Sequence[Source], sinks: Sequence[Sink]) -> Iterator[Target]:
    return (target for target in _kept(sources, sinks) if _time(target.guarded) is None)


def _without_unreadable(
    sources: Sequence[Source], lacking: Container[str | None]
) -> tuple[list[Source], list[str]]:
    """Leave out what can't be read: of images those that lack results, and videos.

    Returns:
        The other sources, and a sentence for each that is left out. The last image is the first
        that lacks results though it can be read, for one is enough.
    """
    readable, sentences = [], []
    for source in sources:
        if not isinstance(source, Images):
            first = next(source.read(), None)
            if isinstance(first, Unreadable):
                sentences.append(first.sentence)
            else:
                readable.append(source)
            continue
        files = []
        for file in source.files:
            if file.name in lacking:
                (content,) = type(source)([file]).read()
                if isinstance(content, Unreadable):
                    sentences.append(content.sentence)
                    continue
                return [*readable, type(source)([*files, file])], sentences
            files.append(file)
        readable.append(type(source)(files))
    return readable, sentences


def _folders(sources: Sequence[Source]) -> Iterator[Path]:
    """The folders of images, up to those that were named."""
    folders = {}
    for source in sources:
        for file in source.files if isinstance(source, Images) else ():
            depth = len(PurePosixPath(file.name).parts)
            folders |= dict.fromkeys(file.path.absolute().parents[:depth])
    yield from folders


def _time(path: Path) -> int | None:
    """When a file was changed last, in ns; None where there is none."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None
