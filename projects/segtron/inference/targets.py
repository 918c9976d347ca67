"""The files that a run is going to write, and that each has a name of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from segtron.errors import UserError
from segtron.inference.sinks.base import Sink
from segtron.inference.sources.base import Frame, Source
from segtron.inference.sources.images import Images


class Target(NamedTuple):
    """A file that a sink is going to write.

    Attributes:
        path: of the file; of frames, whose number isn't known, that of the first.
        sink: who writes it.
        image: the name of its image, or the video of its frame; None for a file for all images.
        guarded: what may not be there before: the file, or of frames their folder.
    """

    path: Path
    sink: Sink
    image: str | None
    guarded: Path


def targets(sources: Sequence[Source], sinks: Sequence[Sink]) -> Iterator[Target]:
    """What a run writes, with the files that it needs until its end."""
    for sink in sinks:
        for path in sink.files_of_all(sources):
            yield Target(path, sink, None, path)
        for source in sources:
            for name in source.image_names():
                for path in sink.files_of(name):
                    yield Target(path, sink, name, path)
            if source.folder is not None:
                for path in sink.files_of(Frame.name_in(source.folder, 0)):
                    yield Target(path, sink, source.name, path.parent)


def refuse_clashes(sources: Sequence[Source], sinks: Sequence[Sink]) -> None:
    """Make sure that no file would be written twice.

    Raises:
        UserError: names what would be written under one name, and the sinks.
    """
    counts = Counter(target.path for target in targets(sources, sinks))
    clashes = [path for path, count in counts.items() if count > 1]
    if not clashes:
        return
    path = clashes[0]
    makers = list(_makers(path, sources, sinks))
    more = f" (and {len(clashes) - 1} more names are taken twice)" if len(clashes) > 1 else ""
    raise UserError(
        f"results of {makers[0]} and {makers[1]} would have the same name {path}{more}; rename one "
        "of the inputs, or predict or save them to folders of their own, one after the other"
    )


def _makers(path: Path, sources: Sequence[Source], sinks: Sequence[Sink]) -> Iterator[str]:
    """What a file is made of and by which sink, in words; at least two of a file that is written
    twice."""
    for sink in sinks:
        count = sink.files_of_all(sources).count(path)
        if count == 1:
            yield f"all images (--save {sink.name})"
        elif count > 1:
            for name, part in _parts(sources):
                if path in sink.files_of_all([part]):
                    yield f"{name} (--save {sink.name})"
    for target in targets(sources, sinks):
        if target.path == path and target.image is not None:
            yield f"{target.image} (--save {target.sink.name})"


def _parts(sources: Sequence[Source]) -> Iterator[tuple[str, Source]]:
    """Each folder of images, by an example of them, and each video and camera."""
    folders = set()
    for source in sources:
        if not isinstance(source, Images):
            yield source.name, source
            continue
        for file in source.files:
            folder = PurePosixPath(file.name).parent
            if folder not in folders:
                folders.add(folder)
                yield f"images such as {file.name}", Images([file])
