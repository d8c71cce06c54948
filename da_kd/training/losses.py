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
    model.criterion = BothBranches(model, SignalLoss)
    if epoch:
        model.criterion.updates = epoch - 1
        model.criterion.update()


class BothBranches(E2ELoss):  # type: ignore[misc]
    """The library's loss of an end-to-end head, both of whose branches ask the same anchors about the same regions."""

    def __call__(self, preds: Any, batch: dict[str, Any]) -> Any:
        """Return the library's sum of both branches' losses."""
        return super().__call__(preds, {**batch, "asked": {"by": 2}})


# What an unsearched region counts where an ignored one counts 1: more than boxes ever lie over one place, so that the
# sum over the regions of a place tells whether one of them is unsearched.
_UNSEARCHED = 4096.0


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
        self._batch = {"asked": {"by": 1}, **batch} if "weight" in batch else None
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
        """Keep the anchors' centres in pixels, which of them a box has taken, by image and number, and its weight."""
        if self._batch is None:
            return
        self._anchors, self._taken = given[2], made[3].nonzero(as_tuple=True)
        self._weight = self._box_weight[self._taken[0], made[4][self._taken].long()][:, None]

    def _weigh_classes(self, _: Any, given: tuple[Tensor, ...], made: Tensor) -> Tensor:
        """Return the (images, anchors, classes) loss terms, weighed and silenced, in place."""
        if self._batch is None:
            return made
        share, unsearched = self._coverage()  # one product with the terms, since every pass over them is felt
        silent = unsearched[self._taken] & (given[1][self._taken] <= 0)
        share[self._taken] = torch.where(silent, 0.0, self._weight).to(share.dtype)
        return made.mul_(share)

    def _weigh_boxes(self, _: Any, given: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Return the box loss' arguments, the target scores as their sums over the classes, which it takes, weighed."""
        if self._batch is None:
            return None
        weighed = given[4].new_zeros(*given[4].shape[:2], 1)
        weighed[self._taken] = given[4][self._taken].sum(-1, keepdim=True) * self._weight.to(given[4].dtype)
        return (*given[:4], weighed, *given[5:])

    def _coverage(self) -> tuple[Tensor, Tensor]:
        """Return where classes have no region, 1 or 0, and where they have an unsearched one, whoever took the anchor.

        Both are (images, anchors, classes), and made once for both branches of an end-to-end head; the first is the
        caller's own.
        """
        asked = self._batch["asked"]  # type: ignore[index]
        if "free" not in asked:
            regions = self._batch["regions"]  # type: ignore[index]
            counted = regions[..., 5:] * torch.where(regions[..., 4:5] > 0, _UNSEARCHED, 1.0)
            covered = torch.bmm(self._inside(regions).to(counted.dtype), counted)
            asked |= {"unsearched": covered >= _UNSEARCHED, "free": covered.eq_(0)}
        asked["by"] -= 1
        return asked["free"].clone() if asked["by"] else asked["free"], asked["unsearched"]

    def _inside(self, regions: Tensor) -> Tensor:
        """Return (images, anchors, R) bool: the anchor's centre lies in the region."""
        left, top, right, bottom = xywh2xyxy(regions[..., :4] * self._scale).unsqueeze(1).unbind(-1)
        x, y = self._anchors.unsqueeze(1).unbind(-1)
        inside: Tensor = (x > left) & (x < right) & (y > top) & (y < bottom)
        return inside
