"""The currency between stages: detections of one image (:class:`Detections`) and of many (:class:`DetectionTable`).

Ground truth, what a teacher said, what fusion made of it and what a person corrected are all the same value. The
vocabulary stands in its header, so a label is never an index into somebody else's list. Knows arrays and Arrow; must
not know where images lie, what a run is, or who made the boxes.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from da_kd.boxes import FloatArray
from da_kd.errors import DataError
from da_kd.files import whole

Vocabulary = tuple[str, ...]
BoolArray = npt.NDArray[np.bool_]
Int32 = npt.NDArray[np.int32]


class State(IntEnum):
    """What is to become of a box in training and evaluation."""

    KEPT = 0  # an object to learn from, or to find
    UNCERTAIN = 1  # too doubtful to be object or background; not trained on
    IGNORED = 2  # ground truth that neither rewards nor punishes: VOC difficult, COCO crowd, KITTI DontCare
    DROPPED = 3  # thought to be nothing; stays for the record


def _frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return ``array`` as a contiguous read-only array (a view where it can be)."""
    array = np.ascontiguousarray(array).view()
    array.flags.writeable = False
    return array


@dataclass(frozen=True, eq=False)
class Detections:
    """Boxes found in one image.

    Attributes:
        vocabulary: the C class names that ``label`` counts into.
        xyxy: (N, 4) float32, pixels of the image as displayed.
        score: (N,) float32 in [0, 1]; 1 for ground truth.
        label: (N,) int32 in [0, C).

    Raises:
        DataError: shapes, ranges or lengths do not fit together.
    """

    vocabulary: Vocabulary
    xyxy: FloatArray
    score: FloatArray
    label: Int32

    def __post_init__(self) -> None:
        """Take read-only copies of the right type and check them."""
        object.__setattr__(self, "xyxy", _frozen(np.asarray(self.xyxy, dtype=np.float32).reshape(-1, 4)))
        object.__setattr__(self, "score", _frozen(np.asarray(self.score, dtype=np.float32)))
        object.__setattr__(self, "label", _frozen(np.asarray(self.label, dtype=np.int32)))
        count = len(self.xyxy)
        if self.score.shape != (count,) or self.label.shape != (count,):
            raise DataError(
                f"Detections need one score and one label for each of {count} boxes; "
                f"found {self.score.shape} scores and {self.label.shape} labels."
            )
        if count and not (self.label.min() >= 0 and self.label.max() < len(self.vocabulary)):
            raise DataError(
                f"Labels must lie in 0..{len(self.vocabulary) - 1} for {len(self.vocabulary)} classes; "
                f"found {self.label.min()}..{self.label.max()}."
            )

    def __len__(self) -> int:
        """Return the number of boxes."""
        return len(self.xyxy)

    @classmethod
    def empty(cls, vocabulary: Vocabulary) -> Detections:
        """Return no box at all."""
        return cls(vocabulary, np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32))

    def pick(self, index: npt.NDArray[Any]) -> Detections:
        """Return the boxes a boolean mask or an index array picks."""
        return Detections(self.vocabulary, self.xyxy[index], self.score[index], self.label[index])


