"""The score from which a box of a class is kept, and that below which it is dropped: given, or computed.

Pure numbers; must not know how boxes were merged, nor which file anything is written to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from da_kd.boxes import FloatArray, IntArray
from da_kd.detections import DetectionTable, State, Vocabulary
from da_kd.recipe import Fuse
from da_kd.stages.fuse.judged import Judged

Int8 = npt.NDArray[np.int8]

FEW = 10  # objects below which a best F-measure is chance
_NO_BOX = "no box of it was found"


@dataclass(frozen=True)
class Cuts:
    """The thresholds that are used, one per class of C.

    Attributes:
        keep: from which score a box is kept, in [0, 1].
        drop: below which score it is dropped, at most ``keep``.
        computed: whether ``keep`` was computed; else it is the recipe's.
        problems: by class, why nothing could be computed, or why what was computed does not hold.
    """

    keep: tuple[float, ...]
    drop: tuple[float, ...]
    computed: tuple[bool, ...]
    problems: Mapping[str, str]

    def states(self, score: FloatArray, label: npt.NDArray[np.integer]) -> Int8:
        """Return (N,) states: kept at or above ``keep``, dropped below ``drop``, else uncertain."""
        keep, drop = (np.array(side, np.float32)[label] for side in (self.keep, self.drop))
        state = np.where(score >= keep, State.KEPT, np.where(score < drop, State.DROPPED, State.UNCERTAIN))
        return state.astype(np.int8)

    def as_json(self, vocabulary: Vocabulary) -> dict[str, Any]:
        """Return the thresholds as a JSON object, by class name."""
        columns = zip(vocabulary, self.keep, self.drop, self.computed, strict=True)
        return {name: {"keep": keep, "drop": drop, "computed": own} for name, keep, drop, own in columns}

    @classmethod
    def from_json(cls, tree: Mapping[str, Any], vocabulary: Vocabulary) -> Cuts:
        """Return the thresholds that :meth:`as_json` told of."""
        keep, drop, own = (tuple(tree[name][key] for name in vocabulary) for key in ("keep", "drop", "computed"))
        return cls(keep, drop, own, {})

    def at_least(self, score: float) -> Cuts:
        """Return the thresholds with nothing kept that scores below ``score``."""
        return replace(self, keep=tuple(max(cut, score) for cut in self.keep))


def thresholds(given: Mapping[str, float], vocabulary: Vocabulary) -> dict[str, float]:
    """Return one threshold per class, the default where a class has none of its own."""
    return {name: given.get(name, given["default"]) for name in vocabulary}


def fixed(config: Fuse, vocabulary: Vocabulary) -> Cuts:
    """Return the thresholds of the recipe."""
    keep, drop = (tuple(thresholds(side, vocabulary).values()) for side in (config.keep, config.drop))
    return Cuts(keep, drop, (False,) * len(vocabulary), {})


def computed(keep: Sequence[float | str], config: Fuse, vocabulary: Vocabulary) -> Cuts:
    """Return computed thresholds, the recipe's where there are none.

    Args:
        keep: for each class the score, or why there is none.
        config: what stands in. Its ``drop`` is also the least score that a box is kept with.
        vocabulary: the C classes.
    """
    given, share = fixed(config, vocabulary), config.thresholds.drop
    kept, dropped, problems = list(given.keep), list(given.drop), {}
    for position, (name, score) in enumerate(zip(vocabulary, keep, strict=True)):
        if isinstance(score, str):
            problems[name] = f"{score}; the recipe's {kept[position]:.2f} stands"
            continue
        kept[position] = max(score, given.drop[position])
        dropped[position] = share * kept[position]
        if kept[position] > score:
            problems[name] = f"{score:.3f} would be below 'fuse.drop'; {kept[position]:.2f} is taken"
    return Cuts(tuple(kept), tuple(dropped), tuple(not isinstance(score, str) for score in keep), problems)


def by_quantile(scores: Sequence[FloatArray], quantile: float) -> list[float | str]:
    """Return for each class, given its scores, the one that this share of them lies below, or a little more."""
    return [_float(np.quantile(mine, quantile, method="higher")) if len(mine) else _NO_BOX for mine in scores]


def by_source_distribution(scores: Sequence[FloatArray], images: IntArray, truth: DetectionTable) -> list[float | str]:
    """Return for each class the score that leaves as many boxes per image as the source's labels have.

    This takes for granted that an image of the target holds as many objects of a class as one of the source, on the
    average; where cells lie denser or streets are emptier it is wrong by just that factor.

    Args:
        scores: for each class the merged scores on the target.
        images: (C,) how many target images were searched for each class.
        truth: labelled source images.
    """
    kept = truth.label[truth.state == State.KEPT]
    objects, searched = np.bincount(kept, minlength=len(images)), truth.searched.sum(axis=0)
    found: list[float | str] = []
    for position in range(len(images)):
        mine = np.sort(scores[position])[::-1]
        if not objects[position]:
            found.append("the source's labels have no object of it")
        elif not len(mine):
            found.append(_NO_BOX)
        else:
            wanted = max(1, round(float(objects[position] / searched[position] * images[position])))
            found.append(_float(mine[wanted - 1]) if wanted <= len(mine) else 0.0)
    return found


@dataclass(frozen=True)
class Weights:
    """How much images count that were not all drawn with the same chance.

    Attributes:
        image: (I,) how many images each of the labelled ones stands for.
        objects: (C,) how many objects all of these hold.
    """

    image: npt.NDArray[np.float64]
    objects: npt.NDArray[np.float64]


def by_f_beta(judged: Judged, beta: float, weights: Weights | None = None, slack: float = 0.0) -> list[float | str]:
    """Return for each class the score with the best F-measure on labelled images; of equals the highest.

    With ``slack`` it is the lowest score whose F-measure is at most so much below the best.

    F = (1 + beta^2) TP / ((1 + beta^2) TP + beta^2 FN + FP) (van Rijsbergen 1979), of all boxes at or above the score.
    """
    found: list[float | str] = []
    for position, objects in enumerate(judged.objects.tolist()):
        mine = judged.label == position
        order = np.argsort(-judged.score[mine], kind="stable")
        score, right = judged.score[mine][order], judged.right[mine][order]
        counts = np.ones(len(order)) if weights is None else weights.image[judged.image[mine][order]]
        hits, boxes = np.cumsum(counts * right), np.cumsum(counts)
        if objects < FEW:
            found.append(f"the labelled images have {objects} objects of it, fewer than {FEW}")
        elif not len(score) or not hits[-1]:
            found.append("no object of it was found in the labelled images")
        else:
            all_objects = objects if weights is None else weights.objects[position]
            measure = (1 + beta**2) * hits / (boxes + beta**2 * all_objects)
            last = np.append(score[1:] < score[:-1], True)  # boxes of one score go together
            measure = np.where(last, measure, -1.0)
            good = np.flatnonzero(measure >= measure.max() - slack)
            found.append(_float(score[good[-1] if slack else good[0]]))
    return found


def _float(score: Any) -> float:
    """Return a score as the number of half the digits that scores are stored with, so that it meets itself."""
    return float(np.float32(score))
