"""Which images an audit is made of: whole ones, drawn at random with known probabilities. Pure; knows a table."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from da_kd.boxes import IntArray
from da_kd.detections import BoolArray, DetectionTable

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Drawn:
    """Which images the audit is made of.

    Attributes:
        images: (n,) int64 positions in the order of drawing; the first k of them are a sample too.
        probability: (I,) float64, with what probability each image of the set comes into the sample; 0 for those that
            cannot be read.
    """

    images: IntArray
    probability: Doubles


def draw(table: DetectionTable, images: int, seed: int, size: npt.ArrayLike | None = None) -> Drawn:
    """Draw whole images at random, without replacement.

    Every image has a random number of its own, made of its content and the seed, and the images with the smallest are
    drawn: when images are added to the set later, hardly another is drawn. With ``size``, half of the chance is the
    same for all and half in proportion to it, by Pareto sampling (Rosen, J. Stat. Plan. Inference 62, 1997), which
    keeps both the number of images and, but for a trifle, their probabilities.

    Args:
        table: images that cannot be read are never drawn.
        images: how many; all of them where there are fewer.
        seed: another seed draws others.
        size: (I,) >= 0, e.g. how many boxes each image has or what it is worth; None gives all the same chance.
    """
    good = table.ok
    probability = np.zeros(len(table))
    if good.any() and images > 0:
        weight = np.ones(len(table)) if size is None else _mixed(np.asarray(size, np.float64), good)
        probability[good] = _inclusion(weight[good], images)
    number = np.array([_number(sha, seed) for sha in table.sha])
    with np.errstate(divide="ignore", invalid="ignore"):
        rank = np.where(good, number / (1 - number) * (1 - probability) / probability, np.inf)
    order = np.lexsort((number, rank))[: min(images, int(good.sum()))]  # what is sure to be drawn has one rank
    return Drawn(order, probability)


def of_part(probability: Doubles, images: int) -> Doubles:
    """Return (k,) with what probability each of the first k images of a sample came to be among these.

    The order of Pareto sampling is one of odds, so the odds of a shorter sample are those of the whole one times a
    factor. It is chosen so that the k stand for as many images as there are.

    Args:
        probability: (k,) in (0, 1], of the whole sample.
        images: how many it was drawn from.
    """
    k, against = len(probability), 1 / probability - 1
    if k + against.sum() >= images:
        return probability
    if not against.any():  # all images were drawn: their order is random
        return np.full(k, k / images)
    part: Doubles = 1 / (1 + against * (images - k) / against.sum())
    return part


def _mixed(size: Doubles, good: BoolArray) -> Doubles:
    """Return chances of which half is the same for all images; so none is 0."""
    total = size[good].mean()
    return 0.5 + 0.5 * size / total if total > 0 else np.ones(len(size))


def _inclusion(weight: Doubles, images: int) -> Doubles:
    """Return probabilities in proportion to the weights, adding up to ``images``; none above 1."""
    if images >= len(weight):
        return np.ones(len(weight))
    certain = np.zeros(len(weight), bool)
    while True:
        rest = np.where(certain, 0, weight)
        probability = np.where(certain, 1.0, (images - certain.sum()) * rest / rest.sum())
        if (probability <= 1).all():
            return probability
        certain |= probability >= 1


def _number(sha: str, seed: int) -> float:
    """Return a number in (0, 1) that belongs to an image's content."""
    digest = hashlib.blake2b(f"audit\n{seed}\n{sha}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") + 0.5) / 2**64
