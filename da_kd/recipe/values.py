"""What several parts of a recipe share: the closed section, and the kinds of values."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Fraction = Annotated[float, Field(gt=0, le=1)]
Score = Annotated[float, Field(ge=0, le=1)]
TAKEN = ("store", "journal", "mongo", "locks", "bench")  # what else lies in a workspace, so that no run has its name
_NAME, _DEVICE = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", r"^(auto|cpu|cuda(:\d+(,\d+)*)?|mps)$"
PATTERNS = {  # in words
    _NAME: "letters, digits, '_', '.' and '-', beginning with a letter or a digit",
    _DEVICE: "auto, cpu, mps, cuda, or cuda:0 (cuda:0,1 for several)",
}
Name = Annotated[str, Field(pattern=_NAME, max_length=80)]
Device = Annotated[str, Field(pattern=_DEVICE)]
ClassName = Annotated[str, Field(min_length=1)]


def _class_target(value: Any) -> Any:
    """Refuse what is neither a name, nor null, nor several different names; one check, so that it is one sentence."""
    if isinstance(value, list | tuple):
        names = [name for name in value if isinstance(name, str) and name]
        if len(set(names)) == len(value) > 1:
            return tuple(names)
    elif value is None or (isinstance(value, str) and value):
        return value
    raise ValueError(f"expected a class, null, or a list of two or more different classes; found {value!r}")


ClassTarget = Annotated[str | tuple[str, ...] | None, BeforeValidator(_class_target)]


class Section(BaseModel):
    """Base of every part of a recipe: frozen, and closed to keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
