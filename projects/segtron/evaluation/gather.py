"""Bringing together what the processes of one evaluation have seen."""

from __future__ import annotations

from typing import Protocol, TypeVar

from detectron2.utils import comm


class Mergeable(Protocol):
    """A metric whose state can be pickled and joined with another's."""

    def merge(self, other: Mergeable) -> None: ...


Metric = TypeVar("Metric", bound=Mergeable)


def merge_over_processes(metric: Metric) -> Metric | None:
    """Merge the metrics of all processes, in order of rank. Every process has to call this.

    Returns:
        The merged metric on the main process, None on the others.
    """
    if comm.get_world_size() == 1:
        return metric
    comm.synchronize()
    parts = comm.gather(metric, dst=0)
    if not comm.is_main_process():
        return None
    merged, *others = parts
    for other in others:
        merged.merge(other)
    return merged
