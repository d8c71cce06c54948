"""The form of page 1: a few answers become a recipe, which is shown and can be changed before anything runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gradio as gr

from da_kd.errors import InputError
from da_kd.recipe.template import Answers, recipe_text
from da_kd.ui import markup
from da_kd.ui.access import checked_name, number, one_of
from da_kd.ui.frame import HIDDEN, Frame, acts, guarded
from da_kd.ui.queries import naming

_LONGEST = 1000  # characters of an answer
_TEACHERS = ("yolo11s.yaml", "yolo11m.yaml", "yolo11l.yaml", "yolo26s.yaml", "yolo26m.yaml")
_STUDENTS = ("yolo11n.yaml", "yolo11s.yaml", "yolo26n.yaml", "yolo26s.yaml")
_IMAGES = "a folder, a data.yaml, a COCO JSON file or a video; from the folder the app was started in"


def build(frame: Frame, recipe: gr.Dropdown, text: gr.Code, name: gr.Textbox) -> None:
    """Lay the form out; its recipe goes into ``text`` and ``name``."""
    with gr.Accordion("Write a recipe from your own images", open=False, elem_id="form"):
        problem = gr.HTML(elem_id="form-problem")
        with gr.Row():
            called = gr.Textbox("adapted", label="Name", max_length=80, elem_id="form-name")
            classes = gr.Textbox(
                label="Classes",
                info="of the student, with commas between them; empty: those of the images below",
                elem_id="form-classes",
            )
        with gr.Row():
            target = gr.Textbox(label="Target images, without labels", info=_IMAGES, elem_id="form-target")
            source = gr.Textbox(label="Labelled source images", info="that teachers learn from", elem_id="form-source")
        with gr.Row():
            test = gr.Textbox(
                label="Labelled test images", info="of the target, to compare models; may be empty", elem_id="form-test"
            )
            few = gr.Textbox(label="More labelled target images", info="for fine-tuning; may be empty")
        with gr.Row():
            weights = gr.Textbox(
                label="A trained teacher",
                info="weights on this machine; empty: one is trained",
                elem_id="form-weights",
            )
            mapping = gr.Textbox(
                label="Its classes",
                info="a line each, 'car: vehicle'; 'person:' drops one",
                lines=2,
                elem_id="form-map",
            )
        with gr.Row():
            teacher = gr.Dropdown(list(_TEACHERS), value=_TEACHERS[0], label="Teacher to train")
            student = gr.Dropdown(list(_STUDENTS), value=_STUDENTS[0], label="Student")
            size = gr.Number(640, label="Image size (px)", minimum=32, maximum=2048, step=32)
            epochs = gr.Number(100, label="Length of a training (epochs)", minimum=1, maximum=10_000, step=1)
        with gr.Row():
            find = gr.Button("Find the classes", size="md", elem_id="form-find")
            write = gr.Button("Write the recipe", size="md", elem_id="form-write")
        proposed = gr.HTML(elem_id="form-found")
        line = gr.HTML(markup.typed("da-kd init recipe.yaml", "Write the recipe"))

    def written(*given: Any) -> dict[Any, Any]:
        labelled = _sets(*given[3:6])
        if not _names(given[1]) and any(labelled.values()):
            given = (given[0], ", ".join(naming.propose(frame.settings, (), labelled, "").classes), *given[2:])
        answers = _answers(*given)
        sets = {**labelled, "target": answers.target}
        answers = replace(answers, splits=naming.splits(frame.settings, sets))
        return {
            recipe: None,
            classes: ", ".join(answers.classes),
            name: answers.name,
            text: recipe_text(answers, f"{answers.name}.yaml"),
            line: _line(answers),
        }

    def found(known: Any, labelled: Any, tested: Any, more: Any, trained: Any) -> dict[Any, Any]:
        sets = _sets(labelled, tested, more)
        proposal = naming.propose(frame.settings, _names(known), sets, _text(trained))
        return {
            classes: ", ".join(proposal.classes),
            mapping: "\n".join(f"{theirs}: {ours}" for theirs, ours in proposal.mapping.items()),
            proposed: markup.notes(proposal.told),
        }

    asked = [classes, source, test, few, weights]
    acts(find, "Reading the names of the classes...", found, asked, problem, [classes, mapping, proposed])
    given = [called, classes, target, source, test, few, weights, mapping, teacher, student, size, epochs]
    write.click(guarded(written, problem), given, [problem, recipe, classes, name, text, line], **HIDDEN)


def _answers(*given: Any) -> Answers:
    """Return the answers, checked.

    Raises:
        InputError: something is missing, or is not what it has to be.
    """
    called, classes, target, source, test, few, weights, mapping, teacher, student, size, epochs = given
    names = _names(classes)
    missing = {
        "Classes": names,
        "Target images": _text(target),
        "Labelled source images or a trained teacher": _text(source) or _text(weights),
    }
    lacking = [what for what, there in missing.items() if not there]
    if lacking:
        raise InputError("The recipe needs more:\n" + "\n".join(f"  - {what}" for what in lacking))
    return Answers(
        checked_name(_text(called), "the runs"),
        names,
        _text(target),
        _text(source) or None,
        _text(few) or None,
        _text(test) or None,
        _text(weights) or None,
        _mapping(_text(mapping)),
        one_of(teacher, _TEACHERS, "Teacher to train"),
        one_of(student, _STUDENTS, "Student"),
        int(number(size, 32, 2048, "Image size")),
        int(number(epochs, 1, 10_000, "Length of a training")),
    )


def _sets(source: Any, test: Any, more: Any) -> dict[str, str]:
    return {"source": _text(source), "test": _text(test), "target_labelled": _text(more)}


def _names(value: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in _text(value).split(",") if part.strip()))


def _text(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > _LONGEST or (not value.isprintable() and "\n" not in value):
        raise InputError(f"Expected a text of at most {_LONGEST} characters in every field.")
    return value.strip()


def _mapping(text: str) -> dict[str, str | None]:
    """Return the lines ``theirs: ours``; nothing after the colon drops a class."""
    found: dict[str, str | None] = {}
    for line in text.splitlines():
        theirs, colon, ours = line.partition(":")
        if not colon:
            raise InputError(f"Its classes: expected 'theirs: ours' in every line; found '{line.strip()[:60]}'.")
        found[theirs.strip()] = ours.strip() or None
    return found


def _line(answers: Answers) -> str:
    options = {
        "--name": answers.name,
        "--classes": ",".join(answers.classes),
        "--target": answers.target,
        "--source": answers.source,
        "--test": answers.test,
        "--target-labelled": answers.target_labelled,
        "--teacher-weights": answers.weights,
    }
    told = [part for option, value in options.items() if value for part in (option, value)]
    return markup.command(["init", f"{answers.name}.yaml", *told], "Write the recipe")
