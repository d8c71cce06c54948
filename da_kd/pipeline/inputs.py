"""Turns the data section of a recipe into image sets: draws what is to be drawn, reads what lies on the disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from da_kd.data import ImageSet, ScanCache, load_images, overlap
from da_kd.data.corrupt import corrupted_set, write_corrupted
from da_kd.demo import render_set
from da_kd.errors import DataError
from da_kd.events import Job
from da_kd.hashing import hash_json
from da_kd.recipe import Corrupt, Images, Recipe, Teacher
from da_kd.stages.predict import refuse_unreadable
from da_kd.store import Output, Store

_LABELLED = {
    "source": True,
    "source_val": True,
    "target": False,
    "target_labelled": True,
    "target_dev": True,
    "test": True,
}


@dataclass(frozen=True)
class Inputs:
    """The image sets of a recipe, by their key under ``data``; a set the recipe leaves out is absent.

    Attributes:
        sets: by name: ``source``, ``source_val``, ``target``, ``target_labelled``, ``target_dev``, ``test``.
        notes: what a reader of the report has to know about them.
    """

    sets: Mapping[str, ImageSet]
    notes: tuple[str, ...] = field(default=())

    def get(self, name: str) -> ImageSet:
        """Return one set.

        Raises:
            DataError: the recipe has none of that name.
        """
        if name not in self.sets:
            raise DataError(f"The recipe has no 'data.{name}', which is needed here; add it.")
        return self.sets[name]


def load_inputs(recipe: Recipe, store: Store, job: Job) -> Inputs:
    """Read every set of a recipe; labels of ``data.target`` are never opened.

    Raises:
        DataError: a set is missing, empty or has bad labels; labelled sets list every problem.
    """
    job = job.named("data")
    sets: dict[str, ImageSet] = {}
    with ScanCache(store.root / "scan.sqlite") as cache:
        for name, labelled in _LABELLED.items():
            spec: Images | None = getattr(recipe.data, name)
            if spec is None:
                continue
            place = _drawn(spec, recipe.seed, store, job) if spec.render else spec
            sets[name] = load_images(
                place,
                Path(recipe.data.root),
                recipe.classes,
                labels=labelled,
                cache=cache,
                frames=store.root / "frames",
                job=job,
                name=f"data.{name}",
            )
            if spec.corrupt is not None:
                sets[name] = _corrupted(sets[name], spec.corrupt, store, cache, job)
    if "target" in sets:
        refuse_unreadable(sets["target"].table, recipe.predict)
    _require_taught(recipe, sets)
    notes = tuple(_leaks(sets))
    for note in notes:
        job.warn(note)
    return Inputs(sets, notes)


def only_set(recipe: Recipe, name: str) -> Recipe:
    """Return a recipe that has one of its image sets and no other, to look at that set alone."""
    others = dict.fromkeys(set(_LABELLED) - {name})
    return recipe.model_copy(update={"data": recipe.data.model_copy(update=others)})


def learns(teacher: Teacher, source: ImageSet) -> tuple[str, ...]:
    """Return the classes that a teacher is trained on: those it is to learn, else those the source has labels for."""
    if teacher.learns is not None:
        return teacher.learns
    return tuple(name for name, known in zip(source.vocabulary, _labelled(source), strict=True) if known)


def _labelled(images: ImageSet) -> list[bool]:
    """Return for each class whether it was looked for in any image."""
    return [bool(count) for count in images.table.searched.sum(axis=0)]


def _require_taught(recipe: Recipe, sets: Mapping[str, ImageSet]) -> None:
    """Refuse classes that the source has no labels for, where it alone teaches who is to know them."""
    if "source" not in sets:
        return
    source = sets["source"]
    known = {name for name, labelled in zip(source.vocabulary, _labelled(source), strict=True) if labelled}
    trained = [teacher for teacher in recipe.teachers if teacher.weights is None]
    wanted = {name for teacher in trained for name in teacher.learns or ()}
    if len(trained) == len(recipe.teachers):
        wanted |= set(recipe.classes)
    unknown = [name for name in recipe.classes if name in wanted - known]
    if not unknown and trained and not known:
        unknown = list(recipe.classes)
    if unknown:
        raise DataError(
            "data.source: expected labels for every class that only trained teachers know, since they learn from it; "
            f"found none for {', '.join(map(repr, unknown))}. Add such labels, map a class under data.source.classes, "
            "or take it out of 'classes' or 'learns'."
        )


def _drawn(spec: Images, seed: int, store: Store, job: Job) -> Images:
    """Return the specification of a rendered set as a place on the disk, drawing it on first use."""
    lab, count, split = spec.render, spec.count or 0, spec.split[0]
    if lab is None:
        raise DataError("Expected a set to render; found one with a path.")
    output = drawn_output(spec, seed)
    folder = store.make(output, lambda out, work: render_set(lab, split, count, seed, out, work), job)
    # absolute, since a relative path in a recipe counts from the recipe's folder
    return spec.model_copy(update={"path": str(folder.absolute()), "render": None, "count": None, "format": "yolo"})


def drawn_output(spec: Images, seed: int) -> Output:
    """Return the output that a rendered set is kept as."""
    count = spec.count or 0
    parts = {"render": spec.render, "split": spec.split[0], "count": count, "seed": seed}
    return Output("data", parts, units=count)


def _corrupted(images: ImageSet, corrupt: Corrupt, store: Store, cache: ScanCache, job: Job) -> ImageSet:
    """Return damaged copies of a set, drawing them on first use."""
    table = images.table
    parts = {**corrupt_parts(corrupt), "images": hash_json([table.key, table.sha])}
    if not table.ok.all():  # of these there are no copies
        parts["unreadable"] = hash_json(np.flatnonzero(~table.ok).tolist())
    output = Output("data", parts, units=len(table))
    folder = store.make(output, lambda out, work: write_corrupted(images, corrupt, out, work), job)
    return corrupted_set(images, corrupt, folder, cache, job)


def corrupt_parts(corrupt: Corrupt) -> dict[str, Any]:
    """Return what decides how images are damaged, beside the images."""
    return {"corrupt": corrupt.by, "strength": corrupt.strength, "seed": corrupt.seed}


def _leaks(sets: Mapping[str, ImageSet]) -> list[str]:
    """Return a sentence for each set that shares images with the test set, or is not held out though it should be."""
    notes = []
    for name in ("source", "source_val", "target", "target_labelled", "target_dev"):
        if name in sets and "test" in sets:
            shared = overlap(sets[name], sets["test"])
            if shared:
                notes.append(
                    f"{len(shared)} images of data.test are also in data.{name} (same content), e.g. '{shared[0][1]}'; "
                    "figures on them say little about new images."
                )
    if "source" in sets and "source_val" in sets and (shared := overlap(sets["source"], sets["source_val"])):
        notes.append(
            f"{len(shared)} images of data.source_val are also in data.source (same content), e.g. '{shared[0][1]}'; "
            "teachers that learned from them are surer of them than of new images, and so is what is fitted on them."
        )
    if "target_labelled" in sets and "target_dev" in sets:
        shared = overlap(sets["target_labelled"], sets["target_dev"])
        if shared:
            notes.append(
                f"{len(shared)} images of data.target_dev are also in data.target_labelled (same content), e.g. "
                f"'{shared[0][1]}'; models that learned from them are better there than on new images, and what is "
                "chosen by them (thresholds, calibration, the epoch a training ends at) follows."
            )
    return notes
