"""Reads Pascal VOC folders: ``JPEGImages``, one XML file an image in ``Annotations``, splits in ``ImageSets/Main``.

Pixels count from 1 there and from 0 here. Objects marked *difficult* neither reward nor punish. The format has no list
of classes: they are the names in all of ``Annotations``, in alphabetical order. Must not know the recipe's classes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

from da_kd.data.files import natural, read_text, walk
from da_kd.data.images import IMAGE_SUFFIXES
from da_kd.data.problems import Problems
from da_kd.data.source import Box, Source, Truth, cut, missing_split
from da_kd.detections import ImageRecord, State
from da_kd.errors import DataError

ANNOTATIONS = "Annotations"
IMAGES = "JPEGImages"
_SPLITS = "ImageSets/Main"
_REMEDY = "Every image needs an XML file (without <object> where it has none); correct the files, or name a 'split'."


def is_voc(path: Path) -> bool:
    """Say whether a folder is laid out like Pascal VOC."""
    return (path / ANNOTATIONS).is_dir() and (path / IMAGES).is_dir()


def open_voc(path: Path, split: Sequence[str] = (), *, labels: bool = True) -> Source:
    """List the images of a VOC folder; keys count from its ``JPEGImages``.

    Args:
        path: the folder.
        split: which lists of ``ImageSets/Main`` to take; empty means every image.
        labels: offer the labels too; else no XML file is opened.

    Raises:
        DataError: the folder is laid out otherwise, a split does not exist or names an image that is not there, or XML
            files are broken.
    """
    if not is_voc(path):
        raise DataError(f"Expected a VOC folder at {path}; found no '{ANNOTATIONS}' and '{IMAGES}' in it.")
    key_of = _images_by_stem(path)
    stems = _listed(path, split, key_of) if split else list(key_of)
    problems = Problems(f"The splits {list(split)} of {path}", "Correct the lists in ImageSets/Main.")
    for stem in stems:
        if stem not in key_of:
            problems.add(f"'{stem}'", f"expected an image of that name in {IMAGES}, found none")
    problems.raise_any()
    root, keys = path / IMAGES, tuple(key_of[stem] for stem in stems)
    if not labels:
        return Source(str(path), root, keys)
    parsed = _parse_all(path, stems, key_of, everything=not split)
    names = tuple(sorted({_text(item, "name") for tree in parsed.values() for item in tree.iter("object")}))

    def truth(records: Sequence[ImageRecord]) -> Truth:
        return _read(path, parsed, records, names)

    return Source(str(path), root, keys, names, truth)


def _images_by_stem(path: Path) -> dict[str, str]:
    """Return keys by name without suffix."""
    key_of: dict[str, str] = {}
    for key in walk(path / IMAGES, IMAGE_SUFFIXES):
        stem = key.rsplit(".", 1)[0]
        if stem in key_of:
            raise DataError(f"{path / IMAGES}: expected one image named '{stem}'; found '{key_of[stem]}' and '{key}'.")
        key_of[stem] = key
    return key_of


def _listed(path: Path, split: Sequence[str], key_of: Mapping[str, str]) -> list[str]:
    """Return the image names of the splits, each once."""
    folder = path / _SPLITS
    existing = sorted((file.stem for file in folder.glob("*.txt")), key=natural) if folder.is_dir() else []
    absent = [name for name in split if name not in existing]
    if absent:
        raise missing_split(f"The VOC folder {path}", absent, existing)
    stem_of = {key: stem for stem, key in key_of.items()} | {stem: stem for stem in key_of}
    lines = [line.strip() for name in split for line in read_text(folder / f"{name}.txt").splitlines()]
    return list(dict.fromkeys(_stem(line, stem_of) for line in lines if line))


def _stem(line: str, stem_of: Mapping[str, str]) -> str:
    """Return the image that a line names; a name may hold blanks, and -1, 0 or 1 may follow it (lists of one class)."""
    alone = re.sub(r"\s+(-1|0|1)$", "", line)
    return next((stem_of[name] for name in (line, alone, line.split(maxsplit=1)[0]) if name in stem_of), alone)


def _parse_all(
    path: Path, stems: Sequence[str], key_of: Mapping[str, str], *, everything: bool
) -> dict[str, ElementTree.Element]:
    """Return every XML file by image name: those wanted, and the others for their class names."""
    problems = Problems(f"The labels of {path}", _REMEDY)
    files = walk(path / ANNOTATIONS, {".xml"})
    parsed = {}
    for name in files:
        stem = name.rsplit(".", 1)[0]
        if everything and stem not in key_of:
            problems.add(f"{ANNOTATIONS}/{name}", f"expected an image of that name in {IMAGES}, found none")
        try:
            parsed[stem] = _parse(path / ANNOTATIONS / name)
        except ValueError as error:
            problems.add(f"{ANNOTATIONS}/{name}", str(error))
    there = {name.rsplit(".", 1)[0] for name in files}
    for stem in stems:
        if stem not in there:
            problems.add(f"{IMAGES}/{key_of[stem]}", f"expected {ANNOTATIONS}/{stem}.xml, found none")
    problems.raise_any()
    return parsed


class _Plain(ElementTree.TreeBuilder):
    """Builds the tree of a file without a document type: there entities are made, in whatever encoding."""

    def doctype(self, *_: object) -> None:
        """Refuse it."""
        raise ValueError("expected plain XML, found a document type, which can harm the reader")


def _parse(path: Path) -> ElementTree.Element:
    """Return a file's root element; raises ValueError with what is wrong."""
    try:
        root = ElementTree.fromstring(path.read_bytes(), ElementTree.XMLParser(target=_Plain()))  # noqa: S314
    except (OSError, ElementTree.ParseError, LookupError) as error:
        raise ValueError(f"expected XML, found a mistake: {error}") from error
    if any(not _text(item, "name") for item in root.iter("object")):
        raise ValueError("expected a <name> in every <object>, found one without")
    return root


