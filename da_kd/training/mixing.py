"""Images with ground truth beside those with pseudo labels: how many of them an epoch shows, and which.

Knows image sets and shares; must not know which stage mixes, nor how a model is trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from da_kd.boxes import IntArray
from da_kd.data import ImageSet, joined, without_copies


@dataclass(frozen=True)
class Share:
    """A part of a set of which every epoch shows a certain number of images.

    Attributes:
        name: of the set that was mixed in.
        first: the number of its first image.
        count: of its images.
        seen: how many of them an epoch shows, an image that is shown twice counting twice.
        truth: its labels are ground truth, which leaves open only what it says itself.
    """

    name: str
    first: int
    count: int
    seen: int
    truth: bool = True

    @property
    def images(self) -> IntArray:
        """(count,) The numbers of its images."""
        return np.arange(self.first, self.first + self.count)

    def drawn(self, epoch: int, seed: int) -> IntArray:
        """Return (seen,) the numbers of the images that an epoch shows.

        All images come in an order drawn by chance, then in another one, and so on; the epochs cut this row into
        pieces. So no image is seen twice before every image was seen once, and an epoch does not depend on others.

        Args:
            epoch: counted from 0.
            seed: another seed draws other orders.
        """
        begin = epoch * self.seen
        first, last = begin // self.count, (begin + self.seen - 1) // self.count
        rows = [np.random.default_rng([seed, number]).permutation(self.images) for number in range(first, last + 1)]
        return np.concatenate(rows)[begin - first * self.count :][: self.seen]


@dataclass(frozen=True, eq=False)
class Extra:
    """A set to mix in.

    Attributes:
        name: what it is called.
        images: the images.
        rate: how many of them are seen for every image of the main set, in an epoch; above 0.
        truth: its labels are ground truth.
    """

    name: str
    images: ImageSet
    rate: float
    truth: bool = True


def mixed(main: ImageSet, extras: Sequence[Extra], truth: bool = False) -> tuple[ImageSet, tuple[Share, ...]]:
    """Return the sets as one, and the shares of those mixed in; the main set's images come first.

    An image whose content is in two sets has the labels of one: ground truth goes before pseudo labels, and then the
    set that is named first.

    Args:
        main: images of which an epoch shows all.
        extras: what is mixed in; images that cannot be read are left out.
        truth: the main set's labels are ground truth.

    Raises:
        DataError: the sets do not have the same classes.
    """
    sets = [(truth, main), *((extra.truth, extra.images.usable()) for extra in extras)]
    parts = []
    for place, (sure, images) in enumerate(sets):
        before = [other for number, (is_sure, other) in enumerate(sets) if (not is_sure, number) < (not sure, place)]
        parts.append(without_copies(images, before))
    starts = np.cumsum([len(part) for part in parts])
    shares = [
        Share(extra.name, int(start), len(part), max(1, round(extra.rate * len(main))), extra.truth)
        for extra, start, part in zip(extras, starts, parts[1:], strict=False)
        if len(part)
    ]
    return joined([part for part in parts if len(part)] or [main]), tuple(shares)
