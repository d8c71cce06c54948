"""What the keys and buttons of the App do to a review's data set, and how far the review is.

Everything goes through FiftyOne's public functions, whose writes the database confirms. Knows the fields of
:mod:`da_kd.stages.review.layout`; must not know operators, panels, nor the journal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from da_kd.detections import Detections, DetectionTable, ImageRecord, State, table_of
from da_kd.stages.review.layout import AGAIN, AUDIT, DONE, INFO, LABELS, SNAPSHOT, WORDS
from da_kd.stages.review.reviewer import error_rate
from da_kd.stages.review.sample import of_part

DECIDED = ("accepted", "rejected")
_INSIDE = f"{LABELS}.detections"


def decide(view: Any, labels: Iterable[str], tag: str) -> int:
    """Tag the labels of these ids ``accepted`` or ``rejected``, or neither for ""; return how many there are.

    A label has one of the tags at most, so that the last word counts.
    """
    chosen = view.select_labels(ids=list(labels), fields=LABELS)
    count = int(chosen.count(_INSIDE))
    if count:
        chosen.untag_labels([word for word in DECIDED if word != tag], label_fields=LABELS)
        if tag:
            chosen.tag_labels(tag, label_fields=LABELS)
    return count


def relabel(view: Any, labels: Iterable[str], name: str) -> int:
    """Give the labels of these ids another class; return how many there are."""
    chosen = view.select_labels(ids=list(labels), fields=LABELS)
    count = int(chosen.count(_INSIDE))
    if count:
        ids = [one for image in chosen.values(f"{_INSIDE}.id") for one in image]
        view.set_label_values(f"{_INSIDE}.label", dict.fromkeys(ids, name))
    return count


def rest_above(fo: Any, view: Any, score: float) -> list[str]:
    """Return the ids of the labels of a view that nobody decided on and that score at least ``score``.

    Images of an audit are left out: what measures is judged one by one.
    """
    label = fo.ViewField
    open_ = (label("confidence") >= score) & ~label("tags").contains(list(DECIDED))
    found = view.match(~label("audit")).filter_labels(LABELS, open_)
    return [name for names in found.values(f"{_INSIDE}.id") for name in names or ()]


def labels_of(view: Any, samples: Sequence[str]) -> list[str]:
    """Return the ids of the labels that a view shows of these images."""
    found = view.select(list(samples)).values(f"{_INSIDE}.id")
    return [name for names in found for name in names or ()]


def mark(dataset: Any, samples: Sequence[str], complete: bool) -> None:
    """Mark images done, or open again."""
    chosen = dataset.select(list(samples))
    if complete:
        chosen.tag_samples(DONE)
    else:
        chosen.untag_samples(DONE)


def next_open(view: Any, current: str | None) -> str | None:
    """Return the image of a view that comes next in its order and is not done; from the start again after the last."""
    names, tags = view.values(["id", "tags"])
    begin = names.index(current) + 1 if current in names else 0
    for at in (*range(begin, len(names)), *range(begin)):
        if DONE not in tags[at] and names[at] != current:
            return str(names[at])
    return None


def progress(dataset: Any) -> dict[str, int]:
    """Return how much is done: images, those of the audit, those shown again, and labels by what was decided.

    ``of`` is how many images the set has, ``images`` how many of them are in the data set.
    """
    looks = list(zip(*dataset.values(["audit", AGAIN, "tags"]), strict=True))
    twice = [DONE in words for _, again, words in looks if again]
    audited = [audit for audit, again, _ in looks if not again]
    done = [DONE in words for _, again, words in looks if not again]
    tags = Counter(dataset.count_label_tags(LABELS))
    return {
        "images": len(done),
        "of": int(dataset.info.get(INFO, {}).get("of", len(done))),
        "done": sum(done),
        "audit": sum(map(bool, audited)),
        "audit_done": sum(bool(a and d) for a, d in zip(audited, done, strict=True)),
        "again": len(twice),
        "again_done": sum(twice),
        "labels": int(dataset.count(_INSIDE)),
        **{tag: tags[tag] for tag in DECIDED},
    }


def audited(fo: Any, dataset: Any) -> tuple[DetectionTable, DetectionTable, dict[str, float], int]:
    """Return what the images of the audit that are done say: pseudo labels, truth, probabilities, and population.

    The first of them is about every image of the data set, but has boxes of the audited ones alone; the last is how
    many images the audit was drawn from, which need not all be in the data set. Probabilities go by content. Only the
    first images in the order of drawing count, up to the first that is not done: those are a sample as well, drawn with
    smaller probabilities.
    """
    looks = dataset.match(~fo.ViewField(AGAIN))
    keys, shas, widths, heights, draws, tags, chance = looks.values(
        ["key", "sha", "metadata.width", "metadata.height", "draw", "tags", "probability"]
    )
    order = sorted((draw, at) for at, draw in enumerate(draws) if draw is not None)
    first = next((k for k, (_, at) in enumerate(order) if DONE not in tags[at]), len(order))
    mine = [keys[at] for _, at in order[:first]]
    found = looks.match(fo.ViewField("key").is_in(mine))
    vocabulary = tuple(dataset.default_classes)
    images = [ImageRecord(*image) for image in zip(keys, shas, widths, heights, strict=True)]
    given, states = _boxes(found, SNAPSHOT, vocabulary)
    drawn, _ = _boxes(found, LABELS, vocabulary)
    labels = table_of(vocabulary, images, given, state=states)
    truth = table_of(vocabulary, [image for image in images if image.key in set(mine)], drawn)
    population = int(dataset.info.get(INFO, {}).get("of", len(labels)))
    chances = of_part(np.array([chance[at] for _, at in order[:first]], np.float64), population)
    return labels, truth, dict(zip([shas[at] for _, at in order[:first]], chances.tolist(), strict=True)), population


def errors(fo: Any, dataset: Any) -> dict[str, Any]:
    """Return how often the reviewer errs, by the images that are done twice: see :func:`error_rate`."""
    here = fo.ViewField
    first, second = (dataset.match(here("audit") & look).match_tags(DONE) for look in (~here(AGAIN), here(AGAIN)))
    keys = sorted(set(first.values("key")) & set(second.values("key")))
    first, second = (view.match(here("key").is_in(keys)) for view in (first, second))
    names = ("key", "sha", "metadata.width", "metadata.height")
    images = [ImageRecord(*image) for image in zip(*first.values(list(names)), strict=True)]
    vocabulary = tuple(dataset.default_classes)
    one, other = (table_of(vocabulary, images, _boxes(view, LABELS, vocabulary)[0]) for view in (first, second))
    asked, states = _boxes(second, SNAPSHOT, vocabulary)
    blind = dataset.has_saved_view(AUDIT[True])
    return error_rate(one, other, None if blind else table_of(vocabulary, images, asked, state=states))


def _boxes(
    view: Any, field: str, vocabulary: tuple[str, ...]
) -> tuple[dict[str, Detections], dict[str, npt.NDArray[np.int8]]]:
    """Return the boxes of a field and their states by image; those that a person rejected are left out."""
    inside = f"{field}.detections"
    names = ["key", "metadata.width", "metadata.height"]
    names += [f"{inside}.{name}" for name in ("label", "bounding_box", "confidence", "tags", "state")]
    numbers = {word: state for state, word in WORDS.items()}
    found, states = {}, {}
    for key, width, height, *columns in zip(*view.values(names), strict=True):
        boxes = list(zip(*(column or () for column in columns), strict=True))
        boxes = [box for box in boxes if box[0] in vocabulary and box[1] and "rejected" not in (box[3] or ())]
        relative = np.array([box[1] for box in boxes], np.float64).reshape(-1, 4)
        edges = np.concatenate([relative[:, :2], relative[:, :2] + relative[:, 2:]], axis=1)
        found[key] = Detections(
            vocabulary,
            (edges * (width, height, width, height)).astype(np.float32),
            np.array([1.0 if box[2] is None else box[2] for box in boxes], np.float32),
            np.array([vocabulary.index(box[0]) for box in boxes], np.int32),
        )
        states[key] = np.array([numbers.get(box[4], int(State.KEPT)) for box in boxes], np.int8)
    return found, states


def told(figures: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return for each class what the audit says of the labels as they stand: class, precision, recall, in words."""

    def words(one: Mapping[str, Any]) -> str:
        if one["value"] is None:
            return "not known"
        return f"{one['value']:.2f} ({one['low']:.2f} to {one['high']:.2f})"

    classes = figures["classes"].items()
    return [(name, words(one["as_kept"]["precision"]), words(one["as_kept"]["recall"])) for name, one in classes]