@dataclass(frozen=True, eq=False)
class DetectionTable:
    """Detections of I images with B boxes in all; columns are read-only numpy arrays or tuples.

    The boxes of image ``i`` are the rows ``offsets[i]:offsets[i + 1]``. An image with no box and an image nobody looked
    at are different things: see ``searched``.

    Attributes:
        vocabulary: the C class names.
        key: I image names, unique, relative to wherever the images lie, with ``/`` between folders.
        sha: I content hashes (hex); "" where the file could not be read.
        size: (I, 2) int32 width and height in pixels, as displayed (EXIF orientation applied); 0 where unknown.
        reason: I strings, "" for a usable image, else why it is not.
        searched: (I, C) bool, the classes somebody looked for in the image.
        offsets: (I + 1,) int64.
        xyxy: (B, 4) float32 pixels.
        score: (B,) float32 in [0, 1].
        label: (B,) int32.
        state: (B,) int8, a :class:`State`.
        agreement: (B,) float32 in [0, 1], the share of the able teachers that saw the box; 1 for ground truth.
        protected: (B,) bool, True for what a person did; no rule or later round may change it.
        teachers: T teacher names.
        teacher_score: (B, T) float32, what each teacher said; NaN where it said nothing.
    """

    vocabulary: Vocabulary
    key: tuple[str, ...]
    sha: tuple[str, ...]
    size: Int32
    reason: tuple[str, ...]
    searched: BoolArray
    offsets: npt.NDArray[np.int64]
    xyxy: FloatArray
    score: FloatArray
    label: Int32
    state: npt.NDArray[np.int8]
    agreement: FloatArray
    protected: BoolArray
    teachers: tuple[str, ...] = ()
    teacher_score: FloatArray = dataclasses.field(default_factory=lambda: np.zeros((0, 0), np.float32))

    def __post_init__(self) -> None:
        """Freeze the columns and check that they fit together."""
        images, boxes, classes = len(self.key), len(self.xyxy), len(self.vocabulary)
        if self.teacher_score.shape == (0, 0):  # not given
            object.__setattr__(self, "teacher_score", np.full((boxes, len(self.teachers)), np.nan, np.float32))
        shapes = {
            "size": (images, 2),
            "searched": (images, classes),
            "offsets": (images + 1,),
            "xyxy": (boxes, 4),
            "score": (boxes,),
            "label": (boxes,),
            "state": (boxes,),
            "agreement": (boxes,),
            "protected": (boxes,),
            "teacher_score": (boxes, len(self.teachers)),
        }
        for name, shape in shapes.items():
            column = _frozen(getattr(self, name))
            if column.shape != shape:
                raise DataError(f"Column '{name}' of a detection table must have shape {shape}; found {column.shape}.")
            object.__setattr__(self, name, column)
        if len(self.sha) != images or len(self.reason) != images:
            raise DataError(f"A detection table of {images} images needs as many hashes and reasons.")
        if len(set(self.key)) != images:
            raise DataError("Image keys of a detection table must be unique.")
        if self.offsets[0] != 0 or self.offsets[-1] != boxes or (np.diff(self.offsets) < 0).any():
            raise DataError(f"Offsets of a detection table must rise from 0 to its {boxes} boxes, and never fall.")

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.key)

    @cached_property  # asked image by image in places
    def ok(self) -> BoolArray:
        """(I,) bool: True for images that could be read."""
        return _frozen(np.array([not reason for reason in self.reason], dtype=bool))

    @property
    def image_index(self) -> npt.NDArray[np.int64]:
        """(B,) int64: the image each box belongs to."""
        return np.repeat(np.arange(len(self), dtype=np.int64), np.diff(self.offsets))

    def at(self, index: int, states: Iterable[State] = (State.KEPT,)) -> Detections:
        """Return the boxes of image ``index`` whose state is one of ``states``."""
        rows = slice(int(self.offsets[index]), int(self.offsets[index + 1]))
        keep = np.isin(self.state[rows], [int(state) for state in states])
        return Detections(self.vocabulary, self.xyxy[rows][keep], self.score[rows][keep], self.label[rows][keep])

    def __iter__(self) -> Iterator[tuple[str, Detections]]:
        """Yield every image's key and kept boxes, in order."""
        for index, key in enumerate(self.key):
            yield key, self.at(index)

    def take(self, images: Sequence[int] | npt.NDArray[np.integer]) -> DetectionTable:
        """Return the table of the images at these positions, in this order."""
        picked = np.arange(len(self), dtype=np.int64)[np.asarray(images, dtype=np.int64)]
        counts = np.diff(self.offsets)[picked]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        rows = np.repeat(self.offsets[picked] - offsets[:-1], counts) + np.arange(offsets[-1], dtype=np.int64)
        return dataclasses.replace(
            self,
            key=tuple(self.key[i] for i in picked),
            sha=tuple(self.sha[i] for i in picked),
            reason=tuple(self.reason[i] for i in picked),
            size=self.size[picked],
            searched=self.searched[picked],
            offsets=offsets,
            **{name: getattr(self, name)[rows] for name in _BOX_COLUMNS},
        )

    def part(self, images: slice) -> DetectionTable:
        """Return the table of a run of images, ``slice(begin, end)``, without copying a box."""
        offsets = self.offsets[images.start : images.stop + 1]
        rows = slice(int(offsets[0]), int(offsets[-1]))
        return dataclasses.replace(
            self,
            offsets=offsets - offsets[0],
            **{name: getattr(self, name)[images] for name in _IMAGE_COLUMNS},
            **{name: getattr(self, name)[rows] for name in _BOX_COLUMNS},
        )

    def pick_boxes(self, keep: BoolArray) -> DetectionTable:
        """Return the table with the same images and only the boxes of the (B,) mask."""
        counts = np.bincount(self.image_index[keep], minlength=len(self))
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        columns = {name: getattr(self, name)[keep] for name in _BOX_COLUMNS}
        return dataclasses.replace(self, offsets=offsets, **columns)

    def write(self, path: Path) -> None:
        """Write the table as one Parquet file (see :func:`read_table`), under a temporary name, then rename."""
        import pyarrow.parquet as pq

        with whole(path) as temporary:
            pq.write_table(self.to_arrow(), temporary, compression="zstd")

    def to_arrow(self) -> Any:
        """Return the table as an Arrow table of one row an image; see :func:`from_arrow`."""
        import pyarrow as pa

        boxes = pa.StructArray.from_arrays(
            [
                pa.FixedSizeListArray.from_arrays(pa.array(self.xyxy.reshape(-1)), 4),
                pa.array(self.score),
                pa.array(self.label),
                pa.array(self.state),
                pa.array(self.agreement),
                pa.array(self.protected),
                _fixed_list(self.teacher_score),
            ],
            names=list(_BOX_COLUMNS),
        )
        header = {"da_kd": json.dumps({"schema": 1, "vocabulary": self.vocabulary, "teachers": self.teachers})}
        return pa.table(
            {
                "key": pa.array(self.key, pa.string()),
                "sha": pa.array(self.sha, pa.string()),
                "size": _fixed_list(self.size),
                "reason": pa.array(self.reason, pa.string()),
                "searched": _fixed_list(self.searched),
                "boxes": pa.LargeListArray.from_arrays(pa.array(self.offsets), boxes),
            }
        ).replace_schema_metadata(header)


