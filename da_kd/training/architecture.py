"""Turns a recipe's architecture into a model YAML that ultralytics builds, scaled by width and depth where asked."""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from da_kd.errors import RecipeError, WeightsError
from da_kd.offline import settle_ultralytics
from da_kd.teachers.ultralytics import load_detector

if TYPE_CHECKING:
    from da_kd.recipe import Architecture

_SUFFIXES = (".yaml", ".yml")
_SIZE = re.compile(r"(\d+)[nslmx]")  # the library keeps 'yolo11n.yaml' in 'yolo11.yaml'


def model_source(architecture: Architecture, folder: Path) -> Path:
    """Return the file training starts from: an existing ``.pt``, or a model YAML written into ``folder``.

    Args:
        architecture: what the recipe asks for.
        folder: where the resolved YAML is put.

    Raises:
        WeightsError: a ``.pt`` file is not there (nothing is downloaded), or holds no detector.
        RecipeError: no model YAML of that name, one whose head is not trained here, or ``width``/``depth`` beside
            weights that have their own.
    """
    name = architecture.model
    if name.endswith(".pt"):
        path = Path(name)
        if not path.is_file():
            raise WeightsError(
                f"Expected weights at {path}; there are none. Nothing is downloaded: put the file there, "
                f"or train from scratch with '{Path(name).stem}.yaml'."
            )
        if architecture.width is not None or architecture.depth is not None:
            raise RecipeError([f"'width' and 'depth' scale a model YAML; '{name}' has fixed layers; leave them out"])
        _check_head(load_detector(path).model.yaml, name)
        return path
    tree = _tree(name)
    path = folder / "architecture.yaml"
    path.write_text(yaml.safe_dump(_scaled(tree, architecture), sort_keys=False), encoding="utf-8")
    return path


def _tree(name: str) -> dict[str, Any]:
    """Return the model YAML of the user's file or, by name, of the library's."""
    settle_ultralytics()
    import ultralytics
    from ultralytics.nn.tasks import yaml_model_load

    folder = Path(ultralytics.__file__).parent / "cfg" / "models"
    known = {path.name for path in folder.rglob("*.yaml")}
    own = Path(name)
    if own.suffix.lower() not in _SUFFIXES:  # the library asserts it
        hint = "the name of a model YAML ends in '.yaml'" if own.is_file() else _hint(name, known)
        raise RecipeError([f"expected a model YAML or a '.pt' file; found '{name}'; {hint}"])
    try:
        tree: dict[str, Any] = dict(yaml_model_load(str(own if own.is_file() else name)))
    except (FileNotFoundError, OSError) as error:
        raise RecipeError([f"expected a model YAML or a '.pt' file; found '{name}'; {_hint(name, known)}"]) from error
    except (ValueError, TypeError, AttributeError) as error:
        raise RecipeError([f"expected a model YAML; '{name}' cannot be read as one; correct the file"]) from error
    _check_head(tree, name)
    return tree


def _hint(name: str, known: Collection[str]) -> str:
    """Return which of the library's model YAMLs may be meant by a name that none has."""
    wanted = f"{Path(name).stem}.yaml"
    there = wanted in known or _SIZE.sub(r"\1", wanted, count=1) in known
    near = [wanted] if there else difflib.get_close_matches(wanted, known, n=1)
    return f"did you mean '{near[0]}'?" if near else "e.g. yolo11n.yaml"


TRANSFORMER = "RTDETRDecoder"
_DETECTION_HEADS = ("Detect", "v10Detect", TRANSFORMER)


def head_of(tree: Mapping[str, Any]) -> str:
    """Return the name of the layer that a model's YAML ends in."""
    return str(tree["head"][-1][2]) if tree.get("head") else "no head"


def _check_head(tree: dict[str, Any], name: str) -> None:
    """Raise where a model does not end in a head that the trainer trains."""
    head = head_of(tree)
    if head not in _DETECTION_HEADS:
        raise RecipeError([f"expected a model that ends in {' or '.join(_DETECTION_HEADS)}; '{name}' ends in {head}"])


def check_features(teacher: Path, student: Path) -> None:
    """Refuse a pair of models of which one cannot imitate the other's features.

    Args:
        teacher: a checkpoint.
        student: a checkpoint, or a model YAML.

    Raises:
        RecipeError: one of them is no YOLO, or their heads read different numbers of feature maps.
    """
    settle_ultralytics()
    from ultralytics.nn.tasks import yaml_model_load

    trees = [
        load_detector(path).model.yaml if path.suffix == ".pt" else yaml_model_load(path) for path in (teacher, student)
    ]
    heads = [(head_of(tree), len(tree["head"][-1][0])) for tree in trees]
    if any(head not in _DETECTION_HEADS or head == TRANSFORMER for head, _ in heads) or heads[0][1] != heads[1][1]:
        found = " and ".join(f"{head} over {maps} maps" for head, maps in heads)
        raise RecipeError(
            [f"distill.features: expected YOLO models, teacher and student, with as many feature maps; found {found}"]
        )


def _scaled(tree: dict[str, Any], architecture: Architecture) -> dict[str, Any]:
    """Return the model YAML with one scale: its own, or the recipe's width and depth."""
    tree = copy.deepcopy(tree)
    scales = tree.pop("scales", None) or {}
    scale = tree.pop("scale", "") or next(iter(scales), "")
    depth, width, channels = scales.get(scale, (1.0, 1.0, 1024))
    chosen = [architecture.depth or depth, architecture.width or width, channels]
    return {**tree, "scales": {"x": chosen}, "scale": "x"}
