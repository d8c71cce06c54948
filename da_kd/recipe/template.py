"""The first recipe of a project: answers become commented YAML. Asks nobody, and touches no disk."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from da_kd.words import count


@dataclass(frozen=True)
class Answers:
    """What a person said; paths are as the recipe will hold them, None for what there is not.

    Attributes:
        name: what runs are called.
        classes: the student's.
        target: images of the new domain.
        source: labelled images of the old one.
        target_labelled: a few labelled images of the new one.
        test: labelled images to compare models on.
        weights: a trained teacher.
        class_map: the classes of a trained teacher mapped to ours; None drops one.
        teacher: the architecture of a teacher that is trained.
        student: the student's architecture.
        imgsz: the size of images for whatever is trained, pixels.
        epochs: of every training from scratch.
        splits: by set (``source``, ``target``, ``target_labelled``, ``test``), which of train, val, valid and
            test it has.
    """

    name: str
    classes: tuple[str, ...]
    target: str
    source: str | None = None
    target_labelled: str | None = None
    test: str | None = None
    weights: str | None = None
    class_map: Mapping[str, str | None] = field(default_factory=dict)
    teacher: str = "yolo11s.yaml"
    student: str = "yolo11n.yaml"
    imgsz: int = 640
    epochs: int = 100
    splits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def split(self, name: str, *wanted: str) -> tuple[str, ...]:
        """Return those splits of a set that are wanted and there; none where it has but one."""
        there = self.splits.get(name, ())
        return tuple(split for split in wanted if split in there) if len(there) > 1 else ()


def recipe_text(answers: Answers, file: str) -> str:
    """Return a recipe that can be run, with a comment for every choice a person may want to change."""
    parts = [_header(answers, file), _data(answers), _teachers(answers), _labels(), _student(answers)]
    return "\n".join(parts)


def _quoted(value: str) -> str:
    """Return a text as YAML reads it back; JSON's quotes are YAML's."""
    return json.dumps(value, ensure_ascii=False)


def _header(answers: Answers, file: str) -> str:
    needs = [f"images of the new domain in {answers.target}"]
    needs += [f"labelled images in {answers.source}"] if answers.source else []
    needs += [f"a trained detector in {answers.weights}"] if answers.weights else []
    compared = bool(answers.test)
    trained = {
        "the teacher": answers.weights is None,
        "the student": True,
        "the fine-tuned student": answers.target_labelled is not None,
        "the student on source images alone": compared and answers.source is not None,
        "the oracle": compared and answers.target_labelled is not None,
    }
    models = [name for name, wanted in trained.items() if wanted]
    return f"""\
# Adapts a detector to new images: a teacher labels them, doubtful boxes are set aside, a small student learns.
#
# Needs:   {"; ".join(needs)}.
# Command: da-kd run {file}
# Before:  da-kd check {file} --deep    (opens everything that is named here)
# Takes:   {count(len(models), "training")} ({", ".join(models)}); 'da-kd plan {file}' estimates the time.

schema: 1
name: {_quoted(answers.name)}
seed: 0
device: auto  # the first GPU where there is one
classes: [{", ".join(_quoted(name) for name in answers.classes)}]
"""


def _data(answers: Answers) -> str:
    lines = [
        "# A path is a folder, a data.yaml (YOLO), a COCO JSON file or a video, and counts from this file's folder."
    ]
    lines += [
        "# Where a set has splits, 'split' says which; where names differ, 'classes: {theirs: ours, unwanted: null}'."
    ]
    lines += ["data:"]
    held_out = answers.split("source", "val", "valid") if answers.split("source", "train") else ()
    if answers.source:
        place = _place(answers.source, answers.split("source", "train"))
        lines.append(f"  source: {place}  # labelled images of the domain the teacher learns")
    if answers.source and held_out:
        lines.append(f"  source_val: {_place(answers.source, held_out)}  # likewise, which no teacher learns from")
    place = _place(answers.target, answers.split("target", "train"))
    lines.append(f"  target: {place}  # the new domain; its labels, if any, are never opened")
    if answers.target_labelled:
        place = _place(answers.target_labelled, answers.split("target_labelled", "train"))
        lines.append(f"  target_labelled: {place}  # a few labels of the new domain")
    if answers.test:
        place = _place(answers.test, answers.split("test", "val", "valid", "test"))
        lines.append(f"  test: {place}  # labelled images that only the comparison sees")
    return "\n".join(lines) + "\n"


def _place(path: str, splits: Sequence[str]) -> str:
    """Return a set: where it lies, and which splits of it are taken if not all."""
    named = splits[0] if len(splits) == 1 else f"[{', '.join(splits)}]"
    return f"{{path: {_quoted(path)}{f', split: {named}' if splits else ''}}}"


def _teachers(answers: Answers) -> str:
    if answers.weights:
        mapped = ", ".join(f"{_quoted(a)}: {'null' if b is None else _quoted(b)}" for a, b in answers.class_map.items())
        shown = mapped or "car: vehicle, person: null"
        return f"""\
teachers:
  - name: teacher
    weights: {_quoted(answers.weights)}
    {"" if mapped else "# "}classes: {{{shown}}}  # the teacher's names mapped to yours; equal names need no entry
"""
    return f"""\
# restyle: {{copies: 3}}     # shows the source in the target's colours as well; an epoch is then four times as long
teachers:
  - name: teacher
    architecture: {{model: {answers.teacher}, imgsz: {answers.imgsz}}}  # trained from scratch
    adapt: batch_norm      # fits the teacher's statistics to the target images, without labels; takes seconds
    # match_scale: true    # likewise its input size, where objects of the target are larger or smaller
    # match_edges: true    # likewise where its boxes end, by the edges in the pictures; target_dev: as in a few
    #                        labelled images of the target, which say more
teach: {{epochs: {answers.epochs}, batch: 16}}
"""


def _labels() -> str:
    return """\
predict: {floor: 0.02}     # low, so that thresholds below can be moved without running the teacher again
fuse:
  keep: {default: 0.5}     # boxes from this score on are learned; single classes can have their own
  drop: {default: 0.1}     # boxes below it are thought to be nothing; those between are the doubtful ones
review:
  mode: skip               # 'human' pauses for a person in FiftyOne, 'auto' applies a rule
"""


def _student(answers: Answers) -> str:
    lines = [f"student: {{model: {answers.student}, imgsz: {answers.imgsz}}}"]
    lines += [f"distill: {{epochs: {answers.epochs}, batch: 16}}"]
    if answers.target_labelled:
        epochs = max(1, round(0.3 * answers.epochs))
        lines.append(f"finetune: {{epochs: {epochs}, batch: 16, lr: 0.0005, fraction: 1.0}}")
    if answers.test:
        oracle = "true" if answers.target_labelled else "false"
        source_only = "true" if answers.source else "false"
        lines.append(f"evaluate: {{source_only: {source_only}, oracle: {oracle}}}  # the rows to compare with")
    else:
        lines.append("# evaluate: {}  # compares all models; needs 'data.test', labelled images of the new domain")
    return "\n".join([*lines, "report: {images: 6}"]) + "\n"
