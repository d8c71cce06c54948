"""COCO truth and result files as a user hands them in: reading them, and saying plainly what is wrong with them.

Knows the JSON layouts; must not know how boxes are scored.
"""

from __future__ import annotations

import json
import math
import reprlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from da_kd.errors import DataError, InputError

_LAYOUTS = "a list of results, or a COCO object whose 'annotations' have a 'score'"


def read_truth_and_predictions(truth: Path, predictions: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Read and check a COCO ground truth and a file of predictions on its images.

    Args:
        truth: a COCO object with ``images``, ``annotations`` and ``categories``.
        predictions: a COCO results list, or a COCO object whose annotations have scores.

    Returns:
        The truth as it stands in the file, and the results as a list.

    Raises:
        InputError: a file is missing or cannot be read.
        DataError: a file is not JSON, has neither layout, or the two do not belong together.
    """
    known = _read_json(truth)
    found = _read_json(predictions)
    if isinstance(found, Mapping) and "annotations" in found:
        found = found["annotations"]
    if not isinstance(found, list):
        raise DataError(f"Expected {predictions} to hold {_LAYOUTS}; found {_layout(found)}; export it as one of them.")
    check_coco(known, found, str(truth), str(predictions))
    return known, found


def check_coco(
    truth: Any,
    predictions: Any,
    truth_name: str = "the ground truth",
    predictions_name: str = "the predictions",
) -> None:
    """Raise :class:`DataError` where a truth object and a list of results cannot be scored against each other.

    Boxes are ``x, y, width, height`` in pixels, finite and not negative in size; scores are finite numbers.
    """
    _check_truth(truth, truth_name)
    if not isinstance(predictions, Sequence) or isinstance(predictions, str | bytes):
        raise DataError(f"Expected {predictions_name} to be {_LAYOUTS}; found {_layout(predictions)}.")
    _check_boxes(predictions, ("image_id", "category_id", "bbox", "score"), predictions_name)
    _check_known(predictions, "image_id", (image["id"] for image in truth["images"]), predictions_name, truth_name)
    _check_known(predictions, "category_id", (item["id"] for item in truth["categories"]), predictions_name, truth_name)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise InputError(f"Expected a COCO JSON file at {path}; found none; check the path.") from error
    except OSError as error:
        raise InputError(f"Expected a COCO JSON file at {path}; it cannot be read ({error}).") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"Expected JSON in {path}; found something else ({error}); export the file again.") from error


def _layout(value: Any) -> str:
    """Return in words what a JSON value is."""
    if isinstance(value, Mapping):
        keys = ", ".join(repr(key) for key in list(value)[:5])
        return f"an object with the keys {keys}" if keys else "an empty object"
    return {list: "a list", str: "a text", type(None): "null"}.get(type(value), f"a {type(value).__name__}")


def _check_truth(truth: Any, name: str) -> None:
    parts = ("images", "annotations", "categories")
    if not isinstance(truth, Mapping) or any(not isinstance(truth.get(part), list) for part in parts):
        raise DataError(
            f"Expected {name} to be a COCO object with the lists 'images', 'annotations' and 'categories'; "
            f"found {_layout(truth)}; give a COCO detection file with labels."
        )
    _check_keys(truth["images"], ("id",), f"'images' of {name}")
    _check_keys(truth["categories"], ("id", "name"), f"'categories' of {name}")
    for part in ("images", "categories"):
        ids = [item["id"] for item in truth[part]]
        if len(set(ids)) != len(ids):
            twice = Counter(ids).most_common(1)[0][0]
            raise DataError(f"Expected distinct ids in '{part}' of {name}; found {twice!r} twice; number them anew.")
    _check_boxes(truth["annotations"], ("image_id", "category_id", "bbox"), f"'annotations' of {name}")
    for key, part in (("image_id", "images"), ("category_id", "categories")):
        _check_known(truth["annotations"], key, (item["id"] for item in truth[part]), f"'annotations' of {name}", name)


def _check_keys(items: Iterable[Any], keys: Collection[str], where: str) -> None:
    """Demand objects that have ``keys``, with ids that are whole numbers or texts."""
    for position, item in enumerate(items):
        missing = [key for key in keys if not isinstance(item, Mapping) or key not in item]
        if missing:
            raise DataError(
                f"Expected {_listed(keys)} in every entry of {where}; "
                f"entry {position} lacks {_listed(missing)}; add it."
            )
        for key in keys:
            if key.endswith("id") and (not isinstance(item[key], int | str) or isinstance(item[key], bool)):
                raise DataError(
                    f"Expected '{key}' to be a whole number or a text in {where}; "
                    f"found {item[key]!r} in entry {position}; correct it."
                )


def _check_boxes(items: Sequence[Any], keys: Collection[str], where: str) -> None:
    _check_keys(items, keys, where)
    for position, item in enumerate(items):
        box = item["bbox"]
        if not isinstance(box, list | tuple) or len(box) != 4 or not all(map(_is_number, box)) or min(box[2:]) < 0:  # noqa: PLR2004
            raise DataError(
                f"Expected 'bbox' to be [x, y, width, height] in pixels in {where}; "
                f"found {reprlib.repr(box)} in entry {position}; correct or remove it."
            )
        figures = {key: item[key] for key in ("score", "area") if key in keys or item.get(key) is not None}
        for key, figure in figures.items():
            if not _is_number(figure):
                raise DataError(
                    f"Expected '{key}' to be a finite number in {where}; found {reprlib.repr(figure)} in entry "
                    f"{position}; correct or remove it."
                )


def _is_number(value: Any) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # JSON has whole numbers of any length
        return False


def _check_known(items: Sequence[Any], key: str, ids: Iterable[Any], where: str, truth_name: str) -> None:
    """Demand that every ``key`` of ``items`` is one of ``ids``."""
    known = set(ids)
    unknown = list(dict.fromkeys(item[key] for item in items if item[key] not in known))
    if unknown:
        what = "image ids" if key == "image_id" else "category ids"
        raise DataError(
            f"Expected {where} to use the {what} of {truth_name}; found {len(unknown)} others, e.g. {unknown[0]!r}; "
            "check that the two files belong together."
        )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
