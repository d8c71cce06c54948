"""The recipe's ``review``: who decides about pseudo labels, and what a person is asked."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from da_kd.recipe.values import Score, Section


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
        budgets: further budgets, to measure what a review is worth: for each of them, in both orders, and for none at
            all, a student of its own is trained and scored. The report shows AP and F1 of the labels by budget.
    """

    budget: Annotated[int, Field(ge=0)] = 500
    error: Score = 0.0
    order: Literal["queue", "random"] = "queue"
    budgets: tuple[Annotated[int, Field(ge=1)], ...] = ()


class Audit(Section):
    """A random sample of whole images that a person labels completely: what measures labels and models.

    Attributes:
        images: how many images to draw; 0 for no audit.
        draw: ``uniform`` gives every image the same chance; ``boxes`` gives half of it in proportion to its boxes,
            which tells more about rare classes and less about empty images.
        blind: whether the person sees an audited image without its pseudo labels first.
        twice: how many of these images are shown once more at the end of the audit, without the first answer: how
            often the answers differ tells how often the reviewer errs.
        release: whether audited images may be trained on; they then measure a student too well.
        beta: how much more recall counts than precision in the best threshold that the audit tells.
    """

    images: Annotated[int, Field(ge=0)] = 0
    draw: Literal["uniform", "boxes"] = "uniform"
    blind: bool = True
    twice: Annotated[int, Field(ge=0)] = 0
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
        images: how many images may wait in FiftyOne at once, null for all. Of a larger set the most doubtful come in,
            near-duplicates once; audited images and those somebody decided on always do. Images that are done make
            room for the next ones when the review is opened again. The others keep the labels they have.
    """

    mode: Literal["auto", "human", "skip", "simulate"] = "skip"
    accept: Accept = Accept()
    simulate: Simulate = Simulate()
    audit: Audit = Audit()
    images: Annotated[int, Field(ge=1)] | None = 10_000
