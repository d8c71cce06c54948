"""What a review looks like in FiftyOne: the fields, the documents of images and boxes, colours, sidebar and views.

``labels`` is the field that people edit, ``snapshot`` what they were given: each box with the id of its label (``of``)
and its exact pixels (``xyxy``), and nobody edits it. What the queue says of an image or a box stands beside it, as
fields that the sidebar filters by. Knows FiftyOne and tables; must not know where a data set is kept, nor what an edit
means.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from da_kd.detections import DetectionTable, State
from da_kd.events import Job
from da_kd.palette import PALETTE, colours
from da_kd.stages.review.guide import Guide

LABELS, SNAPSHOT = "labels", "snapshot"
INFO = "da_kd"  # what the info of a data set says of itself stands under this name
SHOWN = (State.KEPT, State.UNCERTAIN)
WORDS = {int(State.KEPT): "kept", int(State.UNCERTAIN): "uncertain"}
RULE_TAGS = {int(State.KEPT): "accepted", int(State.UNCERTAIN): "uncertain"}  # what a rule said, to be seen in the App
AUDIT = {True: "audit (blind)", False: "audit"}  # its saved view, by whether pseudo labels are hidden
AGAIN = "again"  # the field that marks an image shown a second time; the sidebar does not tell it with the queue
LAST = 2**31 - 1  # the rank of what stands behind the queue
DONE = "done"  # the tag of an image that is labelled completely
TAGS = ("accepted", "rejected", "uncertain")
QUEUE_FIELDS = ("rank", "worth", "why", "lists", "round", "near_duplicate", "audit", "probability", "draw")


def create(fo: Any, name: str, table: DetectionTable) -> Any:
    """Return a new, empty data set with every field declared, so that the sidebar knows them whatever is in it."""
    dataset = fo.Dataset(name, persistent=False)
    dataset.media_type = "image"
    for path, kind, more in _fields(fo, teacher_fields(table.teachers)):
        dataset.add_sample_field(path, kind, **more)
    dataset.classes = {LABELS: list(table.vocabulary), SNAPSHOT: list(table.vocabulary)}
    dataset.default_classes = list(table.vocabulary)
    return dataset


def _fields(fo: Any, teachers: Sequence[str]) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Yield every field: its path, its type, and what the type needs."""
    yield from ((name, fo.StringField, {}) for name in ("key", "sha", "why", "hash"))
    yield from ((name, fo.BooleanField, {}) for name in ("near_duplicate", "audit", AGAIN))
    yield from ((name, fo.FloatField, {}) for name in ("worth", "probability"))
    yield from ((name, fo.IntField, {}) for name in ("rank", "round", "draw"))
    yield "lists", fo.ListField, {"subfield": fo.StringField}
    for top in (LABELS, SNAPSHOT):
        yield top, fo.EmbeddedDocumentField, {"embedded_doc_type": fo.Detections}
    inside = f"{LABELS}.detections"
    yield from ((f"{inside}.{name}", fo.FloatField, {}) for name in ("agreement", *teachers))
    yield from ((f"{inside}.{name}", fo.StringField, {}) for name in ("state", "why"))
    yield f"{inside}.protected", fo.BooleanField, {}
    yield f"{inside}.round", fo.IntField, {}
    inside = f"{SNAPSHOT}.detections"
    yield from ((f"{inside}.{name}", fo.StringField, {}) for name in ("of", "state"))
    yield f"{inside}.shown", fo.BooleanField, {}
    yield f"{inside}.xyxy", fo.ListField, {"subfield": fo.FloatField}


def teacher_fields(teachers: Sequence[str]) -> tuple[str, ...]:
    """Return the attribute that holds each teacher's score; a database's field names take no dots."""
    names: list[str] = []
    for teacher in teachers:
        plain = "score_" + re.sub(r"\W", "_", teacher)
        names.append(plain if plain not in names else f"{plain}_{len(names) + 1}")
    return tuple(names)


