"""YAML of plain values, and whatever is wrong with it in one line. Knows no recipe and no data set."""

from __future__ import annotations

from typing import Any

import yaml

_KINDS = {"int": "a whole number", "float": "a number", "timestamp": "a date", "bool": "true or false"}


class PlainLoader(yaml.SafeLoader):
    """A safe YAML loader that says where a value is no value of its kind, or holds itself."""

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        """Make the value of a node, with all that is inside it, so that one inside itself is found."""
        if node in self.recursive_objects:
            raise yaml.constructor.ConstructorError(None, None, "found a value that holds itself", node.start_mark)
        try:
            return super().construct_object(node, deep=True)
        except (ValueError, LookupError, AttributeError, OverflowError) as error:
            kind = _KINDS.get(node.tag.rpartition(":")[2], "a value")
            text = f"expected {kind}; found {_short(node.value)}; put a text in quotes"
            raise yaml.constructor.ConstructorError(None, None, text, node.start_mark) from error


def read_yaml(text: str, loader: type[PlainLoader] = PlainLoader) -> Any:
    """Return what a YAML text holds.

    Args:
        text: the text.
        loader: reads it.

    Raises:
        ValueError: it is no YAML of plain values; the message says where and what is wrong, in one line. Its cause is
            the library's own error.
    """
    try:
        return yaml.load(text, Loader=loader)  # noqa: S506 - derived from the safe loader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ValueError(f"{where}{getattr(error, 'problem', None) or ' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise ValueError("lists and keys lie too deep inside each other") from error


def _short(value: Any) -> str:
    text = str(value)
    return f"'{text[:40]}...' of {len(text)} characters" if len(text) > 60 else f"'{text}'"  # noqa: PLR2004
