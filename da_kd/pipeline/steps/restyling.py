"""The source as those see it who learn from it on their way to the target: restyled where the recipe asks for it.

The rows *source-only* and *oracle*, and what measures teachers at home, have nothing to do with it. Nothing runs here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from da_kd.data import ImageSet
from da_kd.events import Job
from da_kd.pipeline.steps.builder import Builder
from da_kd.pipeline.steps.keys import keys_of
from da_kd.stages import teach

RESTYLED = "restyle"  # the step that makes the copies


def add_restyle(builder: Builder) -> None:
    """Add the recolouring of the source's images, where the recipe asks for it."""
    config, source, target = builder.recipe.restyle, builder.inputs.sets.get("source"), builder.inputs.get("target")
    if config is None or source is None:
        return
    parts = {
        **keys_of(config, "restyle"),
        "data.source": builder.hashes["source"],
        "data.target": builder.hashes["target"],
        "seed": builder.recipe.seed,
    }
    if not config.turn:
        parts.pop("restyle.turn")  # without it copies are as they were before there was such a key

    def work(out: Path, job: Job) -> None:
        teach.restyle(source, target, config, builder.recipe.seed, out, job)

    builder.add(RESTYLED, "teach", parts, len(source) * config.copies, work, kind="restyle")


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
