"""What is kept beside a training while it runs, so that it goes on after an interruption: times and curves.

Must not know what is trained, nor how.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from da_kd.files import whole
from da_kd.offline import settle_ultralytics


class Sittings:
    """Remembers over interruptions how often and for how long a training ran.

    Attributes:
        waited: after :meth:`take_up`, the epochs since the best one, where epochs are scored.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "sittings.json"
        self._began = time.time()
        self.waited = 0
        self._known: list[dict[str, float]] = json.loads(self._file.read_text()) if self._file.exists() else []

    def take_up(self) -> int:
        """Return how many epochs are safely done, and note that a new sitting begins after them."""
        done = self._epochs_saved()
        curves = [record for record in read_curves(self._folder) if record["epoch"] <= done]
        with whole(self._folder / "curves.jsonl") as temporary:
            temporary.write_text("".join(json.dumps(record) + "\n" for record in curves))
        if self._known:
            last = self._known[-1]
            saved = self._folder / "resume.pt"
            last["ended"] = saved.stat().st_mtime if saved.exists() else last["began"]
        self._known.append({"after": done, "began": self._began})
        with whole(self._file) as temporary:
            temporary.write_text(json.dumps(self._known))
        return done

    def _epochs_saved(self) -> int:
        if not (self._folder / "resume.pt").exists():
            return 0
        checkpoint = read_checkpoint(self._folder / "resume.pt")
        done = int(checkpoint["epoch"]) + 1
        best = checkpoint["stopper"]["best_epoch"]  # the library's; 0 where epochs are not scored
        self.waited = done - best if best else 0
        return done

    def seconds(self) -> float:
        """Return the time all sittings took together, up to now."""
        earlier = sum(max(0.0, sitting.get("ended", 0) - sitting["began"]) for sitting in self._known[:-1])
        return round(earlier + time.time() - self._began, 2)

    @property
    def resumed_from(self) -> tuple[int, ...]:
        """The epochs after which the training was taken up again."""
        return tuple(int(sitting["after"]) for sitting in self._known[1:])


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return what the library saved after an epoch; its ``epoch`` counts from 0."""
    settle_ultralytics()
    from ultralytics.nn.tasks import torch_safe_load

    checkpoint, _ = torch_safe_load(str(path))
    return dict(checkpoint)


def read_curves(folder: Path) -> list[dict[str, float]]:
    """Return the records written so far; a line that a kill left half-written is left out."""
    path = folder / "curves.jsonl"
    records = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            records.append(json.loads(line))
        except ValueError:
            continue
    return records
