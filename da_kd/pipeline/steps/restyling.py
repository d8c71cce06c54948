"""The source as those see it who learn from it on their way to the target: restyled where the recipe asks for it.

The rows *source-only* and *oracle*, and what measures teachers at home, have nothing to do with it. Nothing runs here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from da_kd.data import ImageSet
from da_kd.data import fingerprint as hash_images
from da_kd.events import Job
from da_kd.pipeline.steps.builder import Builder
from da_kd.pipeline.steps.keys import keys_of
from da_kd.stages import teach

RESTYLED = "restyle"  # the step that makes the copies


def add_restyle(builder: Builder) -> None:
    """Add the recolouring of the source's images, where the recipe asks for it."""
    if builder.recipe.restyle is not None and "source" in builder.inputs.sets:
        _add(builder, RESTYLED, builder.inputs.get("source"), builder.recipe.seed)


def copies_for(builder: Builder, teacher: str, images: ImageSet, seed: int) -> str:
    """Return the step that makes the copies which a teacher sees of the source, "" where the recipe asks for none.

    A teacher that learns some of the classes, or has a seed of its own, has copies of its own, so that recipes which
    differ in the rest can share it.

    Args:
        builder: gets the step where it is another than everybody's.
        teacher: its name.
        images: the source with the labels that it learns.
        seed: of its training.
    """
    if RESTYLED not in builder.steps:
        return ""
    if images is builder.inputs.get("source") and seed == builder.recipe.seed:
        return RESTYLED
    name = f"{RESTYLED}:{teacher}"
    _add(builder, name, images, seed)
    return name


def _add(builder: Builder, name: str, source: ImageSet, seed: int) -> None:
    config, target = builder.recipe.restyle, builder.inputs.get("target")
    assert config is not None  # noqa: S101
    parts = {
        **keys_of(config, "restyle"),
        "data.source": hash_images(source),
        "data.target": builder.hashes["target"],
        "seed": seed,
    }
    if not config.turn:
        parts.pop("restyle.turn")  # without it copies are as they were before there was such a key

    def work(out: Path, job: Job) -> None:
        teach.restyle(source, target, config, seed, out, job)

    builder.add(name, "teach", parts, len(source) * config.copies, work, kind="restyle")


def seen_source(builder: Builder) -> ImageSet:
    """Return the source as it is seen; only while steps run, once the copies are made."""
    source = builder.inputs.get("source")
    return teach.with_restyled(source, builder.made(RESTYLED)) if RESTYLED in builder.steps else source


def seen_parts(builder: Builder) -> dict[str, Any]:
    """Return what of the restyling decides a training on the source, by key."""
    return {RESTYLED: builder.print_of(RESTYLED)} if RESTYLED in builder.steps else {}


def copies_of(builder: Builder) -> int:
    """Return how many copies of each source image are seen beside it."""
    config = builder.recipe.restyle
    return config.copies if config is not None and RESTYLED in builder.steps else 0
