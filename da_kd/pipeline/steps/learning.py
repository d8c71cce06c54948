"""What a training learns from beside its own images, and what it is validated on; nothing runs here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from da_kd.data import ImageSet, only_classes
from da_kd.data import fingerprint as hash_images
from da_kd.detections import State
from da_kd.errors import DataError
from da_kd.pipeline.steps.builder import Builder
from da_kd.pipeline.steps.restyling import seen_parts, seen_source
from da_kd.recipe import Schedule
from da_kd.stages.evaluate import Scorer
from da_kd.training import Extra


def scorer_of(builder: Builder, schedule: Schedule, classes: Sequence[str] = ()) -> Scorer | None:
    """Return what scores the epochs of a training, None where a fixed schedule decides.

    Args:
        builder: knows the image sets.
        schedule: says which of them.
        classes: those that the model has; none means the recipe's.

    Raises:
        DataError: the images have no box to find.
    """
    images = _validation(builder, schedule, classes)
    if images is None:
        return None
    if not (images.table.state == State.KEPT).any():
        raise DataError(
            f"data.{schedule.validate_on}: expected boxes to validate on; found {len(images)} images without any. "
            "Check the labels, or leave 'validate_on' out."
        )
    batch = builder.recipe.evaluate.batch if builder.recipe.evaluate is not None else 16
    return Scorer(images, batch)


def scorer_parts(builder: Builder, schedule: Schedule, classes: Sequence[str] = ()) -> dict[str, Any]:
    """Return what of :func:`scorer_of` decides a training, by key."""
    images = _validation(builder, schedule, classes)
    return {} if images is None else {f"data.{schedule.validate_on}": hash_images(images)}


def _validation(builder: Builder, schedule: Schedule, classes: Sequence[str]) -> ImageSet | None:
    if schedule.validate_on is None:
        return None
    return _known(builder.inputs.get(schedule.validate_on).usable(), classes)


def _known(images: ImageSet, classes: Sequence[str]) -> ImageSet:
    return only_classes(images, classes) if classes and tuple(classes) != images.vocabulary else images


def extras_of(builder: Builder, rates: Mapping[str, float], classes: Sequence[str] = ()) -> list[Extra]:
    """Return the labelled sets to mix in, by their rates; an image in two of them is taken from the last.

    Only while steps run, since the source may be restyled. ``classes`` are those that the model has; none means the
    recipe's.
    """
    wanted = [name for name, rate in rates.items() if rate]
    sets = {name: seen_source(builder) if name == "source" else builder.inputs.get(name) for name in wanted}
    return [Extra(name, _known(images, classes), rates[name]) for name, images in sets.items()]


def extras_parts(builder: Builder, rates: Mapping[str, float]) -> dict[str, Any]:
    """Return what of :func:`extras_of` decides a training, by key."""
    parts = {f"data.{name}": builder.hashes[name] for name, rate in rates.items() if rate}
    return {**parts, **seen_parts(builder)} if rates.get("source") else parts
