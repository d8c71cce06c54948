"""A process that keeps the last models loaded and answers for single images: a line of JSON in, a line out.

A question without an image is for the names of the model's classes.

Started by :mod:`da_kd.ui.queries.own`; ends when the app does. Nothing heavy is imported before the first question.
"""

from __future__ import annotations

import json
import os
import sys
from collections import OrderedDict
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

from da_kd.errors import DaKdError

_KEPT = 2  # models in memory


def main() -> None:
    """Answer questions from standard input until it ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is no answer
    serve(sys.stdin, answers)


def serve(questions: TextIO, answers: TextIO) -> None:
    """Answer every line of ``questions``."""
    opened: OrderedDict[str, tuple[ExitStack, Any]] = OrderedDict()
    for line in questions:
        try:
            said = _answer(json.loads(line), opened)
        except DaKdError as error:
            said = {"error": str(error)}
        except Exception as error:  # a model can fail in any way; the process goes on
            said = {"error": f"The model could not answer ({type(error).__name__}: {error}). Choose another one."}
        answers.write(json.dumps(said) + "\n")
        answers.flush()


def _answer(asked: dict[str, Any], opened: OrderedDict[str, tuple[ExitStack, Any]]) -> dict[str, Any]:
    from da_kd.data import read_image
    from da_kd.teachers import Failure, Image

    predictor = _predictor(asked, opened)
    if "image" not in asked:
        return {"vocabulary": list(predictor.classes)}
    found = predictor.predict([Image(Path(asked["image"]).name, read_image(Path(asked["image"])))])[0]
    if isinstance(found, Failure):
        return {"error": found.reason}
    return {
        "vocabulary": list(found.vocabulary),
        "xyxy": found.xyxy.tolist(),
        "score": found.score.tolist(),
        "label": found.label.tolist(),
    }


def _predictor(asked: dict[str, Any], opened: OrderedDict[str, tuple[ExitStack, Any]]) -> Any:
    """Return a loaded model, closing the one that was not asked for longest."""
    from da_kd.teachers import adapter
    from da_kd.teachers.device import resolve_device

    key = json.dumps([asked["kind"], asked["weights"], asked["options"], asked["floor"]], sort_keys=True)
    if key not in opened:
        while len(opened) >= _KEPT:
            opened.popitem(last=False)[1][0].close()
        stack = ExitStack()
        model = adapter(asked["kind"])(Path(asked["weights"]), asked["options"])
        loaded = stack.enter_context(model.open(resolve_device("auto"), float(asked["floor"]), 1))
        opened[key] = (stack, loaded)
    opened.move_to_end(key)
    return opened[key][1]


if __name__ == "__main__":
    main()
