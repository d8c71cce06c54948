"""The recipe's ``data``: which images play which part."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from da_kd.recipe.values import ClassName, ClassTarget, Fraction, Name, Section

# Keys of a data.yaml that name no split (as da_kd.data.yolo has them); a rendered set is written with one.
_NO_SPLITS = {"path", "names", "nc", "download", "roboflow", "kpt_shape", "flip_idx", "license", "task", "description"}


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


class Corrupt(Section):
    """Damaged copies in place of the images: simulated weather, light, optics or compression; labels stay.

    Copies are drawn once and kept in the workspace (``docs/data.md`` has the formulas). The same image is damaged the
    same way each time, whatever the recipe's seed.

    Attributes:
        by: what does the damage.
        strength: how much, from 1 to 3.
        seed: another seed draws other noise and other clouds.
    """

    by: Literal["fog", "darkness", "noise", "blur", "jpeg"]
    strength: Annotated[int, Field(ge=1, le=3)] = 2
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0


class Images(Section):
    """A set of images, with or without labels: a place on the disk, or rendered by da_kd itself.

    Attributes:
        path: a folder, a ``data.yaml``, a COCO JSON file, a video, or a Parquet file that lists images in a column
            ``path``; relative to ``data.root``. A folder or a Parquet file may lie in an object store (``s3://...``).
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
        corrupt: damaged copies of these images, in their place.
    """

    path: str | None = None
    render: Literal["lab_a", "lab_b"] | None = None
    count: Annotated[int, Field(ge=1, le=100_000)] | None = None
    format: Literal["auto", "yolo", "coco", "voc", "folder", "video", "list"] = "auto"
    images: str | None = None
    split: tuple[Name, ...] = ()
    classes: dict[str, ClassTarget] = Field(default_factory=dict)
    labelled_classes: tuple[ClassName, ...] | None = None
    fraction: Fraction = 1.0
    holdout: Holdout | None = None
    fps: Annotated[float, Field(gt=0, le=240)] = 1.0
    corrupt: Corrupt | None = None

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
        if self.render is not None and (len(set(self.split)) > 1 or not _can_be_drawn(self.split[0])):
            raise ValueError(
                f"expected one split beside 'render', named train, val, test or the like with letters, digits, '-' and "
                f"'_'; found {', '.join(self.split)}"
            )
        return self


def _can_be_drawn(split: str) -> bool:
    """Say whether a rendered set may call a split so."""
    return split not in _NO_SPLITS and split.replace("_", "").replace("-", "").isalnum()


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


class Restyle(Section):
    """Labelled source images are shown in the colours of target images, too.

    Whatever learns from the source on its way to the target sees these copies beside their originals: teachers that are
    trained, source weights that a student starts from (``distill.init: source``, scored as the row ``warm_start``), and
    source images in a mix. The row ``source_only`` does not, nor does a teacher's measurement at home.

    Attributes:
        copies: how many copies of every source image, each in the colours of another target image.
        stretch: how far the proportions of a copy may be from its original's; with 0.2, width by height is up to 1.2
            times as large or as small. Cameras differ in that, and boxes then follow what is seen, not what is usual.
        turn: every second copy or so is turned by a right angle: for pictures without an up, such as a microscope's or
            a satellite's.
    """

    copies: Annotated[int, Field(ge=1, le=20)] = 3
    stretch: Annotated[float, Field(ge=0, le=1)] = 0.0
    turn: bool = False
