"""RT-DETR's loss, told what labels deserve as the YOLO heads' is (``losses``); imported only where a training runs.

An anchor here is a query: it lies where the box it predicts has its centre, and a box has taken it where the library's
matching, or its denoising, says so. What divides the sums stays the library's, the number of boxes. Where every weight
is 1 and no region is near, loss and gradients are the library's to the last bit.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from ultralytics.models.utils.loss import RTDETRDetectionLoss
from ultralytics.utils.loss import VarifocalLoss
from ultralytics.utils.metrics import bbox_iou
from ultralytics.utils.ops import xywh2xyxy

_NEVER = -100.0  # a logit whose focal term, and with it the gradient, is 0


def set_detr_criterion(model: Any) -> None:
    """Give a stock RT-DETR model the loss below.

    The model hands its loss the boxes of a batch alone; a hook, which no checkpoint holds, shows it the rest.
    """
    criterion = SignalDETRLoss(nc=model.nc, use_vfl=True)
    model.criterion = criterion
    model.register_forward_pre_hook(lambda _, given: criterion.look_at(given[0]))


class SignalDETRLoss(RTDETRDetectionLoss):  # type: ignore[misc]
    """The library's loss, with weights, ignored boxes and unsearched classes from the batch; see ``SignalLoss``."""

    vfl: Any

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.vfl = _WeighedVarifocal(self.vfl.gamma, self.vfl.alpha)
        self._batch: dict[str, Tensor] | None = None

    def look_at(self, batch: Any) -> None:
        """Remember what a batch, if it is one, says beside its boxes."""
        if isinstance(batch, dict):
            self._batch = {key: batch[key] for key in ("weight", "regions")} if "weight" in batch else None

    def _get_loss(self, pred_bboxes: Tensor, *others: Any, **named: Any) -> Any:
        self._boxes = pred_bboxes.detach()
        return super()._get_loss(pred_bboxes, *others, **named)

    def _get_index(self, match_indices: Any) -> Any:  # the library's is static, and called on the loss
        """Return the library's (image, query) and box of each match; they are remembered."""
        index, box = RTDETRDetectionLoss._get_index(match_indices)
        self._match = index, box
        return index, box

    def _get_loss_class(
        self, pred_scores: Tensor, targets: Tensor, gt_scores: Tensor, num_gts: int, postfix: str = ""
    ) -> Any:
        self.vfl.factor = None
        if self._batch is not None:
            silent, (index, box) = self._silent(targets), self._match
            if num_gts:
                weight = torch.ones(targets.shape, device=targets.device)
                weight[index] = self._batch["weight"].to(weight)[box]
                self.vfl.factor = weight[..., None] * ~silent
            else:  # the library takes the focal loss, which knows no factor
                pred_scores = pred_scores.masked_fill(silent, _NEVER)
        return super()._get_loss_class(pred_scores, targets, gt_scores, num_gts, postfix)

    def _get_loss_bbox(self, pred_bboxes: Tensor, gt_bboxes: Tensor, postfix: str = "") -> Any:
        if self._batch is None or not len(gt_bboxes):
            return super()._get_loss_bbox(pred_bboxes, gt_bboxes, postfix)
        weight = self._batch["weight"].to(pred_bboxes)[self._match[1], None]
        # Distances grow with what they are distances of, so the library's own sum can be kept; of overlaps it cannot.
        distance = functional.l1_loss(pred_bboxes * weight, gt_bboxes * weight, reduction="sum")
        apart = (1.0 - bbox_iou(pred_bboxes, gt_bboxes, xywh=True, GIoU=True)) * weight
        return {
            f"loss_bbox{postfix}": (self.loss_gain["bbox"] * distance / len(gt_bboxes)).squeeze(),
            f"loss_giou{postfix}": (self.loss_gain["giou"] * (apart.sum() / len(gt_bboxes))).squeeze(),
        }

    def _silent(self, targets: Tensor) -> Tensor:
        """Return (images, queries, classes) bool: the terms that teach nothing."""
        assert self._batch is not None  # noqa: S101 - who calls has looked
        regions = self._batch["regions"].to(self._boxes)
        classes = torch.arange(self.nc, device=targets.device)
        if not regions.shape[1]:
            return torch.zeros((*targets.shape, self.nc), dtype=torch.bool, device=targets.device)
        left, top, right, bottom = xywh2xyxy(regions[..., :4]).unsqueeze(3).unbind(2)
        x, y = self._boxes[:, None, :, 0], self._boxes[:, None, :, 1]
        inside = (x > left) & (x < right) & (y > top) & (y < bottom)
        taken = (targets < self.nc)[:, None]
        held = inside & (~taken | (regions[..., 4:5] > 0))
        covered: Tensor = torch.bmm(held.mT.to(regions.dtype), regions[..., 5:]) > 0
        return covered & (targets[..., None] != classes)


class _WeighedVarifocal(VarifocalLoss):  # type: ignore[misc]
    """The library's varifocal loss, each term times a factor, if there is one."""

    factor: Tensor | None = None

    def forward(self, pred_score: Tensor, gt_score: Tensor, label: Tensor) -> Tensor:
        """Return the sum of (images, queries, classes) terms over images and classes, averaged over queries."""
        if self.factor is None:
            stock: Tensor = super().forward(pred_score, gt_score, label)
            return stock
        weight = self.alpha * pred_score.sigmoid().pow(self.gamma) * (1 - label) + gt_score * label
        with torch.autocast(pred_score.device.type, enabled=False):
            terms = functional.binary_cross_entropy_with_logits(pred_score.float(), gt_score.float(), reduction="none")
            total: Tensor = (terms * weight * self.factor).mean(1).sum()
            return total
