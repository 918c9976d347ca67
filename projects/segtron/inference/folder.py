"""Prediction over many images: whole folders, videos, cameras."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from segtron.errors import UserError
from segtron.files import refuse_overwriting, remove_leftovers
from segtron.inference.batches import (
    Item,
    ahead,
    batches,
    read_sources,
    window_size,
    windows,
)
from segtron.inference.journal import Journal
from segtron.inference.prediction import Prediction
from segtron.inference.run_folder import (
    fingerprint,
    is_unfinished,
    open_run,
    refuse_unfinished,
)
from segtron.inference.sinks.base import WORK_FOLDER, Sink
from segtron.inference.sources.base import Loaded, Source, Unreadable
from segtron.inference.sources.camera import ending_by_interrupt
from segtron.inference.summary import Summary
from segtron.inference.targets import refuse_clashes, targets

# From images (H, W, 3) uint8 BGR to a model's outputs; see `Predictor`.
Predict = Callable[[Sequence[np.ndarray]], list[dict[str, Any]]]


def refuse_existing(
    sources: Sequence[Source], sinks: Sequence[Sink], *, resume: bool = False
) -> None:
    """Make sure that no file would be overwritten, but those of the run that is resumed.

    Raises:
        UserError: a file that a sink would write exists or would be written twice, or the output
            folder can't be one; or a run was interrupted there and isn't to be resumed, or can't
            be.
    """
    output_dir = sinks[0].output_dir
    if output_dir.exists() and not output_dir.is_dir():
        raise UserError(f"--output {output_dir} is a file; name a folder")
    refuse_clashes(sources, sinks)
    if not resume:
        refuse_unfinished(output_dir)
    elif not all(source.is_repeatable for source in sources):
        raise UserError("--resume is not for cameras, which don't show the same again")
    if not is_unfinished(output_dir):
        refuse_overwriting([target.guarded for target in targets(sources, sinks)])


def is_finished(sources: Sequence[Source], sinks: Sequence[Sink]) -> bool:
    """Whether all that a run would write is there, so that nothing is left to do.

    Which images a file for all images is of, and how results were made, is not looked at.
    """
    output_dir = sinks[0].output_dir
    if is_unfinished(output_dir) or not all(source.is_repeatable for source in sources):
        return False
    kept = (
        target.guarded
        for target in targets(sources, sinks)
        if output_dir / WORK_FOLDER not in target.path.parents
    )
    return all(path.exists() for path in kept)


def predict_files(
    predictor: Predict,
    sources: Sequence[Source],
    sinks: Sequence[Sink],
    *,
    batch_size: int = 1,
    resume: bool = False,
    read_ahead: bool = True,
    description: Mapping[str, str] | None = None,
) -> Summary:
    """Predict images and hand the outputs to sinks, with a progress bar.

    An image that can't be read is left out and named in the summary. A run that was killed leaves
    a hidden folder in the output folder; with its help another call goes on where it was, and ends
    with the same files, if the model gives the same for the same batch.

    Args:
        predictor: the model.
        sources: of the images.
        sinks: at least one, all with one output folder. Each gets every prediction.
        batch_size: images predicted at once; those of like size are put together, near each other
            as they are.
        resume: go on with an earlier run, if there is one that is not at its end.
        read_ahead: read the next images while the model works; without that only one is in memory.
        description: what may not have changed since then besides inputs and sinks, by what the
            user calls it: for example "weights" and a digest of them.

    Raises:
        UserError: none of the images can be read, a file would be overwritten or can't be written,
            a sink can't use what the model predicts, or a run can't be resumed.
    """
    refuse_existing(sources, sinks, resume=resume)
    description = _describe(sources, sinks, batch_size) | dict(description or {})

    def is_there(name: str) -> bool:
        return all(_has_content(path) for sink in sinks for path in sink.files_of(name))

    output_dir = sinks[0].output_dir
    with open_run(output_dir, description, is_there, resume) as journal:
        _predict_all(predictor, sources, sinks, journal, batch_size, read_ahead)
        if not journal.predicted:
            # Inside the context, so that nothing is left.
            if not journal.unreadable:
                raise UserError(f"{sources[0].name} has no frame in the part that is asked for")
            more = len(journal.unreadable) - 1
            others = f" (and {more} more images, none of them readable)" if more else ""
            raise UserError(journal.unreadable[0] + others)
        for sink in sinks:
            sink.finish(journal.records(sink.name))
        return Summary(journal.position.number, journal.predicted, journal.unreadable)


def _predict_all(
    predictor: Predict,
    sources: Sequence[Source],
    sinks: Sequence[Sink],
    journal: Journal,
    batch_size: int,
    read_ahead: bool,
) -> None:
    """Predict what the journal doesn't have yet."""
    is_resumed = journal.has_begun
    lengths = [source.length for source in sources]
    images = read_sources(sources, journal.position)
    folders = {sink.output_dir for sink in sinks}
    folders |= {path.parent for sink in sinks for path in sink.files_of_all(sources)}
    with (
        ending_by_interrupt(sources),
        closing(ahead(images, window_size(batch_size)) if read_ahead else images) as items,
        tqdm(
            total=None if None in lengths else sum(lengths),
            initial=journal.position.number,
            unit=" images",
            desc="predict",
        ) as progress,
    ):
        for window in windows(items, batch_size):
            records = _predict_window(predictor, window, sinks, journal, batch_size, progress)
            names = [i.content.file.name for i in window if isinstance(i.content, Loaded)]
            journal.append(
                records,
                predicted=names,
                unreadable=[
                    i.content.sentence for i in window if isinstance(i.content, Unreadable)
                ],
                position=window[-1].end,
            )
            if is_resumed:
                folders |= {p.parent for s in sinks for name in names for p in s.files_of(name)}
    if is_resumed:
        # Where the kill may have come in the middle of a file.
        for folder in folders:
            remove_leftovers(folder)