def samples(table: DetectionTable, guide: Guide, root: Path, job: Job, *, tag: bool) -> Iterator[dict[str, Any]]:
    """Yield every readable image as FiftyOne's document, with its boxes that are kept or uncertain.

    An image that the audit shows blind keeps its pseudo labels in ``snapshot`` alone; only what a person decided
    before stands in ``labels``, and nothing is said of why it is worth a look.
    """
    lists: dict[int, list[str]] = {}
    for name, images in guide.lists.items():
        for index in images:
            lists.setdefault(int(index), []).append(name)
    boxes = _Boxes(table, guide, tag)
    # The App shows images in the order in which they came in.
    readable = [int(index) for index in np.argsort(guide.rank, kind="stable") if table.ok[index]]
    for index in job.track(readable, "import", unit="images"):
        audited = bool(guide.draw[index] >= 0)
        blind = audited and guide.blind
        yield {
            **_image(table, index, root),
            "rank": int(guide.rank[index]),
            "worth": float(guide.worth[index]),
            "why": "" if blind else guide.why[index],
            "lists": [] if blind else lists.get(index, []),
            "round": guide.round,
            "near_duplicate": bool(guide.near_duplicate[index]),
            "audit": audited,
            "hash": guide.hashes[index] if guide.hashes else "",
            **({"probability": float(guide.probability[index]), "draw": int(guide.draw[index])} if audited else {}),
            **boxes.of(index, blind=blind),
        }


def second_looks(table: DetectionTable, root: Path, *, blind: bool) -> Iterator[dict[str, Any]]:
    """Yield every image as a document of its own for the end of the audit, which nothing but ``again`` tells apart.

    Its boxes have other ids than those of the first look, so that no answer to one is taken for the other's.
    """
    boxes = _Boxes(table, Guide.plain(table), tag=False, mark=AGAIN)
    for index in range(len(table)):
        told = {"why": "", "lists": [], "round": 1, "near_duplicate": False, "audit": True, AGAIN: True, "draw": index}
        last = {"rank": LAST, "worth": 0.0}
        yield {**_image(table, index, root), **told, **last, **boxes.of(index, blind=blind)}


def _image(table: DetectionTable, index: int, root: Path) -> dict[str, Any]:
    """Return what is known of an image's file."""
    width, height = (int(value) for value in table.size[index])
    return {
        "filepath": str(root / table.key[index]),
        "tags": [],
        "_media_type": "image",
        "_rand": int(_object_id(table.key[index])[:8], 16) / 2**32,
        "metadata": {"_cls": "ImageMetadata", "width": width, "height": height},
        "key": table.key[index],
        "sha": table.sha[index],
    }


class _Boxes:
    """The boxes of a table as FiftyOne's documents; plain numbers are taken out of the columns once."""

    def __init__(self, table: DetectionTable, guide: Guide, tag: bool, mark: str = "") -> None:
        """Take a table; ``mark`` gives its boxes other ids than they have without."""
        self._table, self._guide, self._tag = table, guide, tag
        self._mark = (mark,) if mark else ()
        self._teachers = teacher_fields(table.teachers)
        names = ("xyxy", "score", "label", "state", "agreement", "protected", "teacher_score")
        self._columns = {name: getattr(table, name).tolist() for name in names}
        self._offsets, self._size = table.offsets.tolist(), table.size.tolist()

    def of(self, index: int, blind: bool) -> dict[str, Any]:
        """Return the fields ``labels`` and ``snapshot`` of one image."""
        labels, snapshot = [], []
        column, begin = self._columns, self._offsets[index]
        for row in range(begin, self._offsets[index + 1]):
            if column["state"][row] in SHOWN:
                name = _object_id(*self._mark, self._table.key[index], self._table.sha[index], row - begin)
                box = self._plain(index, row)
                shown = not blind or column["protected"][row]
                if shown:
                    labels.append({"_id": {"$oid": name}, **box, **self._figures(row)})
                # An id of its own: the App finds labels by their id, whatever field they stand in.
                given = {"of": name, "xyxy": column["xyxy"][row], "state": WORDS[column["state"][row]], "shown": shown}
                snapshot.append({"_id": {"$oid": _object_id(name)}, **box, **given})
        fields = {LABELS: labels, SNAPSHOT: snapshot}
        return {name: {"_cls": "Detections", "detections": boxes} for name, boxes in fields.items()}

    def _plain(self, index: int, row: int) -> dict[str, Any]:
        """Return what every detection has; ``bounding_box`` is x, y, width, height relative to the image."""
        width, height = self._size[index]
        x1, y1, x2, y2 = self._columns["xyxy"][row]
        return {
            "_cls": "Detection",
            "attributes": {},
            "tags": [RULE_TAGS[self._columns["state"][row]]] if self._tag else [],
            "label": self._table.vocabulary[self._columns["label"][row]],
            "bounding_box": [x1 / width, y1 / height, (x2 - x1) / width, (y2 - y1) / height],
            "confidence": self._columns["score"][row],
        }

    def _figures(self, row: int) -> dict[str, Any]:
        """Return what is said of a box beside class, place and score."""
        said = zip(self._teachers, self._columns["teacher_score"][row], strict=True)
        why = self._guide.box_why[row]
        return {
            "agreement": self._columns["agreement"][row],
            "state": WORDS[self._columns["state"][row]],
            "protected": self._columns["protected"][row],
            "round": self._guide.round,
            **({"why": why} if why else {}),
            **{name: score for name, score in said if score == score},  # noqa: PLR0124 - NaN is not itself
        }


