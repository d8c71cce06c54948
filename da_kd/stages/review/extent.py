"""How many images of a set stand in front of a person, in numbers and in words; kept beside the database.

The browser app reads it without a server. Knows a workspace; must not know FiftyOne, nor which images these are.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from da_kd.store import write_json


@dataclass(frozen=True)
class Extent:
    """How much of a set is in a review.

    Attributes:
        images: how many images are in.
        of: how many images of the set can be read.
        most: how many may wait for a person at once; None for all.
    """

    images: int
    of: int
    most: int | None

    @property
    def words(self) -> str:
        """What a person is told where not all images are in; "" where they are."""
        if self.images >= self.of:
            return ""
        return (
            f"{self.images:,} of {self.of:,} images are in this review, the most doubtful first; the others keep the "
            f"labels they have. No more than {self.most or self.of:,} wait for a person at once (review.images). For "
            "the next ones, mark images done, close the review and open it again, or open it with more: "
            "da-kd review RUN --images N."
        )


def write(workspace: Path, fingerprint: str, extent: Extent) -> None:
    """Keep the extent of the review of some labels.

    Args:
        workspace: holds the review database.
        fingerprint: of the labels.
        extent: how much is in.
    """
    path = _path(workspace, fingerprint)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, asdict(extent))


def read(workspace: Path, fingerprint: str) -> Extent | None:
    """Return the extent of the review of some labels as it was opened last; None where it never was."""
    try:
        return Extent(**json.loads(_path(workspace, fingerprint).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _path(workspace: Path, fingerprint: str) -> Path:
    return workspace / "mongo" / "extent" / f"{fingerprint}.json"