def _predict_window(
    predictor: Predict,
    window: Sequence[Item],
    sinks: Sequence[Sink],
    journal: Journal,
    batch_size: int,
    progress: tqdm,
) -> dict[str, list[Any]]:
    """Predict some images.

    Returns:
        By the sink's name its records, in the order of the images.
    """
    records: dict[str, dict[int, Any]] = {sink.name: {} for sink in sinks}
    for batch in batches(window, batch_size):
        outputs = predictor([loaded.image for loaded, _ in batch])
        for ((file, image), number), output in zip(batch, outputs, strict=True):
            prediction = Prediction(file, number, image, _to_cpu(output))
            # All before the first one writes.
            for sink in sinks:
                sink.check(prediction)
            journal.has_begun = True
            for sink in sinks:
                record = sink.write(prediction)
                if record is not None:
                    records[sink.name][number] = record
        progress.update(len(batch))
    progress.update(sum(isinstance(item.content, Unreadable) for item in window))
    return {name: [found[i] for i in sorted(found)] for name, found in records.items()}


def _describe(sources: Sequence[Source], sinks: Sequence[Sink], batch_size: int) -> dict[str, str]:
    """What may not change while a run is interrupted, by what the user calls it."""
    return {
        "inputs": fingerprint([source.identity() for source in sources]),
        "--save": fingerprint([sink.name for sink in sinks]),
        "--score-threshold": fingerprint([sink.min_score for sink in sinks]),
        "--batch-size": str(batch_size),
    }


def _has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def _to_cpu(output: dict[str, Any]) -> dict[str, Any]:
    """A model's output on the CPU; `panoptic_seg` is a pair of a tensor and a list."""

    def move(value: Any) -> Any:
        return value.to("cpu") if hasattr(value, "to") else value

    return {
        name: (move(value[0]), *value[1:]) if isinstance(value, tuple) else move(value)
        for name, value in output.items()
    }
