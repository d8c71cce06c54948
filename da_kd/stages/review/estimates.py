"""What a sample of whole images says of all: shares and means with 95 % intervals. Knows numbers per image only.

Boxes of one image are alike, so the image, not the box, is what was drawn. A share is a ratio estimator, its variance
that of the linearised residuals over images (Saerndal, Swensson, Wretman: Model Assisted Survey Sampling, 5.6); its
interval is that of Korn and Graubard (Survey Methodology 24, 1998): Clopper and Pearson's, with as many draws as the
variance is worth. Where the share is 0 or 1 the sample shows no variance; then every image counts as one draw.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]

CONFIDENCE = 0.95
_TAIL = (1 - CONFIDENCE) / 2
_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Estimate:
    """Figures with intervals; arrays of one shape, NaN where nothing is known.

    Attributes:
        value: the estimate.
        low: lower end of the 95 % interval.
        high: its upper end.
        draws: how many independent boxes the images are worth; infinite where all images were audited.
    """

    value: Doubles
    low: Doubles
    high: Doubles
    draws: Doubles

    def at(self, *index: int) -> Estimate:
        """Return the figures at one position."""
        return Estimate(*(np.asarray(array)[index] for array in (self.value, self.low, self.high, self.draws)))


def share(part: Doubles, whole: Doubles, probability: Doubles) -> Estimate:
    """Return the share of ``part`` in ``whole`` over all images, of which n were drawn.

    Args:
        part: (..., n) counts per drawn image, none above ``whole``.
        whole: (..., n) counts per drawn image.
        probability: (n,) with what probability each came into the sample, in (0, 1].

    Returns:
        Arrays of shape (...); NaN where no image holds anything.
    """
    total = (whole / probability).sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.where(total > 0, (part / probability).sum(axis=-1) / total, np.nan)
        residual = (part - value[..., None] * whole) / probability / total[..., None]
        seen = whole.sum(axis=-1) / total  # how much of the whole was drawn
        boxes = total**2 / (whole / probability**2).sum(axis=-1)
        one_each = total**2 / ((whole / probability) ** 2).sum(axis=-1)
        between = _variance(residual, probability)
        images = (whole > 0).sum(axis=-1)
        shows = (images > 1) & (value > 0) & (value < 1)  # whether the sample shows any variance
        draws = np.where(shows, np.fmin(value * (1 - value) / between * (1 - seen), boxes), one_each)
        draws = draws * _few_images(boxes, images) / np.maximum(1 - seen, 0)
    low, high = _interval(value, draws)
    return Estimate(value, low, high, draws)


def mean(count: Doubles, probability: Doubles) -> Estimate:
    """Return the mean count per image over all images, of which n were drawn.

    The interval is Student's on the logarithm, since a mean count is positive and its distribution skewed; where
    nothing was found, its upper end is -log(1 - 0.95) / n ("rule of three").

    Args:
        count: (..., n) counts per drawn image.
        probability: (n,) as in :func:`share`.
    """
    from scipy import stats

    images = len(probability)
    total = (1 / probability).sum()
    value = (count / probability).sum(axis=-1) / total
    error = np.sqrt(_variance((count - value[..., None]) / probability / total, probability))
    with np.errstate(invalid="ignore", divide="ignore"):
        factor = np.exp(stats.t.ppf(1 - _TAIL, max(1, images - 1)) * error / value)
    none = -np.log(1 - CONFIDENCE) / images * (1 - images / total)
    low = np.where(value > 0, value / factor, 0.0)
    high = np.where(value > 0, value * factor, none)
    return Estimate(value, low, high, np.full_like(value, images))


def more_to_halve(estimate: Estimate, images: int, population: int) -> npt.NDArray[np.float64]:
    """Return how many more images, drawn alike, would halve each interval; NaN where nothing is known.

    The draws that an interval rests on grow like n / (1 - n / N), n images being audited of N.
    """
    width = estimate.high - estimate.low
    low, high = np.ones_like(width), np.full_like(width, 64.0)
    for _ in range(40):  # halves the error each time
        middle = np.sqrt(low * high)
        with np.errstate(invalid="ignore"):
            narrow = np.subtract(*_interval(estimate.value, estimate.draws * middle)[::-1]) <= width / 2
        low, high = np.where(narrow, low, middle), np.where(narrow, middle, high)
    odds = high * images / max(1 - images / population, _TINY)
    needed = np.ceil(odds / (1 + odds / population)) - images
    return np.where(np.isfinite(width) & (width > 0), np.clip(needed, 0, population - images), np.nan)


def resample(images: int, times: int, seed: int) -> Doubles:
    """Return (times, n) how often each image is drawn again: a bootstrap of whole images."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(images, np.full(images, 1 / images), size=times).astype(np.float64)


def percentiles(values: Doubles, images: int) -> tuple[Doubles, Doubles]:
    """Return the ends of the 95 % interval of bootstrapped values, the first axis being the bootstrap's.

    The percentiles lie further out than 2.5 and 97.5, as far as Student's t of n - 1 images does from the normal and
    the bootstrap's variance from the unbiased one (Hesterberg, The American Statistician 69, 2015, section 5.3).
    """
    from scipy import stats

    most = max(images - 1, 1)
    tail = stats.norm.cdf(stats.t.ppf(_TAIL, most) * np.sqrt(images / most))
    known = ~np.isnan(values).all(axis=0)
    low, high = np.full(values.shape[1:], np.nan), np.full(values.shape[1:], np.nan)
    if known.any():
        low[known], high[known] = np.nanquantile(values[:, known], [tail, 1 - tail], axis=0)
    return low, high


def _variance(residual: Doubles, probability: Doubles) -> Doubles:
    """Return the variance of a sum of weighted residuals over n images of a sample of fixed size (Hajek, 1964)."""
    images, open_ = len(probability), 1 - probability
    if images < 2 or not open_.any():  # noqa: PLR2004
        return np.zeros(residual.shape[:-1])
    centre = (residual * open_).sum(axis=-1, keepdims=True) / open_.sum()
    found: Doubles = (open_ * (residual - centre) ** 2).sum(axis=-1) * images / (images - 1)
    return found


def _few_images(boxes: Doubles, images: npt.NDArray[np.integer]) -> Doubles:
    """Return Korn and Graubard's factor for a variance estimated from few images."""
    from scipy import stats

    wide = stats.t.ppf(1 - _TAIL, np.maximum(images - 1, 1))
    narrow = stats.t.ppf(1 - _TAIL, np.maximum(boxes - 1, 1))
    factor: Doubles = np.minimum((narrow / wide) ** 2, 1)
    return factor


def _interval(value: Doubles, draws: Doubles) -> tuple[Doubles, Doubles]:
    """Return Clopper and Pearson's interval for a share of ``value`` among ``draws``, not necessarily whole."""
    from scipy import stats

    known, all_seen = ~np.isnan(value), np.isinf(draws)
    count = np.where(all_seen | ~known, 1.0, np.maximum(draws, _TINY))
    right = np.where(known, value, 0.5) * count
    low = np.where(right > 0, stats.beta.ppf(_TAIL, np.maximum(right, _TINY), count - right + 1), 0.0)
    high = np.where(right < count, stats.beta.ppf(1 - _TAIL, right + 1, np.maximum(count - right, _TINY)), 1.0)
    low, high = np.where(all_seen, value, low), np.where(all_seen, value, high)
    return np.where(known, low, np.nan), np.where(known, high, np.nan)
