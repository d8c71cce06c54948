"""The trainer as one of several processes; imported only in such a one.

On GPUs the library does all of it: it divides the batch, hands every process its part of the images, and averages
gradients. On CPUs, where it knows no such thing, the same is done over gloo, so that it can be tried anywhere.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from torch import distributed
from torch.nn.parallel import DistributedDataParallel
from ultralytics.utils.torch_utils import TORCH_2_13

from da_kd.training.trainer import TableTrainer

_PATIENCE = timedelta(hours=3)  # the library's own; the first process may label all images while others wait


class RankedTrainer(TableTrainer):
    """Our trainer, one of ``WORLD_SIZE``."""

    model: Any

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.world_size = int(os.environ["WORLD_SIZE"])  # the library counts the devices of this machine

    def _setup_ddp(self) -> None:
        if self.device.type == "cuda":
            super()._setup_ddp()
        else:
            distributed.init_process_group("gloo", timeout=_PATIENCE)

    def _setup_train(self) -> None:
        if self.device.type != "cuda":
            self.world_size = 1  # else the library wraps the model for a GPU
        super()._setup_train()

    def _build_train_pipeline(self) -> None:
        if self.device.type != "cuda" and not isinstance(self.model, DistributedDataParallel):
            self.world_size = distributed.get_world_size()
            buffers: dict[str, Any] = {"forward_sync_buffers" if TORCH_2_13 else "broadcast_buffers": False}
            self.model = DistributedDataParallel(self.model, find_unused_parameters=True, **buffers)
        super()._build_train_pipeline()
