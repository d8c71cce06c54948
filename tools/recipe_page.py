"""Writes docs/recipe.md from the recipe's models, so that the page cannot say anything else than the code.

python tools/recipe_page.py > docs/recipe.md
"""

from __future__ import annotations

import inspect
import re
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from da_kd import recipe

HEAD = """# The recipe, key by key

<!-- Made by tools/recipe_page.py from da_kd/recipe/; do not edit. -->

One YAML file. What is absent has the default below: a section whose default is `-` is a stage left out, one with *see
below* runs with its own defaults. Relative paths count from the recipe's folder, `data.*.path` from `data.root`.
`${NAME}` and `${NAME:-default}` are taken from the environment, and `--set key.sub=value` lays a change over the file
(into a list by index or by an item's `name`: `--set teachers.big.weight=2`).

`da-kd check RECIPE` lists every mistake at once; `da-kd check RECIPE --deep` opens weights and data as well.
"""

SECTIONS: list[tuple[str, type[BaseModel]]] = [
    ("The top level", recipe.Recipe),
    ("data", recipe.Data),
    ("data.source, source_val, target, target_labelled, target_dev, test", recipe.Images),
    ("data.*.holdout", recipe.Holdout),
    ("data.*.corrupt", recipe.Corrupt),
    ("restyle", recipe.Restyle),
    ("teachers (a list)", recipe.Teacher),
    ("teachers.*.architecture, student", recipe.Architecture),
    ("teach, and every schedule", recipe.Schedule),
    ("teach.mix, teachers.*.schedule.mix", recipe.TeachMix),
    ("teachers.*.views", recipe.Views),
    ("teachers.*.finetune: a schedule, and", recipe.TeacherFinetune),
    ("predict", recipe.Predict),
    ("fuse", recipe.Fuse),
    ("fuse.thresholds", recipe.Thresholds),
    ("fuse.guard", recipe.Guard),
    ("review", recipe.Review),
    ("review.accept", recipe.Accept),
    ("review.simulate", recipe.Simulate),
    ("review.audit", recipe.Audit),
    ("distill: a schedule, and", recipe.Distill),
    ("distill.mix", recipe.Mix),
    ("distill.refresh", recipe.Refresh),
    ("rounds", recipe.Rounds),
    ("finetune: a schedule, and", recipe.Finetune),
    ("finetune.mix", recipe.FinetuneMix),
    ("evaluate", recipe.Evaluate),
    ("report", recipe.Report),
]


def page() -> str:
    """Return the whole page."""
    return HEAD + "".join(_section(title, model) for title, model in SECTIONS)


def _section(title: str, model: type[BaseModel]) -> str:
    doc = inspect.getdoc(model) or ""
    intro, _, attributes = doc.partition("Attributes:")
    known = _attributes(attributes)
    base = model.__bases__[0]
    inherited = set(base.model_fields) if issubclass(base, BaseModel) else set()
    names = [name for name in model.model_fields if name not in inherited]
    lines = [f"\n## {title}\n\n{intro.strip().replace('``', '`')}\n"]
    lines.append("\n| key | default | what |\n|---|---|---|\n")
    for name in names:
        field = model.model_fields[name]
        key = field.alias or name
        what = known.get(key, known.get(name, "")).replace("``", "`").replace("|", "\\|")
        lines.append(f"| `{key}` | {_default(field)} | {what}{_choices(field, what)} |\n")
    return "".join(lines)


def _attributes(text: str) -> dict[str, str]:
    """Return the description of every attribute of a docstring."""
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        match = re.match(r"^    (\w+): (.*)$", line)
        if match:
            name = match.group(1)
            found[name] = match.group(2)
        elif name and line.strip():
            found[name] += " " + line.strip()
    return found


def _choices(field: Any, what: str) -> str:
    """Return the words that a key takes, as a sentence, where neither its default nor its description names them."""
    words = _words(field.annotation)
    unnamed = [word for word in words if word != field.default and f"{word}`" not in what]
    return f" One of {', '.join(f'`{word}`' for word in words)}." if unnamed else ""


def _words(kind: Any) -> list[str]:
    """Return the texts that an annotation allows by name."""
    if get_origin(kind) is Literal:
        return [word for word in get_args(kind) if isinstance(word, str)]
    return [word for part in get_args(kind) for word in _words(part)]


def _default(field: Any) -> str:
    """Return a default as YAML would write it."""
    if field.default is PydanticUndefined and field.default_factory is None:
        return "required"
    value = field.default if field.default_factory is None else field.default_factory()
    if value is None or value in ({}, ()):
        return "-"
    if isinstance(value, BaseModel):
        return "see below"
    text = str(value).lower() if isinstance(value, bool) else str(value).replace("'", "")
    return f"`{text}`"


if __name__ == "__main__":
    import sys

    sys.stdout.write(page())
