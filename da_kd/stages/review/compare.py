"""What a person did: the labels an image came with against those it has now. Pure; knows no FiftyOne and no disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from da_kd.stages.review.journal import Action, Box, Entry, image_id

ACCEPTED_TAGS = frozenset({"accepted", "accept"})
REJECTED_TAGS = frozenset({"rejected", "reject"})


@dataclass(frozen=True)
class Label:
    """One label of one image.

    Attributes:
        id: what the database calls it; stays through every edit.
        box: its class, where it lies (pixels) and how sure the teachers were.
        tags: words a rule or a person put on it.
    """

    id: str
    box: Box
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Reviewed:
    """One image in review: ``before``, as it was laid in front of the person, and ``after``, as it is now.

    A label that nobody touched has the same ``box`` in both, to the last bit.

    Attributes:
        sha: content hash of the image, or what stands for it where it was shown a second time.
        before: the labels it came with.
        after: the labels it has now.
        complete: the person marked the image done: every object has its label, and every label is right.
        probability: with what probability the image came into the audit; None where it is not part of one.
        classes: those that the person was asked for.
        when: when the image was last changed, ISO 8601; "" for not known.
        draw: its place in the audit, in the order of drawing, 0 first; None where it is not part of one.
    """

    sha: str
    before: tuple[Label, ...]
    after: tuple[Label, ...]
    complete: bool = False
    probability: float | None = None
    classes: tuple[str, ...] = ()
    when: str = ""
    draw: int | None = None


def compare(images: Sequence[Reviewed], dataset: str, when: str = "", who: str = "") -> list[Entry]:
    """Return one entry for every label that a person did something to, in the order of images and labels.

    A rejection (deleted, or tagged so) goes before all else; then another class, then another place, then a tag that
    accepts. Only tags that were not there before count. A label drawn and rejected in one go is nothing. What still
    stands untouched in an image that is done was accepted by that; the image's own entry follows its labels'.
    """
    found = []
    for image in images:
        before = {label.id: label for label in image.before}
        after = {label.id: label for label in image.after}
        for name in [*before, *(name for name in after if name not in before)]:
            action, new = _judge(before.get(name), after.get(name))
            if action is None and image.complete and name in before:
                action, new = "accepted", before[name].box
            if action is not None:
                old = before[name].box if name in before else None
                found.append(Entry(image.sha, action, name, dataset, old, new, image.when or when, who))
        if image.complete:
            done = Entry(image.sha, "complete", image_id(image.sha), dataset, None, None, image.when or when, who)
            found.append(replace(done, probability=image.probability, classes=image.classes, draw=image.draw))
    return found


def _judge(before: Label | None, after: Label | None) -> tuple[Action | None, Box | None]:
    """Return what was done to one label and what came of it; None for nothing."""
    if after is None:
        return "rejected", None
    tags = after.tags - (before.tags if before else frozenset())
    rejected = bool(tags & REJECTED_TAGS)
    if before is None:
        return (None, None) if rejected else ("added", after.box)
    if rejected:
        return "rejected", None
    if after.box.name != before.box.name:
        return "relabelled", after.box
    if after.box.xyxy != before.box.xyxy:
        return "moved", after.box
    return ("accepted", after.box) if tags & ACCEPTED_TAGS else (None, None)