def _object_id(*parts: object) -> str:
    """Return 24 hex digits that depend on nothing but ``parts``."""
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:24]


def furnish(fo: Any, dataset: Any, table: DetectionTable, guide: Guide, *, tag: bool) -> None:
    """Set up what a person sees of a filled data set, and what they can edit."""
    _make_editable(dataset, table)
    config, shown = dataset.app_config, dataset.app_config.default_active_fields(dataset)
    shown.paths = [LABELS, "tags", "_label_tags", "why"]  # not the snapshot, or every box is drawn twice
    config.active_fields = shown
    config.sidebar_groups = [
        fo.SidebarGroupDocument(name="labels", paths=[LABELS, SNAPSHOT], expanded=True),
        fo.SidebarGroupDocument(name="queue", paths=list(QUEUE_FIELDS), expanded=True),
        fo.SidebarGroupDocument(name="tags", paths=["tags", "_label_tags"], expanded=True),
        fo.SidebarGroupDocument(name="image", paths=_rest(dataset), expanded=False),
    ]
    config.color_scheme = _colours(fo, table.vocabulary)
    dataset.save()
    _save_views(fo, dataset, guide, tag)


def _rest(dataset: Any) -> list[str]:
    """Return the fields that have no group of their own."""
    inside = [f"metadata.{name}" for name in ("size_bytes", "mime_type", "width", "height", "num_channels")]
    plain = [name for name in dataset.get_field_schema() if name not in (LABELS, SNAPSHOT, "tags", "metadata")]
    return [name for name in plain if name not in QUEUE_FIELDS] + inside


def _make_editable(dataset: Any, table: DetectionTable) -> None:
    """Let the App's Annotate tab edit class, place and tags of ``labels``, and only look at the figures.

    ``snapshot`` has no schema, which keeps it out of the tab. (Marked read-only, it makes the tab fail.)
    """
    schema = dataset.generate_label_schemas(LABELS, scan_samples=False)
    schema["classes"] = list(table.vocabulary)
    schema["component"] = "dropdown"
    wanted = [item for item in schema["attributes"] if item["name"] not in ("index", "mask_path")]
    schema["attributes"] = sorted(wanted, key=lambda item: item["name"] != "tags")  # tags first: they decide
    figures = ("agreement", "confidence", "state", "protected", "round", "why", *teacher_fields(table.teachers))
    for attribute in schema["attributes"]:
        if attribute["name"] in figures:
            attribute["read_only"] = True
        elif attribute["name"] == "tags":
            attribute.update(component="checkboxes", values=list(TAGS))
    dataset.set_label_schemas({LABELS: schema})
    dataset.active_label_schemas = [LABELS]


def _colours(fo: Any, vocabulary: Sequence[str]) -> Any:
    """Return one colour a class, the same in every view; the snapshot is grey."""
    values = [{"value": name, "color": colour} for name, colour in colours(vocabulary).items()]
    fields = [
        {"path": LABELS, "colorByAttribute": "label", "fieldColor": PALETTE[0], "valueColors": values},
        {"path": SNAPSHOT, "fieldColor": "#777777", "colorByAttribute": "index", "valueColors": []},
    ]
    return fo.ColorScheme(color_by="value", color_pool=list(PALETTE), fields=fields, opacity=0.7)


def _save_views(fo: Any, dataset: Any, guide: Guide, tag: bool) -> None:
    """Save the views a person starts from, each in the order of the queue."""
    here = fo.ViewField
    for name in guide.lists:
        dataset.save_view(name, dataset.match(here("lists").contains(name)).sort_by("rank"))
    if (guide.draw >= 0).any():
        save_audit_view(fo, dataset, blind=guide.blind)
    for name, state in (("accepted by rule" if tag else "kept", "kept"), ("uncertain", "uncertain")):
        if name not in guide.lists:
            shown = dataset.match(~here(AGAIN)).filter_labels(LABELS, here("state") == state)
            dataset.save_view(name, shown.sort_by("rank"))


def save_audit_view(fo: Any, dataset: Any, *, blind: bool) -> None:
    """Save the view of the audit, in the order of drawing: what was done when time ran out must be a sample too.

    What is shown a second time stands at its end.
    """
    drawn = dataset.match(fo.ViewField("audit")).sort_by([(AGAIN, 1), ("draw", 1)])
    dataset.save_view(AUDIT[blind], drawn, overwrite=True)
