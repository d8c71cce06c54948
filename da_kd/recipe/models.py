"""The recipe as typed, frozen, closed models: one optional section per stage, in the order of the pipeline.

Knows names, types, ranges and defaults; must not touch a disk, a weight or an image (``da-kd check`` runs in under a
second), nor know how a stage works.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from da_kd.recipe.rules import REFUSED_ARGS, class_problems, stage_problems, teacher_problems

Fraction = Annotated[float, Field(gt=0, le=1)]
Score = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=80)]
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


class Holdout(Section):
    """Splits a set that has no splits of its own, by whole groups, the same way every time.

    The groups are ordered by a hash of their name and ``seed``, and the first of them, up to ``fraction`` of the
    images, are held out.

    Attributes:
        fraction: the share of the images to hold out.
        group: what stays together: an ``image``, or all images of a ``folder`` or of a ``video``.
        keep: which side this set is: what was ``held_out``, or the ``rest``.
        seed: another seed holds out other groups.
    """

    fraction: Fraction = 0.2
    group: Literal["image", "folder", "video"] = "image"
    keep: Literal["held_out", "rest"] = "rest"
    seed: int = 0


class Images(Section):
    """A set of images, with or without labels: a place on the disk, or rendered by da_kd itself.

    Attributes:
        path: a folder, a ``data.yaml``, a COCO JSON file, or a video; relative to ``data.root``.
        render: instead of a path: which laboratory's blood smears to draw.
        count: how many images to draw (``render`` only).
        format: how labels are written; ``auto`` looks.
        images: the folder of the images, where the labels do not say (COCO JSON).
        split: which splits of the set to take; empty means all there is.
        classes: the set's class names mapped to the recipe's; null drops a class, and ``"*": null`` all that are not
            named. Names that are equal need no entry. A list (``vehicle: [car, truck]``) is for a class that may be any
            of these: its boxes are ignored in each.
        labelled_classes: the recipe's classes that this set has labels for; the default is those its class list names.
            Boxes of other classes are left out.
        fraction: the share of the images to take, nested: a smaller share is always a part of a larger one, and the
            same images whatever the recipe's seed.
        holdout: a split by group, for sets without splits.
        fps: how many frames a second of video to take.
    """

    path: str | None = None
    render: Literal["lab_a", "lab_b"] | None = None
    count: Annotated[int, Field(ge=1, le=100_000)] | None = None
    format: Literal["auto", "yolo", "coco", "voc", "folder", "video"] = "auto"
    images: str | None = None
    split: tuple[Name, ...] = ()
    classes: dict[str, ClassTarget] = Field(default_factory=dict)
    labelled_classes: tuple[ClassName, ...] | None = None
    fraction: Fraction = 1.0
    holdout: Holdout | None = None
    fps: Annotated[float, Field(gt=0, le=240)] = 1.0

    @field_validator("split", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.path is None) == (self.render is None):
            raise ValueError("expected either 'path' or 'render'; give exactly one of the two")
        if self.render is None and self.count is not None:
            raise ValueError("'count' says how many images to render; beside 'path' use 'fraction'")
        if self.render is not None and (self.count is None or not self.split):
            raise ValueError("expected 'count' and 'split' beside 'render' (e.g. count: 100, split: train)")
        return self


class Data(Section):
    """Where images and labels come from.

    Attributes:
        root: the folder that relative paths count from; the default is the recipe's own folder.
        source: labelled images of the domain the teachers know; not needed where every teacher has weights.
        source_val: labelled source images that no teacher learned from; what *fuse* measures teachers on at home.
        target: images of the new domain; their labels, if any, are never read for training.
        target_labelled: labelled images of the new domain, for *finetune* and for the oracle.
        target_dev: labelled images of the new domain that choices may be made on; they count as labels used.
        test: labelled images of the new domain that only *evaluate* sees.
    """

    root: str = "."
    source: Images | None = None
    source_val: Images | None = None
    target: Images
    target_labelled: Images | None = None
    target_dev: Images | None = None
    test: Images | None = None


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
        lr: first learning rate.
        optimizer: the optimiser's name.
        freeze: number of first layers that stay as they are.
        validate_on: labelled images that the averaged weights are scored on after every epoch; the best epoch's (by AP)
            are the result then, not the last's. Labels of ``target_dev`` count as labels used.
        patience: beside ``validate_on``: epochs without a better AP after which the training ends.
        augment: how images are varied: as ultralytics does by ``default``, or a ``strong`` or ``weak`` set, or
            ``none``; ``args`` stand over it.
        args: further training arguments of ultralytics (augmentation and the like), passed on as they are; where a
            teacher of kind ``torchvision`` is trained: ``fliplr``, ``flipud``, ``scale`` and ``colour``.
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


class Views(Section):
    """A teacher looks at every image several times, and its answers are merged (test-time augmentation).

    Attributes:
        flip: it looks at the mirror image, too.
        scales: it looks at the image at these scales, too: below 1 on a larger grey canvas, so that objects are
            smaller; above 1 in overlapping tiles, so that they are larger.
        merge: ``wbf`` takes the mean of what the views say, ``nms`` the best.
    """

    flip: bool = True
    scales: tuple[Annotated[float, Field(ge=0.1, le=10)], ...] = ()
    merge: Literal["wbf", "nms"] = "wbf"

    @model_validator(mode="after")
    def _more_than_one(self) -> Self:
        if len({1.0, *self.scales}) != 1 + len(self.scales):
            raise ValueError(f"expected different scales other than 1; found {list(self.scales)}")
        if not self.flip and not self.scales:
            raise ValueError("expected 'flip: true' or 'scales'; without both there is nothing more to look at")
        return self


class Teacher(Section):
    """One teacher: given weights, or an architecture that *teach* trains on the source.

    Attributes:
        name: what the teacher is called in tables and files.
        kind: the adapter, a name registered as ``da_kd.teachers`` entry point.
        weights: a model file (or, for ``coco_file``, stored predictions); none means *teach* trains one. Loading a
            ``.pt`` can run code, so take it from people you trust.
        architecture: what to train where there are no weights.
        schedule: how to train it; the default is the section ``teach``.
        learns: the recipe's classes that it is trained on; the default is those that the source has labels for.
        classes: the teacher's class names mapped to the recipe's; null drops a class. Names that are equal need no
            entry, and other classes go nowhere. A list (``vehicle: [car, truck]``) is for a class that may be any of
            these: its boxes are *uncertain* in each, where no other teacher knows better.
        adapt: ``batch_norm`` re-estimates the teacher's normalisation statistics on the target images, without labels
            (ultralytics teachers only).
        weight: how much the teacher counts when boxes are merged.
        class_weights: weights for single classes of the recipe, instead of ``weight``.
        options: further settings of the adapter.
        views: the teacher looks at mirrored or scaled copies of an image, too.
    """

    name: Name
    kind: str = "ultralytics"
    weights: str | None = None
    architecture: Architecture | None = None
    schedule: Schedule | None = None
    learns: Annotated[tuple[ClassName, ...], Field(min_length=1)] | None = None
    classes: dict[str, ClassTarget] = Field(default_factory=dict)
    adapt: Literal["none", "batch_norm"] = "none"
    weight: Annotated[float, Field(gt=0)] = 1.0
    class_weights: dict[ClassName, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    options: dict[str, Any] = Field(default_factory=dict)
    views: Views | None = None

    @model_validator(mode="after")
    def _weights_or_architecture(self) -> Self:
        if (self.weights is None) == (self.architecture is None):
            raise ValueError(
                f"teacher '{self.name}': expected 'weights' or 'architecture'; give exactly one of the two"
            )
        if self.adapt == "batch_norm" and self.kind != "ultralytics":
            raise ValueError(
                f"teacher '{self.name}': 'adapt: batch_norm' needs kind 'ultralytics'; found '{self.kind}'"
            )
        return self


class Predict(Section):
    """Every teacher runs once over the target images.

    Attributes:
        floor: the lowest score that is kept; low, so that thresholds can be moved later without running a teacher.
        batch: images per forward pass.
        shard: images per file that is written; the most that a kill can lose.
        max_bad: the share of unreadable images above which the stage refuses to go on.
    """

    floor: Score = 0.02
    batch: Annotated[int, Field(ge=1)] = 16
    shard: Annotated[int, Field(ge=1)] = 256
    max_bad: Score = 0.2


class Thresholds(Section):
    """How the score from which a box is kept comes about, class by class.

    Where a class has too little to go by, ``fuse.keep`` and ``fuse.drop`` stand, with a warning. No score that comes
    about otherwise lies below ``fuse.drop``.

    Attributes:
        by: ``fixed`` takes ``fuse.keep`` and ``fuse.drop`` as they are; ``quantile`` leaves a share of a class's boxes
            below; ``source_distribution`` keeps as many boxes per image as the source's labels have, which assumes
            that both domains hold equally many objects; ``f_beta`` takes the best F-measure on labelled images, and
            ``audit`` on the audited images of the review, as soon as some are done (until then as ``fixed``).
        quantile: for ``quantile``: the share of a class's merged boxes (all that ``predict.floor`` let through) that is
            not kept.
        beta: for ``f_beta`` and ``audit``: how much more recall counts than precision; below 1, less.
        drop: where the score was not given but computed: the share of it below which a box is dropped.
    """

    by: Literal["fixed", "quantile", "source_distribution", "f_beta", "audit"] = "fixed"
    quantile: Score = 0.7
    beta: Annotated[float, Field(gt=0, le=10)] = 1.0
    drop: Score = 0.4

    @model_validator(mode="after")
    def _has_a_use(self) -> Self:
        measured = ("f_beta", "audit")
        meant = {"quantile": ("quantile",), "beta": measured, "drop": ("quantile", "source_distribution", *measured)}
        defaults = type(self).model_fields
        idle = [k for k, uses in meant.items() if getattr(self, k) != defaults[k].default and self.by not in uses]
        if idle:
            raise ValueError(f"{', '.join(map(repr, idle))} means nothing with 'by: {self.by}'; remove it")
        return self


class Guard(Section):
    """Compares pseudo labels with what the same teachers say of labelled source images; needs no target label.

    Attributes:
        mode: ``warn`` says what looks broken, ``refuse`` stops there where the whole set does, ``off`` does not look.
        demote: a class that collapsed counts as not searched for, so that silence about it does not teach that it is
            background.
        lost: a class is lost where an image has fewer kept boxes of it than this share of the source's.
        exploded: a class is exploded where an image has more kept boxes of it than this many times the source's.
        fading: the set looks broken where the share of the teachers' boxes that is kept falls below this share of the
            source's.
        thin: it does, too, where an image has fewer kept boxes than this share of the source's.
    """

    mode: Literal["warn", "refuse", "off"] = "warn"
    demote: bool = True
    lost: Score = 0.15
    exploded: Annotated[float, Field(gt=1)] = 10.0
    fading: Score = 0.2
    thin: Score = 0.35


class Fuse(Section):
    """Teachers' boxes become pseudo labels.

    Attributes:
        method: what becomes of overlapping boxes of a class: ``wbf`` takes their weighted mean, ``nms`` the best,
            ``nmm`` the rectangle around them, and ``soft_nms`` the best, lowering the scores of the others.
        iou: overlap from which two boxes of a class are one object.
        repeats: for ``wbf``, when one teacher says an object twice: its ``best`` score counts, or the mean of ``all``
            (as the published code does).
        lonely: what becomes of a box that only one of several able teachers saw: ``keep`` leaves it to the thresholds,
            ``demote`` makes it *uncertain* at most, ``drop`` drops it.
        keep: score from which a box is *kept*, by class; ``default`` is for classes not named.
        drop: score below which a box is *dropped*, likewise; between the two it is *uncertain*.
        thresholds: whether ``keep`` and ``drop`` are taken as given, or others are computed.
        calibrate: ``logistic`` turns every teacher's scores, class by class, into the share of such boxes that is right
            on labelled images, before anything is merged.
        fit_on: the labelled images that ``calibrate`` and ``f_beta`` use: ``data.target_dev``, ``data.source_val``, or
            with ``auto`` the first of these that is given; or ``audit``, the audited images of the review, as soon as
            some are done. Target labels used so are told in the report.
        guard: what is done about labels that have collapsed.
    """

    method: Literal["wbf", "nms", "soft_nms", "nmm"] = "wbf"
    iou: Score = 0.55
    repeats: Literal["best", "all"] = "best"
    lonely: Literal["keep", "demote", "drop"] = "keep"
    keep: dict[str, Score] = Field(default_factory=lambda: {"default": 0.5})
    drop: dict[str, Score] = Field(default_factory=lambda: {"default": 0.1})
    thresholds: Thresholds = Thresholds()
    calibrate: Literal["none", "logistic"] = "none"
    fit_on: Literal["auto", "target_dev", "source_val", "audit"] = "auto"
    guard: Guard = Guard()

    @field_validator("keep", "drop", mode="before")
    @classmethod
    def _one_for_all(cls, value: Any) -> Any:
        return {"default": value} if isinstance(value, int | float) and not isinstance(value, bool) else value

    @field_validator("keep", "drop")
    @classmethod
    def _has_default(cls, value: dict[str, float]) -> dict[str, float]:
        if "default" not in value:
            raise ValueError("expected a threshold named 'default' beside those of single classes")
        return value

    @model_validator(mode="after")
    def _drop_below_keep(self) -> Self:
        names = sorted({*self.keep, *self.drop})
        wrong = [name for name in names if self.drop.get(name, self.drop["default"]) > self.threshold(name)]
        if wrong:
            raise ValueError(f"expected 'drop' at or below 'keep'; it lies above it for {', '.join(wrong)}")
        return self

    @property
    def learns_from_audit(self) -> bool:
        """Whether thresholds or calibration come from the audited images of the review."""
        fitted = self.calibrate != "none" or self.thresholds.by == "f_beta"
        return self.thresholds.by == "audit" or (fitted and self.fit_on == "audit")

    def threshold(self, name: str) -> float:
        """Return the score from which a box of a class is kept."""
        return self.keep.get(name, self.keep["default"])


class Accept(Section):
    """The rule of a scripted review: a kept box is accepted when both figures are reached.

    Attributes:
        score: the least score.
        agreement: the least share of the able teachers that saw the box.
    """

    score: Score = 0.0
    agreement: Score = 0.0


class Simulate(Section):
    """A reviewer who knows the truth, to measure what a review would be worth; uses ``data.target_labelled``.

    Attributes:
        budget: how many boxes the reviewer looks at or adds.
        error: the share of decisions that come out wrong.
        order: ``queue`` goes by what a correction is worth, ``random`` by chance.
    """

    budget: Annotated[int, Field(ge=0)] = 500
    error: Score = 0.0
    order: Literal["queue", "random"] = "queue"


class Audit(Section):
    """A random sample of whole images that a person labels completely: what measures labels and models.

    Attributes:
        images: how many images to draw; 0 for no audit.
        draw: ``uniform`` gives every image the same chance; ``boxes`` gives half of it in proportion to its boxes,
            which tells more about rare classes and less about empty images.
        blind: whether the person sees an audited image without its pseudo labels first.
        release: whether audited images may be trained on; they then measure a student too well.
        beta: how much more recall counts than precision in the best threshold that the audit tells.
    """

    images: Annotated[int, Field(ge=0)] = 0
    draw: Literal["uniform", "boxes"] = "uniform"
    blind: bool = True
    release: bool = False
    beta: Annotated[float, Field(gt=0, le=10)] = 1.0


class Review(Section):
    """Pseudo labels in front of a person (or a rule) in FiftyOne.

    Attributes:
        mode: ``auto`` applies ``accept``; ``human`` pauses the run; ``skip`` leaves FiftyOne alone; ``simulate`` lets
            labels that are at hand play the person, to measure what a review is worth. The report tells of it.
        accept: the rule of ``auto``.
        simulate: the reviewer of ``simulate``.
        audit: the images of ``human`` that measure.
    """

    mode: Literal["auto", "human", "skip", "simulate"] = "skip"
    accept: Accept = Accept()
    simulate: Simulate = Simulate()
    audit: Audit = Audit()


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


Rate = Annotated[float, Field(ge=0, le=100)]


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


class Distill(Schedule):
    """The student learns from pseudo labels.

    Attributes:
        init: ``model`` starts from ``student.model``; ``source`` from the student's architecture trained on the source.
        adapt: ``batch_norm`` re-estimates the normalisation statistics of these weights on the target images first,
            without labels.
        mix: images with ground truth to learn from as well.
        weight: how much a kept box counts in training: all the same (``none``), or as much as its ``score`` says. What
            a person decided always counts fully.
        uncertain: what an uncertain box teaches: nothing for its own class (``ignore``), nothing for any class
            (``ignore_all``), or that there is no object (``background``).
        unsearched: what an image teaches of classes that no teacher searched it for: nothing (``mask``), or that there
            are none (``background``).
        oversample: how often an image with a box that a person decided on is seen in an epoch.
        refresh: whether, and how, labels are made anew as the student learns; without it they stay as they are.
        features: the name of a teacher of kind ``ultralytics`` whose features the student imitates beside its labels
            (the library's own distillation; both must be YOLO models). ``args: {dis: ...}`` is the weight of that loss.
    """

    init: Literal["model", "source"] = "model"
    adapt: Literal["none", "batch_norm"] = "none"
    mix: Mix = Mix()
    weight: Literal["none", "score"] = "none"
    uncertain: Literal["ignore", "ignore_all", "background"] = "ignore"
    unsearched: Literal["mask", "background"] = "mask"
    oversample: Annotated[int, Field(ge=1, le=100)] = 1
    refresh: Refresh | None = None
    features: Name | None = None


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
        fraction: the share of ``data.target_labelled`` to use, nested over fractions, the same for every seed.
        mix: other images to keep seeing.
    """

    fraction: Fraction = 1.0
    mix: FinetuneMix = FinetuneMix()


class Evaluate(Section):
    """Which models are scored on ``data.test``.

    Attributes:
        source_only: the student's architecture trained on the source alone, with the schedule of ``distill``.
        oracle: the student's architecture trained on all of ``data.target_labelled``.
        oracle_schedule: the oracle's schedule; the default is that of ``distill``.
        batch: images per forward pass.
        max_boxes: boxes per image that count.
    """

    source_only: bool = True
    oracle: bool = True
    oracle_schedule: Schedule | None = None
    batch: Annotated[int, Field(ge=1)] = 16
    max_boxes: Annotated[int, Field(ge=1, le=1000)] = 100


class Report(Section):
    """The page at the end.

    Attributes:
        images: how many target images the grid shows.
    """

    images: Annotated[int, Field(ge=0, le=200)] = 6


class Recipe(Section):
    """Everything one adaptation needs, in the order of the pipeline; a section that is absent is a stage left out.

    Attributes:
        schema: the version of this layout.
        name: what runs of the recipe are called.
        classes: the student's classes, in order.
        seed: the one seed that all the stages use.
        device: ``auto`` takes a GPU where there is one; else ``cpu``, ``cuda:0``, ... Several GPUs, ``cuda:0,1``, share
            every training of an ultralytics model; all else runs on the first of them.
        workers: processes that load images while a model trains.
        data: the image sets.
        teachers: one or more.
        teach: the schedule of every teacher that is trained and has none of its own.
        predict: how teachers are run.
        fuse: how their boxes become pseudo labels.
        review: who decides about pseudo labels.
        student: the compact model.
        distill: how the student learns from pseudo labels; without it there is no student.
        rounds: how often; a plain number is ``count``.
        finetune: how it goes on with labelled images; without it there is no fine-tuned row.
        evaluate: which models are scored; without it there are no figures.
        report: the page.
    """

    schema_: Literal[1] = Field(1, alias="schema")
    name: Name
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+(,\d+)*)?|mps)$")] = "auto"
    workers: Annotated[int, Field(ge=0, le=64)] = 0
    classes: Annotated[tuple[ClassName, ...], Field(min_length=1)]
    data: Data
    teachers: Annotated[tuple[Teacher, ...], Field(min_length=1)]
    teach: Schedule | None = None
    predict: Predict = Predict()
    fuse: Fuse = Fuse()
    review: Review = Review()
    student: Student = Student()
    distill: Distill | None = None
    rounds: Rounds = Rounds()
    finetune: Finetune | None = None
    evaluate: Evaluate | None = None
    report: Report = Report()

    @field_validator("device", mode="before")
    @classmethod
    def _a_list_is_one_text(cls, value: Any) -> Any:
        if isinstance(value, list) and all(isinstance(item, str) and item.startswith("cuda:") for item in value):
            return f"cuda:{','.join(item.removeprefix('cuda:') for item in value)}"
        return value

    @field_validator("rounds", mode="before")
    @classmethod
    def _a_number_is_a_count(cls, value: Any) -> Any:
        return {"count": value} if isinstance(value, int) and not isinstance(value, bool) else value

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        # One message for all of them, a line each, so that a person mends everything at once.
        problems = [*class_problems(self), *teacher_problems(self), *stage_problems(self)]
        if problems:
            raise ValueError("\n".join(problems))
        return self