def _read(
    path: Path, parsed: Mapping[str, ElementTree.Element], records: Sequence[ImageRecord], names: tuple[str, ...]
) -> Truth:
    """Read the boxes of the images given."""
    truth = Truth(names)
    problems = Problems(f"The labels of {path}", _REMEDY)
    for record in records:
        truth.looked(record.key)
        stem = record.key.rsplit(".", 1)[0]
        tree = parsed[stem]
        for number, item in enumerate(tree.findall("object"), start=1):
            try:
                box = _box(item, record, tree)
            except ValueError as error:
                problems.add(f"{ANNOTATIONS}/{stem}.xml, object {number}", str(error))
            else:
                difficult = _text(item, "difficult") not in ("", "0")
                state = State.IGNORED if difficult else State.KEPT
                truth.add(record.key, box, names.index(_text(item, "name")), state)
    problems.raise_any()
    return truth


def _box(item: ElementTree.Element, record: ImageRecord, tree: ElementTree.Element) -> Box:
    """Return an object's box in pixels that count from 0; raises ValueError with what is wrong."""
    claimed = (_number(tree, "size/width"), _number(tree, "size/height"))
    if all(claimed) and claimed != (record.width, record.height):
        raise ValueError(
            f"expected an image of {claimed[0]:g}x{claimed[1]:g} pixels as the file says, "
            f"found {record.width}x{record.height} as displayed (EXIF orientation applied)"
        )
    try:
        x1, y1, x2, y2 = (float(_text(item, f"bndbox/{name}")) for name in ("xmin", "ymin", "xmax", "ymax"))
    except ValueError:
        raise ValueError("expected a <bndbox> of four numbers, found none") from None
    whole = cut((x1 - 1, y1 - 1, x2, y2), record.width, record.height)
    if whole is None or not all(map(math.isfinite, (x1, y1, x2, y2))):
        raise ValueError(f"expected a box with an area inside the image, found {x1:g} {y1:g} {x2:g} {y2:g}")
    return whole


def _text(item: ElementTree.Element, name: str) -> str:
    """Return the text of a child, "" where there is none."""
    return (item.findtext(name) or "").strip()


def _number(item: ElementTree.Element, name: str) -> float:
    """Return the number in a child, 0 where there is none."""
    try:
        return float(_text(item, name))
    except ValueError:
        return 0.0
