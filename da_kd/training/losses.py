"""Ultralytics' detection loss, told what labels deserve; imported only where a training runs.

The library's own code computes assignment, sums and gains. Three hooks stand between: after the assignment it is known
which box an anchor has taken; after the classification loss, its terms are weighed and silenced one by one; before the
box loss, its targets are weighed. What divides the sums stays the library's: the sum of the target scores *before* any
weight, since a weighed sum would cancel a weight that all boxes share. Where every weight is 1 and no region is near,
loss and gradients are the library's to the last bit.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from ultralytics.nn.tasks import RTDETRDetectionModel
from ultralytics.utils.loss import E2ELoss, v8DetectionLoss
from ultralytics.utils.ops import xywh2xyxy

from da_kd.training.detr import set_detr_criterion


def set_criterion(model: Any, epoch: int) -> None:
    """Give a stock model the loss below, for both branches where its head is an end-to-end one, or RT-DETR's own.

    Args:
        model: the library's detection model; its class, and what is saved of it, do not change.
        epoch: the epoch that training goes on with; an end-to-end head shifts its branches' shares with it.
    """
    if isinstance(model, RTDETRDetectionModel):
        set_detr_criterion(model)
        return
    if getattr(model.model[-1], "one2one_cv2", None) is None:
        model.criterion = SignalLoss(model)
        return
    model.criterion = E2ELoss(model, SignalLoss)
    if epoch:
        model.criterion.updates = epoch - 1
        model.criterion.update()


class SignalLoss(v8DetectionLoss):  # type: ignore[misc]
    """The library's loss, with weights, ignored boxes and unsearched classes from the batch.

    A batch has, beside the library's own keys, ``weight`` (N,) for its N boxes, and ``regions`` (images, R, 5 + C): a
    box as shares of the image (centre, width, height), 1 for an unsearched region and 0 for an ignored one, then 1 for
    every class in the region's set; rows of zeros fill up. A batch without them is trained on as the library does.

    An anchor that a box of weight ``w`` has taken gives ``w`` times its losses. With weight 0 a box thus keeps its
    anchors, and nothing is learned there: neither object nor background. An anchor whose centre lies in an ignored
    region, and which no box has taken, gives no loss for the region's classes. In an unsearched region no anchor gives
    background loss for the region's classes.
    """

    def __init__(self, model: Any, **assignment: Any) -> None:
        super().__init__(model, **assignment)
        self._batch: dict[str, Any] | None = None
        self.assigner.register_forward_hook(self._after_assignment)
        self.bce.register_forward_hook(self._weigh_classes)
        self.bbox_loss.register_forward_pre_hook(self._weigh_boxes)

    def get_assigned_targets_and_loss(self, preds: dict[str, Tensor], batch: dict[str, Any], **kwargs: Any) -> Any:
        """Return the library's assignment, losses and figures."""
        self._batch = batch if "weight" in batch else None
        try:
            return super().get_assigned_targets_and_loss(preds, batch, **kwargs)
        finally:
            self._batch = None

    def preprocess(self, targets: Tensor, batch_size: int, scale_tensor: Tensor) -> Tensor:
        """Return the library's padded (images, boxes, 5) targets; the weights are padded with them and kept."""
        if self._batch is None:
            stock: Tensor = super().preprocess(targets, batch_size, scale_tensor)
            return stock
        weight = self._batch["weight"].to(targets).view(-1, 1)
        padded: Tensor = super().preprocess(torch.cat((targets, weight), 1), batch_size, scale_tensor)
        self._scale, self._box_weight = scale_tensor, padded[..., 5]
        return padded[..., :5]

    def _after_assignment(self, _: Any, given: tuple[Tensor, ...], made: tuple[Tensor, ...]) -> None:
        """Keep the anchors' centres in pixels, which of them a box has taken, and the weight of that box."""
        if self._batch is None:
            return
        self._anchors, self._taken = given[2], made[3].bool()
        if self._box_weight.shape[1]:
            weight = self._box_weight.gather(1, made[4].long())
            self._weight = torch.where(self._taken, weight, torch.ones_like(weight))
        else:
            self._weight = torch.ones_like(self._taken, dtype=self._box_weight.dtype)

    def _weigh_classes(self, _: Any, given: tuple[Tensor, ...], made: Tensor) -> Tensor:
        """Return the (images, anchors, classes) loss terms, weighed and silenced, in place."""
        if self._batch is None:
            return made
        regions, share = self._batch["regions"], self._weight[..., None]
        if regions.shape[1]:
            covered = torch.bmm(self._inside(regions).mT.to(regions.dtype), regions[..., 5:])
            share = torch.where((covered > 0) & (given[1] <= 0), 0.0, share)
        return made.mul_(share)  # one product, since every pass over the terms is felt, there and back

    def _weigh_boxes(self, _: Any, given: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Return the box loss' arguments, the target scores weighed."""
        if self._batch is None:
            return None
        return (*given[:4], given[4] * self._weight[..., None], *given[5:])

    def _inside(self, regions: Tensor) -> Tensor:
        """Return (images, R, anchors) bool: the region holds for the anchor, whose centre lies in it."""
        left, top, right, bottom = xywh2xyxy(regions[..., :4] * self._scale).unsqueeze(3).unbind(2)
        x, y = self._anchors.unbind(1)
        inside = (x > left) & (x < right) & (y > top) & (y < bottom)
        held: Tensor = inside & (~self._taken[:, None] | (regions[..., 4:5] > 0))
        return held
