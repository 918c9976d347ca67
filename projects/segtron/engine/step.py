"""One iteration of a training: a batch, its losses, their gradients, a step of the optimizer."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from detectron2.engine import SimpleTrainer
from detectron2.utils import comm
from detectron2.utils.events import get_event_storage
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from segtron.engine.randomness import seed_iteration
from segtron.engine.signals import StopNotice
from segtron.modeling.losses.shares import loss_shares
from segtron.wording import count_of

# What an iteration's seconds go into: waiting for data, and what follows.
TIMES = ("data_time", "forward_time", "backward_time", "step_time")

Inputs = list[dict[str, Any]]


class TrainingStep(SimpleTrainer):
    """Detectron2's step with precision, accumulated gradients and randomness of its own.

    With several parts of a batch, their gradients add up to that of the whole, and one step of the
    optimizer follows. The event storage gets the whole batch's losses, means over all processes,
    and the seconds of `TIMES` that the iteration before took, of the slowest process.

    Attributes:
        is_interrupted: whether any process was asked to stop, the same in all of them.
    """

    def __init__(
        self,
        model: nn.Module,
        data_loader: Any,
        optimizer: torch.optim.Optimizer,
        *,
        seed: int,
        precision: torch.dtype = torch.float32,
        num_parts: int = 1,
        notice: StopNotice | None = None,
    ) -> None:
        """
        Args:
            model: on its device, perhaps distributed.
            data_loader: gives lists of inputs.
            optimizer: of the model's parameters.
            seed: of the job; see `seed_iteration`.
            precision: what matrix products and convolutions are computed in: float32, or, by
                autocast, bfloat16 or float16. Only with float16 gradients are scaled.
            num_parts: how many parts a batch is run in, one after the other.
            notice: whether this process is asked to stop, which the others get to know.
        """
        super().__init__(model, data_loader, optimizer)
        self._seed = seed
        self._precision = precision
        self._num_parts = num_parts
        self._device = next(model.parameters()).device
        self.grad_scaler = torch.amp.GradScaler(
            self._device.type, enabled=precision == torch.float16
        )
        self._last_clock: _Clock | None = None
        self._notice = notice or StopNotice()
        self.is_interrupted = False

    def run_step(self) -> None:
        """See `SimpleTrainer`.

        Raises:
            FloatingPointError: a loss is not finite: says which, and of which images.
        """
        seed_iteration(self._seed, self.iter, comm.get_rank())
        clock = _Clock(self._device)
        parts = _split(next(self._data_loader_iter), self._num_parts)
        clock.ends("data_time")
        losses_of_parts = []
        for number, (part, shares) in enumerate(
            zip(parts, loss_shares(self.model, parts), strict=True)
        ):
            with self._gathers_gradients(is_last=number == len(parts) - 1):
                with torch.autocast(
                    self._device.type, self._precision, enabled=self._precision != torch.float32
                ):
                    losses = self._losses(part)
                losses = {
                    name: loss * shares.get(name, 1 / len(parts)) for name, loss in losses.items()
                }
                clock.ends("forward_time")
                if number == 0:
                    # Not before: where a part of the model has no part in the loss, the forward
                    # pass of several processes fails, and the gradients so far tell which part.
                    self.optimizer.zero_grad()
                self.grad_scaler.scale(sum(losses.values())).backward()
                clock.ends("backward_time")
            losses_of_parts.append({name: loss.detach() for name, loss in losses.items()})
            del losses
        self.after_backward()
        self._write(losses_of_parts, parts)
        self.grad_scaler.step(self.optimizer)
        self.grad_scaler.update()
        clock.ends("step_time")
        self._last_clock = clock

    def state_dict(self) -> dict[str, Any]:
        """See `SimpleTrainer`."""
        return super().state_dict() | {"grad_scaler": self.grad_scaler.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See `SimpleTrainer`; states without a scaler's, or with one that isn't needed, do."""
        super().load_state_dict(state_dict)
        scaler_state = state_dict.get("grad_scaler")
        if scaler_state and self.grad_scaler.is_enabled():
            self.grad_scaler.load_state_dict(scaler_state)

    def _losses(self, part: Inputs) -> Mapping[str, torch.Tensor]:
        try:
            losses = self.model(part)
        except FloatingPointError as error:
            # Detectron2's, of boxes that are no numbers.
            what = str(error).strip().rstrip(".").replace(". ", ", ")
            raise FloatingPointError(
                f"{what}, on {_name_files(part)}, at iteration {self.iter}"
            ) from error
        return {"total_loss": losses} if isinstance(losses, torch.Tensor) else losses

    @contextlib.contextmanager
    def _gathers_gradients(self, *, is_last: bool) -> Iterator[None]:
        """Several processes add their gradients up once, after the last part."""
        waits = isinstance(self.model, DistributedDataParallel) and not is_last
        with self.model.no_sync() if waits else contextlib.nullcontext():
            yield

    def _write(
        self, losses_of_parts: Sequence[Mapping[str, torch.Tensor]], parts: Sequence[Inputs]
    ) -> None:
        values = [
            dict(zip(losses, torch.stack([*losses.values()]).tolist(), strict=True))
            for losses in losses_of_parts
        ]
        totals = {name: sum(part[name] for part in values) for name in values[0]}
        trouble = next(
            (
                _describe_trouble(name, value, part)
                for losses, part in zip(values, parts, strict=True)
                for name, value in losses.items()
                if not math.isfinite(value)
            ),
            None,
        )
        # All that an iteration took is known now, for a GPU has finished what came before.
        seconds = self._last_clock.seconds() if self._last_clock is not None else {}
        num_skipped = sum(getattr(self.data_loader, "skipped", {}).values())
        everybody = comm.all_gather(
            _Report(totals, seconds, trouble, self._notice.signal_name, num_skipped)
        )
        self.is_interrupted = any(report.signal_name is not None for report in everybody)
        for rank, report in enumerate(everybody):
            if report.trouble is not None:
                where = f" in process {rank}" if len(everybody) > 1 else ""
                raise FloatingPointError(f"{report.trouble}, at iteration {self.iter}{where}")
        if comm.is_main_process():
            _put(everybody)


