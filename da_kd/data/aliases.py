"""Names that people use for the same thing. Only ever makes suggestions: no class is mapped because of it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

# As COCO, VOC, KITTI, BDD100K, Open Images and blood-cell sets write them; spelling that `plain` evens out is not here.
_SAME = (
    ("person", "pedestrian", "people", "human"),
    ("motorcycle", "motorbike", "motor"),
    ("bicycle", "bike", "cycle"),
    ("car", "automobile", "auto"),
    ("truck", "lorry"),
    ("vehicle", "motor vehicle"),
    ("airplane", "aeroplane", "aircraft", "plane"),
    ("boat", "ship", "vessel"),
    ("traffic light", "traffic signal", "stoplight"),
    ("traffic sign", "road sign"),
    ("license plate", "licence plate", "number plate"),
    ("tv", "tv monitor", "television", "monitor"),
    ("couch", "sofa"),
    ("potted plant", "houseplant", "plant"),
    ("dining table", "table"),
    ("cell phone", "mobile phone", "phone", "smartphone"),
    ("hair drier", "hair dryer"),
    ("cow", "cattle"),
    ("donut", "doughnut"),
    ("backpack", "rucksack"),
    ("helmet", "hard hat", "safety helmet"),
    ("safety vest", "hi vis vest"),
    ("wbc", "white blood cell", "leukocyte", "leucocyte"),
    ("rbc", "red blood cell", "erythrocyte"),
    ("platelet", "thrombocyte", "plt"),
)


def plain(name: str) -> str:
    """Return a name without case, blanks, hyphens, underscores and a plural's s: ``Traffic-Lights``, ``trafficlight``.

    Only for comparing: what comes out need not be a word.
    """
    bare = re.sub(r"[\W_]+", "", name.casefold())
    return bare[:-1] if len(bare) > 1 and bare.endswith("s") and not bare.endswith("ss") else bare


_GROUP = {plain(name): number for number, names in enumerate(_SAME) for name in names}


def same_meaning(name: str, known: Sequence[str]) -> list[str]:
    """Return the known names that mean what ``name`` means, written otherwise or by another word; not itself."""
    bare = plain(name)
    group = _GROUP.get(bare)
    alike = [item for item in known if item != name and plain(item) == bare]
    return alike + [
        item for item in known if plain(item) != bare and group is not None and _GROUP.get(plain(item)) == group
    ]


def nearest(name: str, known: Sequence[str], most: int = 3) -> list[str]:
    """Return up to ``most`` known names that ``name`` may mean: of the same meaning first, then of like spelling."""
    by_lower = {item.lower(): item for item in known}
    close = difflib.get_close_matches(name.lower(), list(by_lower), n=most, cutoff=0.6)
    return list(dict.fromkeys([*same_meaning(name, known), *(by_lower[item] for item in close)]))[:most]
