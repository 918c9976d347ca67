"""One of two processes that share a validation set: python validate_shard.py RANK FOLDER."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from timm.layers import DropPath
from torch import nn
from torch.nn.parallel import DistributedDataParallel

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.engine.test_validation_loss import FEW_SAMPLED, batches, build
from tests.process_end import leave_together

from segtron.engine.validation_loss import validation_losses

# The second would wait for the first, were they to keep in step.
SHARDS = (slice(0, 1), slice(1, 3))


def main(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=len(SHARDS)
    )
    model = build("mask_rcnn", FEW_SAMPLED)
    # It is to be off, in a distributed model, too.
    model.backbone.bottom_up.stem = nn.Sequential(model.backbone.bottom_up.stem, DropPath(0.5))
    model = DistributedDataParallel(model).train()
    losses = validation_losses(model, batches()[SHARDS[rank]])
    (folder / f"losses_{rank}.pickle").write_bytes(pickle.dumps(losses))
    leave_together(rank, len(SHARDS), folder)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
