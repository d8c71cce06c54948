"""Remembers the code that decides how a training comes out, so that nobody changes it without a look at versions.

    python tools/training_code.py     writes tests/unit/pipeline/training_code.json

The store finds a training by the keys of its recipe, what goes in, and a version (``da_kd/pipeline/steps``). Code that
trains differently under the same version would give two results one name, and tables would mix them. A unit test holds
the code against what is written there; comments, docstrings and blanks do not count.
"""

from __future__ import annotations

import ast
import hashlib
import io
import json
import sys
import tokenize
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = ("da_kd/training", "da_kd/training_torchvision", "da_kd/stages/distill")
KEPT = ROOT / "tests" / "unit" / "pipeline" / "training_code.json"


def main() -> int:
    """Write the hashes of today's code; return the exit code."""
    KEPT.write_text(json.dumps(hashes(), indent=1) + "\n", encoding="utf-8")
    print(KEPT)
    return 0


def hashes() -> dict[str, str]:
    """Return the hash of every file's code, by its path in the project."""
    paths = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
    return {path.relative_to(ROOT).as_posix(): hash_of_code(path.read_text(encoding="utf-8")) for path in paths}


def hash_of_code(text: str) -> str:
    """Return a hash of a file's code; what is said about the code, and how it is laid out, does not change it."""
    lines = text.split("\n")
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node
        ):
            said = node.body[0]
            lines[said.lineno - 1 : said.end_lineno] = [""] * ((said.end_lineno or said.lineno) - said.lineno + 1)
    code = "".join("".join(line.split()) for line in lines)
    return hashlib.blake2b(code.encode(), digest_size=8).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