class _Report(NamedTuple):
    """What a process tells the others of an iteration."""

    losses: Mapping[str, float]
    seconds: Mapping[str, float]  # of the iteration before
    trouble: str | None
    signal_name: str | None
    num_skipped: int  # images that could not be read, since the process started


def _put(everybody: Sequence[_Report]) -> None:
    storage = get_event_storage()
    first = everybody[0]
    means = {
        name: sum(report.losses[name] for report in everybody) / len(everybody)
        for name in first.losses
    }
    storage.put_scalar("total_loss", sum(means.values()))
    if len(means) > 1:
        storage.put_scalars(**means)
    for name in first.seconds:
        storage.put_scalar(name, max(report.seconds[name] for report in everybody))
    num_skipped = sum(report.num_skipped for report in everybody)
    if num_skipped:
        storage.put_scalar("skipped_images", num_skipped, smoothing_hint=False)


def _describe_trouble(name: str, value: float, part: Inputs) -> str:
    became = "NaN" if math.isnan(value) else "infinite"
    return f"{name} became {became} on {_name_files(part)}"


def _name_files(part: Inputs) -> str:
    files = [str(image.get("file_name", "an image without a name")) for image in part]
    if len(files) <= 8:
        return ", ".join(files)
    return f"{', '.join(files[:8])} and {count_of(len(files) - 8, 'other')}"


def _split(batch: Inputs, num_parts: int) -> list[Inputs]:
    """Parts of equal size.

    Raises:
        ValueError: the batch can't be shared out evenly.
    """
    size, rest = divmod(len(batch), num_parts)
    if rest or not size:
        raise ValueError(f"a batch of {len(batch)} can't be run in {num_parts} equal parts")
    return [batch[start : start + size] for start in range(0, len(batch), size)]


class _Clock:
    """Adds up the seconds between marks; on a GPU those of its own timeline, without waiting."""

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        self._start = self._now()
        self._marks: list[tuple[str, Any]] = []

    def ends(self, what: str) -> None:
        """What came since the last mark was this."""
        self._marks.append((what, self._now()))

    def seconds(self) -> dict[str, float]:
        """By what was marked. On a GPU all of it has to be finished."""
        totals: dict[str, float] = {}
        since = self._start
        for what, mark in self._marks:
            passed = since.elapsed_time(mark) / 1000 if self._on_gpu else mark - since
            totals[what] = totals.get(what, 0.0) + passed
            since = mark
        return totals

    def _now(self) -> Any:
        if not self._on_gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event
