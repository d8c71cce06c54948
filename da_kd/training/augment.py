"""Sets of training arguments that say how images are varied; their values stand in ``docs/training.md``.

Arguments are ultralytics'. What a set does not name is as the library has it. (Its ``erasing`` and ``auto_augment``
are for classification alone.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Augment = Literal["default", "strong", "weak", "none"]

_COLOUR = ("hsv_h", "hsv_s", "hsv_v", "bgr")
_SHAPE = ("degrees", "translate", "scale", "shear", "perspective", "flipud", "fliplr")
_MIXING = ("mosaic", "mixup", "cutmix", "copy_paste")

PRESETS: Mapping[Augment, Mapping[str, Any]] = {
    "default": {},
    "strong": {"hsv_h": 0.03, "hsv_s": 0.9, "hsv_v": 0.6, "scale": 0.7, "mosaic": 1.0, "mixup": 0.2, "cutmix": 0.2},
    "weak": {**dict.fromkeys(_MIXING, 0.0), "hsv_h": 0.01, "hsv_s": 0.3, "hsv_v": 0.2, "translate": 0.05, "scale": 0.2},
    "none": dict.fromkeys((*_COLOUR, *_SHAPE, *_MIXING), 0.0),
}
