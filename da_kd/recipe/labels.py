"""The recipe's parts that make pseudo labels: ``teachers``, ``predict`` and ``fuse``."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from da_kd.recipe.training import Architecture, Teach, TeacherFinetune
from da_kd.recipe.values import ClassName, ClassTarget, Name, Score, Section


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
        finetune: after that it goes on with ``data.target_labelled``, as a student can (kind ``ultralytics``, with an
            ``architecture``). ``adapt``, ``match_scale`` and ``match_edges`` cannot stand beside it: the labels say
            what these guess.
        seed: of its training and of the copies it sees; the default is the recipe's. So runs of several seeds
            share a teacher.
        classes: the teacher's class names mapped to the recipe's; null drops a class. Names that are equal need no
            entry, and other classes go nowhere. A list (``vehicle: [car, truck]``) is for a class that may be any of
            these: its boxes are *uncertain* in each, where no other teacher knows better.
        adapt: ``batch_norm`` re-estimates the teacher's normalisation statistics on the target images, without labels
            (teachers of kind ``ultralytics`` and ``torchvision``).
        match_scale: the teacher looks at target images at the size at which objects are as large as in the source,
            which it finds out by itself, without labels (teachers of kind ``ultralytics``; needs ``data.source_val`` or
            ``data.source``).
        match_edges: the teacher's boxes on the target are moved to where the labels of the source would end, by the
            edges in the pictures; no label of the target is looked at (any kind but ``coco_file``; needs
            ``data.source_val`` or ``data.source``). ``target_dev``: to where the labels of ``data.target_dev`` end, of
            which a handful of images is enough; they count as labels used.
        weight: how much the teacher counts when boxes are merged.
        class_weights: weights for single classes of the recipe, instead of ``weight``.
        options: further settings of the adapter.
        views: the teacher looks at mirrored or scaled copies of an image, too.
    """

    name: Name
    kind: str = "ultralytics"
    weights: str | None = None
    architecture: Architecture | None = None
    schedule: Teach | None = None
    learns: Annotated[tuple[ClassName, ...], Field(min_length=1)] | None = None
    finetune: TeacherFinetune | None = None
    seed: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    classes: dict[str, ClassTarget] = Field(default_factory=dict)
    adapt: Literal["none", "batch_norm"] = "none"
    match_scale: bool = False
    match_edges: bool | Literal["target_dev"] = False
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
        if self.adapt == "batch_norm" and self.kind not in ("ultralytics", "torchvision"):
            raise ValueError(
                f"teacher '{self.name}': 'adapt: batch_norm' needs kind 'ultralytics' or 'torchvision'; found "
                f"'{self.kind}'"
            )
        if self.match_scale and self.kind != "ultralytics":
            raise ValueError(f"teacher '{self.name}': 'match_scale' needs kind 'ultralytics'; found '{self.kind}'")
        if self.finetune is not None:
            self._check_finetune()
        if self.match_edges and self.kind == "coco_file":
            raise ValueError(f"teacher '{self.name}': 'match_edges' needs a model that can be asked; found 'coco_file'")
        if self.match_scale and "imgsz" in self.options:
            raise ValueError(
                f"teacher '{self.name}': 'match_scale' chooses the input size; leave 'imgsz' out of its options, or "
                "'match_scale'"
            )
        return self

    def _check_finetune(self) -> None:
        if self.architecture is None or self.kind != "ultralytics":
            raise ValueError(
                f"teacher '{self.name}': 'finetune' needs kind 'ultralytics' and an 'architecture', which may be a "
                "'.pt' file to start from"
            )
        fitted = {"adapt": self.adapt != "none", "match_scale": self.match_scale, "match_edges": bool(self.match_edges)}
        if beside := [key for key, given in fitted.items() if given]:
            raise ValueError(
                f"teacher '{self.name}': beside 'finetune' leave {' and '.join(repr(key) for key in beside)} out; "
                "labels of the target say what they guess"
            )


class Predict(Section):
    """Every teacher runs once over the target images.

    Attributes:
        floor: the lowest score that is kept; low, so that thresholds can be moved later without running a teacher.
        batch: images per forward pass.
        shard: images per file that is written; the most that a kill can lose.
        max_bad: the share of unreadable images above which the stage refuses to go on.
        engine: ``local`` works on this machine; ``ray`` streams the shards through the processes of a Ray cluster,
            that of the variable RAY_ADDRESS or, without it, one that is started here. The same files come out.
        workers: for ``ray``: how many processes; the default is one a GPU of the cluster, without GPUs one a CPU.
    """

    floor: Score = 0.02
    batch: Annotated[int, Field(ge=1)] = 16
    shard: Annotated[int, Field(ge=1)] = 256
    max_bad: Score = 0.2
    engine: Literal["local", "ray"] = "local"
    workers: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _workers_are_rays(self) -> Self:
        if self.workers is not None and self.engine != "ray":
            raise ValueError("'workers' means nothing with 'engine: local'; remove it, or set 'engine: ray'")
        return self


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
        slack: for ``f_beta`` and ``audit``: the lowest score is taken whose F-measure is at most so much below the
            best. Scores fall under a domain shift, and of thresholds that are nearly as good at home the lowest loses
            least.
        drop: where the score was not given but computed: the share of it below which a box is dropped.
    """

    by: Literal["fixed", "quantile", "source_distribution", "f_beta", "audit"] = "fixed"
    quantile: Score = 0.7
    beta: Annotated[float, Field(gt=0, le=10)] = 1.0
    slack: Annotated[float, Field(ge=0, lt=1)] = 0.0
    drop: Score = 0.4

    @model_validator(mode="after")
    def _has_a_use(self) -> Self:
        measured = ("f_beta", "audit")
        meant = {
            "quantile": ("quantile",),
            "beta": measured,
            "slack": measured,
            "drop": ("quantile", "source_distribution", *measured),
        }
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
        return self.thresholds.by == "audit" or self.fits_on("audit")

    @property
    def fitting(self) -> tuple[str, ...]:
        """The labelled images that ``fit_on`` allows; the first that are given are taken."""
        return ("target_dev", "source_val") if self.fit_on == "auto" else (self.fit_on,)

    def fits_on(self, name: str) -> bool:
        """Return whether thresholds or calibration may be fitted on these labelled images."""
        fitted = self.calibrate != "none" or self.thresholds.by == "f_beta"
        return fitted and name in self.fitting

    def threshold(self, name: str) -> float:
        """Return the score from which a box of a class is kept."""
        return self.keep.get(name, self.keep["default"])
