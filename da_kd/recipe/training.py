"""The recipe's parts that train: ``teach``, ``student``, ``distill``, ``rounds`` and ``finetune``."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from da_kd.recipe.rules import REFUSED_ARGS
from da_kd.recipe.values import Fraction, Name, Score, Section


class Architecture(Section):
    """A detector of the ultralytics package or, for a teacher of kind ``torchvision``, of torchvision.

    Attributes:
        model: a model YAML by name (``yolo11n.yaml``: trained from scratch) or a ``.pt`` file (its weights are the
            start; loading a ``.pt`` can run code, so take it from people you trust); for ``torchvision`` the name of a
            model, always trained from scratch.
        width: channel multiplier instead of the YAML's own (0.125 gives about 0.8 million parameters).
        depth: depth multiplier instead of the YAML's own.
        imgsz: side of the square the images are scaled into, in pixels; a multiple of 32.
    """

    model: str = "yolo11n.yaml"
    width: Annotated[float, Field(gt=0, le=2)] | None = None
    depth: Annotated[float, Field(gt=0, le=2)] | None = None
    imgsz: Annotated[int, Field(ge=32, le=4096, multiple_of=32)] = 640


class Schedule(Section):
    """How long and how fast a model is trained.

    Attributes:
        epochs: passes over the images; exactly one of ``epochs`` and ``steps``.
        steps: optimiser steps instead, rounded to whole epochs (one at least), so that rows trained on different
            numbers of images compare.
        batch: images per step. ``auto`` takes what the library finds to fill 60 % of a GPU's memory, and 16 elsewhere;
            results then depend on the machine.
        lr: learning rate after the warm-up, which takes three epochs, but 100 steps at least and a tenth of the
            training at most (for teachers of kind ``torchvision`` a tenth); it falls from then on.
        optimizer: the optimiser's name.
        freeze: number of first layers that stay as they are.
        validate_on: labelled images that the averaged weights are scored on after every epoch; the best epoch's (by AP)
            are the result then, not the last's. Labels of ``target_dev`` count as labels used.
        patience: beside ``validate_on``: epochs without a better AP after which the training ends.
        augment: how images are varied: by ``default`` as ultralytics does (but mosaic ends a fifth before the end), or
            by a ``strong`` or ``weak`` set, or ``none``; ``args`` stand over it.
        ema: what share of its steps the moving average of the weights, which is saved and scored, reaches back over at
            the end; 0 takes the last step's weights. Without it ultralytics' own average, which in a few hundred steps
            hardly averages.
        args: further training arguments of ultralytics (augmentation and the like), passed on as they are, but those
            that da_kd sets itself (``val``, ``amp``, ``nbs``, ...), which are refused with the reason; where a teacher
            of kind ``torchvision`` is trained: ``fliplr``, ``flipud``, ``scale`` and ``colour``.
    """

    epochs: Annotated[int, Field(ge=1)] | None = None
    steps: Annotated[int, Field(ge=1)] | None = None
    batch: Annotated[int, Field(ge=1)] | Literal["auto"] = 16
    lr: Annotated[float, Field(gt=0)] = 0.001
    optimizer: Literal["SGD", "Adam", "AdamW", "RMSProp"] = "AdamW"
    freeze: Annotated[int, Field(ge=0)] = 0
    validate_on: Literal["source_val", "target_dev"] | None = None
    patience: Annotated[int, Field(ge=1)] | None = None
    augment: Literal["default", "strong", "weak", "none"] = "default"
    ema: Annotated[float, Field(ge=0, le=1)] | None = None
    args: dict[str, Any] = Field(default_factory=dict)

    @field_validator("args")
    @classmethod
    def _passed_on(cls, value: dict[str, Any]) -> dict[str, Any]:
        refused = [f"'{name}' cannot be passed on: {REFUSED_ARGS[name]}" for name in value if name in REFUSED_ARGS]
        if refused:
            raise ValueError("\n".join(refused))
        return value

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("expected either 'epochs' or 'steps'; give exactly one of the two")
        if self.patience is not None and self.validate_on is None:
            raise ValueError("'patience' waits for a better score; say in 'validate_on' what images give it")
        return self

    @property
    def planned_batch(self) -> int:
        """Images per step, where nobody has measured what fits."""
        return 16 if self.batch == "auto" else self.batch


Rate = Annotated[float, Field(ge=0, le=100)]


class TeachMix(Section):
    """Images with ground truth that a teacher learns from beside the source, in the same epochs.

    Attributes:
        target_labelled: how many images of ``data.target_labelled`` an epoch shows for every source image, restyled
            copies counted; they count as labels used, by every row that stands on this teacher. For teachers of kind
            ``ultralytics``.
    """

    target_labelled: Rate = 0.0


class Teach(Schedule):
    """Teachers learn from the labelled source images.

    Attributes:
        mix: images with ground truth to learn from as well (teachers of kind ``ultralytics``).
    """

    mix: TeachMix | None = None

    @property
    def target_labelled(self) -> float:
        """How many labelled target images an epoch shows for every source image."""
        return 0.0 if self.mix is None else self.mix.target_labelled


class TeacherFinetune(Schedule):
    """A teacher that has learned from the source goes on with labelled target images.

    Attributes:
        fraction: the share of ``data.target_labelled`` to use, nested over fractions, the same for every seed; the
            same share for teacher and student is the same images.
    """

    fraction: Fraction = 1.0


class Student(Architecture):
    """The compact model that is trained for the target."""

    model: str = "yolo11n.yaml"


class Refresh(Section):
    """The student labels the target anew while it learns; merged with the fixed pseudo labels, its boxes replace them.

    Attributes:
        every: epochs from one time to the next.
        start: the share of the schedule after which it happens first.
        share: how much the student's score of a box counts beside the fixed label's (1 - ``share``); whoever says
            nothing counts with 0. Close to 1 the student's own boxes decide, close to 0 the fixed ones.
        lost: a class keeps its fixed labels where the new ones would keep fewer boxes than this share of them.
        exploded: it does, too, where they would keep more than this many times as many.
    """

    every: Annotated[int, Field(ge=1)] = 5
    start: Score = 0.3
    share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    lost: Score = 0.5
    exploded: Annotated[float, Field(gt=1)] = 3.0


class Mix(Section):
    """Images with ground truth that the student learns from beside the pseudo labels, in the same epochs.

    Attributes:
        source: how many images of ``data.source`` an epoch shows for every target image.
        target_labelled: how many of ``data.target_labelled``; they count as labels used. Where an image has pseudo
            labels, too, the ground truth counts.
    """

    source: Rate = 0.0
    target_labelled: Rate = 0.0


class FinetuneMix(Section):
    """Images that the student keeps seeing while it goes on with labelled target images.

    Attributes:
        source: how many images of ``data.source`` an epoch shows for every labelled target image.
        pseudo: how many target images with pseudo labels, which count as ``distill`` says.
    """

    source: Rate = 0.0
    pseudo: Rate = 0.0


# What a student that starts from the source's weights does unless told otherwise; docs/training.md has the figures.
FROM_SOURCE: dict[str, Any] = {"augment": "strong", "ema": 0.25, "refresh": {"every": 3}}


class Distill(Schedule):
    """The student learns from pseudo labels.

    Attributes:
        init: ``model`` starts from ``student.model``; ``source`` from the student's architecture trained on the source,
            and then three defaults are others: ``augment: strong``, ``ema: 0.25`` and ``refresh: {every: 3}``, whose
            ``every`` also holds where only other keys of ``refresh`` are given.
        source_steps: beside ``init: source``: optimiser steps of that training on the source, where it is shorter or
            longer than this one.
        adapt: ``batch_norm`` re-estimates the normalisation statistics of these weights on the target images first,
            without labels.
        mix: images with ground truth to learn from as well.
        weight: how much a kept box counts in training: all the same (``none``), or as much as its ``score`` says. What
            a person decided always counts fully.
        uncertain: what an uncertain box teaches: nothing for its own class (``ignore``), nothing for any class
            (``ignore_all``), or that there is no object (``background``).
        unsearched: what an image teaches of classes that no teacher searched it for: nothing (``mask``), or that there
            are none (``background``).
        oversample: how often an image with a box that a person accepted, moved, renamed or added is seen in an epoch.
        refresh: whether, and how, labels are made anew as the student learns; without it, or with null, they stay as
            they are.
        features: the name of a teacher of kind ``ultralytics`` whose features the student imitates beside its labels
            (the library's own distillation; both must be YOLO models). ``args: {dis: ...}`` is the weight of that loss.
    """

    init: Literal["model", "source"] = "model"
    source_steps: Annotated[int, Field(ge=1)] | None = None
    adapt: Literal["none", "batch_norm"] = "none"
    mix: Mix = Mix()
    weight: Literal["none", "score"] = "none"
    uncertain: Literal["ignore", "ignore_all", "background"] = "ignore"
    unsearched: Literal["mask", "background"] = "mask"
    oversample: Annotated[int, Field(ge=1, le=100)] = 1
    refresh: Refresh | None = None
    features: Name | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_source(cls, value: Any) -> Any:
        if not isinstance(value, dict) or value.get("init") != "source":
            return value
        refresh = value.get("refresh")
        given = {"refresh": {**FROM_SOURCE["refresh"], **refresh}} if isinstance(refresh, dict) else {}
        return {**FROM_SOURCE, **value, **given}

    @model_validator(mode="after")
    def _source_first(self) -> Self:
        if self.source_steps is not None and self.init != "source":
            raise ValueError(
                "'source_steps' is how long 'init: source' learns from the source; add that, or leave it out"
            )
        return self

    @property
    def on_source(self) -> Schedule:
        """How long and how fast the weights are trained that ``init: source`` starts from."""
        steps = self.source_steps
        return self if steps is None else self.model_copy(update={"steps": steps, "epochs": None})


class Rounds(Section):
    """The student labels the target anew, and another learns from that; what people decided stays.

    Attributes:
        count: how often the target is labelled and a student trained; 1 is the teachers alone.
        student: whether the student of a round ``joins`` the teachers in the next one, or ``replaces`` them.
        init: where a later student starts: like the first (``again``), or from the one before (``previous``).
    """

    count: Annotated[int, Field(ge=1, le=10)] = 1
    student: Literal["joins", "replaces"] = "joins"
    init: Literal["again", "previous"] = "again"


class Finetune(Schedule):
    """The student goes on with labelled target images.

    Attributes:
        init: what goes on: the ``student``, or, for comparison, its architecture trained on the ``source`` alone, which
            never saw a pseudo label.
        fraction: the share of ``data.target_labelled`` to use, nested over fractions, the same for every seed.
        mix: other images to keep seeing.
    """

    init: Literal["student", "source"] = "student"
    fraction: Fraction = 1.0
    mix: FinetuneMix = FinetuneMix()