_IMAGE_COLUMNS = ("key", "sha", "size", "reason", "searched")
_BOX_COLUMNS = ("xyxy", "score", "label", "state", "agreement", "protected", "teacher_score")


def _fixed_list(array: npt.NDArray[Any]) -> Any:
    """Return a 2D array as an Arrow column of lists, one a row (lists, since Arrow cannot fix a length of 0)."""
    import pyarrow as pa

    rows, width = array.shape
    offsets = np.arange(rows + 1, dtype=np.int32) * width
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(array.reshape(-1)))


def read_table(path: Path) -> DetectionTable:
    """Read a table that :meth:`DetectionTable.write` wrote.

    Raises:
        DataError: the file is missing or is not such a table.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return from_arrow(pq.read_table(path, memory_map=False))
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        raise DataError(f"Expected a detection table at {path}; it cannot be read ({error}).") from error


def from_arrow(table: Any) -> DetectionTable:
    """Return the detections of an Arrow table that :meth:`DetectionTable.to_arrow` made.

    Raises:
        KeyError: it is another table.
        ValueError: its header is damaged.
    """
    import pyarrow as pa

    table, header = table.combine_chunks(), json.loads((table.schema.metadata or {})[b"da_kd"])
    images = table.num_rows
    teachers, vocabulary = tuple(header["teachers"]), tuple(header["vocabulary"])

    def column(name: str) -> Any:
        chunked = table.column(name)
        return chunked.chunk(0) if chunked.num_chunks else pa.array([], chunked.type)

    boxes_list = column("boxes")
    boxes = boxes_list.flatten()

    def flat(name: str) -> npt.NDArray[Any]:
        return np.asarray(boxes.field(name).to_numpy(zero_copy_only=False))

    count = len(boxes)
    return DetectionTable(
        vocabulary=vocabulary,
        key=tuple(column("key").to_pylist()),
        sha=tuple(column("sha").to_pylist()),
        size=column("size").flatten().to_numpy().reshape(images, 2),
        reason=tuple(column("reason").to_pylist()),
        searched=column("searched").flatten().to_numpy(zero_copy_only=False).reshape(images, len(vocabulary)),
        offsets=boxes_list.offsets.to_numpy() if images else np.zeros(1, np.int64),
        xyxy=boxes.field("xyxy").flatten().to_numpy().reshape(count, 4),
        score=flat("score"),
        label=flat("label"),
        state=flat("state"),
        agreement=flat("agreement"),
        protected=flat("protected"),
        teachers=teachers,
        teacher_score=boxes.field("teacher_score").flatten().to_numpy().reshape(count, len(teachers)),
    )


@dataclass(frozen=True)
class ImageRecord:
    """What is known of one image file before anybody looks for objects in it (see :class:`DetectionTable`)."""

    key: str
    sha: str
    width: int
    height: int
    reason: str = ""


def table_of(
    vocabulary: Vocabulary,
    images: Sequence[ImageRecord],
    found: Mapping[str, Detections],
    searched: Iterable[str] | None = None,
    state: Mapping[str, npt.NDArray[np.integer]] | None = None,
    teachers: tuple[str, ...] = (),
) -> DetectionTable:
    """Build a table from one :class:`Detections` per image.

    Args:
        vocabulary: the class names; every ``found`` value must have the same.
        images: one record per image, in the order wanted.
        found: boxes by image key; an image that is not in it was *not searched*, one with no boxes was.
        searched: the classes looked for where an image was searched; None means all of the vocabulary.
        state: by image key, a :class:`State` per box; kept where absent.
        teachers: with exactly one name, its column of ``teacher_score`` holds the scores.

    Raises:
        DataError: a vocabulary differs, or ``found`` names an image that is not in ``images``.
    """
    keys = [image.key for image in images]
    unknown = set(found) - set(keys)
    if unknown:
        raise DataError(f"Boxes were given for {len(unknown)} images that are not in the list, e.g. '{min(unknown)}'.")
    if any(item.vocabulary != vocabulary for item in found.values()):
        raise DataError(f"Every image's boxes must count into the classes {list(vocabulary)}.")
    parts = [found.get(key, Detections.empty(vocabulary)) for key in keys]
    counts = np.array([len(part) for part in parts], dtype=np.int64)
    total = int(counts.sum())
    wanted = set(vocabulary if searched is None else searched)
    mask = np.array([name in wanted for name in vocabulary], dtype=bool)
    looked = np.array([key in found for key in keys], dtype=bool)
    given = state or {}
    states = [np.asarray(given.get(key, np.zeros(len(part))), np.int8) for key, part in zip(keys, parts, strict=True)]
    score = np.concatenate([part.score for part in parts]) if parts else np.zeros(0, np.float32)
    return DetectionTable(
        vocabulary=vocabulary,
        key=tuple(keys),
        sha=tuple(image.sha for image in images),
        size=np.array([(image.width, image.height) for image in images], dtype=np.int32).reshape(-1, 2),
        reason=tuple(image.reason for image in images),
        searched=looked[:, None] & mask[None, :],
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        xyxy=np.concatenate([part.xyxy for part in parts]) if parts else np.zeros((0, 4), np.float32),
        score=score,
        label=np.concatenate([part.label for part in parts]) if parts else np.zeros(0, np.int32),
        state=np.concatenate(states) if parts else np.zeros(0, np.int8),
        agreement=np.ones(total, np.float32),
        protected=np.zeros(total, bool),
        teachers=teachers,
        teacher_score=score[:, None] if len(teachers) == 1 else np.full((total, len(teachers)), np.nan, np.float32),
    )


def stack(tables: Sequence[DetectionTable]) -> DetectionTable:
    """Return the tables one after the other as one; vocabularies and teachers must be equal, keys distinct.

    Raises:
        DataError: there is no table, or they do not fit.
    """
    if not tables:
        raise DataError("There is no detection table to join.")
    first = tables[0]
    if any(table.vocabulary != first.vocabulary or table.teachers != first.teachers for table in tables):
        raise DataError("Only detection tables of the same classes and teachers can be joined.")
    starts = np.cumsum([0, *(len(table.xyxy) for table in tables)])
    offsets = [table.offsets[:-1] + start for table, start in zip(tables, starts, strict=False)]
    joined = ("size", "searched", *_BOX_COLUMNS)
    columns: dict[str, Any] = {name: np.concatenate([getattr(t, name) for t in tables]) for name in joined}
    return dataclasses.replace(
        first,
        key=tuple(key for table in tables for key in table.key),
        sha=tuple(sha for table in tables for sha in table.sha),
        reason=tuple(reason for table in tables for reason in table.reason),
        offsets=np.concatenate([*offsets, starts[-1:]]).astype(np.int64),
        **columns,
    )
