"""MODEL.md: what a person who gets the files has to know. Knows words; must not know where the values come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from da_kd.files import whole
from da_kd.hashing import hash_file


@dataclass(frozen=True)
class Card:
    """What a model card says.

    Attributes:
        title: the model's name.
        row: which row of the ladder it is.
        classes: what it detects, in order.
        imgsz: side in pixels of the square it takes.
        architecture: the model it was trained as.
        data: by set, what it is and how many images it has.
        teachers: a line for each.
        labels_used: whether, and how many, labelled images of the target it was trained on.
        recipe_hash: of the resolved recipe.
        metrics: by name, a figure; empty where the model was not scored.
        tested_on: what the figures were measured on.
        formats: by file name, how it compared with the checkpoint.
        versions: of the libraries.
    """

    title: str
    row: str
    classes: Sequence[str]
    imgsz: int
    architecture: str
    data: Mapping[str, str]
    teachers: Sequence[str]
    labels_used: str
    recipe_hash: str
    metrics: Mapping[str, float | None]
    tested_on: str
    formats: Mapping[str, str]
    versions: Mapping[str, str]


def write_card(card: Card, folder: Path) -> Path:
    """Write ``MODEL.md`` beside the files it tells of, and return its path."""
    path = folder / "MODEL.md"
    with whole(path) as temporary:
        temporary.write_text(_text(card, folder), encoding="utf-8")
    return path


def _text(card: Card, folder: Path) -> str:
    figures = [
        f"| {name} | {'undefined' if value is None else f'{value:.3f}'} |" for name, value in card.metrics.items()
    ]
    scored = (
        ["| figure | value |", "|---|---|", *figures]
        if figures
        else ["Not scored: the run has no labelled test images."]
    )
    files = [f"- `{name}`: {said}{_hash(folder / name)}" for name, said in card.formats.items()]
    lines = [
        f"# {card.title}",
        "",
        f"An object detector, trained by da_kd: the run's '{card.row}'.",
        "",
        "## What it takes and gives",
        "",
        f"- one RGB image, letterboxed into a square of {card.imgsz} pixels",
        f"- boxes of {len(card.classes)} classes, in this order: {', '.join(card.classes)}",
        f"- architecture: {card.architecture}",
        "",
        "## Files",
        "",
        *files,
        "",
        "## How it was trained",
        "",
        *[f"- {name}: {said}" for name, said in card.data.items()],
        *[f"- teacher: {said}" for said in card.teachers],
        f"- labels of the target: {card.labels_used}",
        f"- recipe (hash): `{card.recipe_hash}`; it lies beside this file as `recipe.yaml`",
        f"- versions: {', '.join(f'{name} {version}' for name, version in card.versions.items())}",
        "",
        "## How good it is",
        "",
        f"Measured on {card.tested_on}; AP as pycocotools counts it, from 0 to 1." if figures else "",
        "",
        *scored,
        "",
        "Figures hold for images like these. Look at your own before you trust it.",
        "",
        "## Licence",
        "",
        "The architecture and the code that trained it are AGPL-3.0 (ultralytics, da_kd): so is what is built on these",
        "weights, unless you hold another licence. The licences of the images are those of their owners.",
        "",
    ]
    return "\n".join(lines)


def _hash(path: Path) -> str:
    """Return a file's hash in words; a folder has none."""
    return f"; hash `{hash_file(path)}`" if path.is_file() else ""
