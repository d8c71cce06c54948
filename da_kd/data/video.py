"""Frames of videos become image files, once; keys are ``<video>/<frame number>.jpg``.

Frames are taken at even times and numbered as in the video, from 0. Each video has a folder of its own, written under a
temporary name and renamed when it is complete; a video that did not change is not read again, and of several processes
that want it one reads it. OpenCV's one use in this package is here, inside the functions.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any, Literal

from da_kd.data.files import walk
from da_kd.data.source import Source
from da_kd.errors import DataError
from da_kd.events import Job
from da_kd.store import hold

VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv"})

_MARK = ".video.json"
_FEW = 0.95  # a video that yields less than this share of the frames it claims is told about


def open_video(
    path: Path,
    fps: float,
    frames: Path,
    job: Job | None = None,
    suffix: Literal[".jpg", ".png"] = ".jpg",
    most: int | None = None,
) -> Source:
    """Extract frames and list them.

    Args:
        path: a video, or a folder of videos (nested ones included).
        fps: frames to take for each second of video; all of them where the video has fewer.
        frames: the folder that keeps extracted frames.
        job: hears of progress.
        suffix: how frames are written; ``.png`` loses nothing and is larger.
        most: frames of a video after which the rest of it is not read; None reads it all.

    Raises:
        DataError: there is no video, or one cannot be read.
        Cancelled: a person asked to stop; finished videos stay.
    """
    job = job or Job()
    folder = path if path.is_dir() else path.parent
    names = walk(folder, VIDEO_SUFFIXES) if path.is_dir() else [path.name]
    if not path.exists() or not names:
        there = "no video" if path.exists() else "nothing"
        raise DataError(
            f"Expected a video or a folder of videos at {path}; found {there} there (known suffixes: "
            f"{', '.join(sorted(VIDEO_SUFFIXES))})."
        )
    identity = f"{folder.absolute()}\n{fps!r}\n{suffix}" + ("" if most is None else f"\n{most}")
    root = frames / hashlib.blake2b(identity.encode(), digest_size=8).hexdigest()
    keys: list[str] = []
    for name in job.track(names, "extract frames", unit="videos"):
        written = _extract(folder / name, root / name, fps, suffix, job, most)
        keys += [f"{name}/{frame}" for frame in written]
    return Source(str(path), root, tuple(keys))


def _extract(video: Path, folder: Path, fps: float, suffix: str, job: Job, most: int | None) -> list[str]:
    """Write a video's frames into ``folder`` unless they are there; return their names in order."""
    status = video.stat()
    mark = {"size": status.st_size, "mtime_ns": status.st_mtime_ns}
    known = _finished(folder, mark)
    if known is not None:
        return known
    with hold(folder.with_name(f".{folder.name}.lock"), job, f"the video {video}", wait=True):
        known = _finished(folder, mark)  # by the process that was waited for
        return known if known is not None else _extract_alone(video, folder, mark, fps, suffix, job, most)


def _extract_alone(
    video: Path, folder: Path, mark: dict[str, int], fps: float, suffix: str, job: Job, most: int | None
) -> list[str]:
    """Write a video's frames into ``folder``, which nobody else does meanwhile; return their names in order."""
    _remove_leftovers(folder)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    temporary.mkdir()
    try:
        names = _write_frames(video, temporary, fps, suffix, job, most)
        (temporary / _MARK).write_text(json.dumps({**mark, "frames": names}), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)  # of an earlier version of the video
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return names


def _remove_leftovers(folder: Path) -> None:
    """Remove what processes that were killed had begun to extract."""
    begun = re.compile(rf"\.{re.escape(folder.name)}\.[0-9]+\.tmp")
    for other in folder.parent.iterdir():
        if begun.fullmatch(other.name):
            shutil.rmtree(other, ignore_errors=True)


def _finished(folder: Path, mark: dict[str, int]) -> list[str] | None:
    """Return the frames that were extracted from this version of the video; None where there are none."""
    try:
        known = json.loads((folder / _MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    same = all(known.get(name) == value for name, value in mark.items())
    return [str(name) for name in known["frames"]] if same else None


def _write_frames(video: Path, folder: Path, fps: float, suffix: str, job: Job, most: int | None) -> list[str]:
    """Decode the video once and write every frame that is due, ``most`` of them at most."""
    import cv2

    capture = cv2.VideoCapture(str(video))
    try:
        rate = float(capture.get(cv2.CAP_PROP_FPS)) if capture.isOpened() else 0.0
        if not rate > 0:
            raise DataError(
                f"Expected a video at {video}; it cannot be opened. Convert it to MP4 (H.264), or take it out."
            )
        claimed = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        names, seen = _take(capture, rate / min(fps, rate), folder, suffix, job, most)
    finally:
        capture.release()
    if not names:
        raise DataError(f"Expected frames in the video {video}; none could be decoded. Convert it, or take it out.")
    if len(names) != most and seen < claimed * _FEW:
        job.warn(f"The video {video} says it has {claimed} frames, but only {seen} could be read; it may be truncated.")
    return names


def _take(capture: Any, step: float, folder: Path, suffix: str, job: Job, most: int | None) -> tuple[list[str], int]:
    """Write each frame nearest to a multiple of ``step``; return their names and how many frames were seen."""
    import cv2

    names: list[str] = []
    index, due = 0, 0
    while len(names) != most and capture.grab():
        job.check()
        if index == due:
            good, frame = capture.retrieve()
            if not good:
                break
            name = f"{index:06d}{suffix}"
            if not cv2.imwrite(str(folder / name), frame):
                raise DataError(f"Expected to write frames into {folder}; it failed at {name}. Is the disk full?")
            names.append(name)
            due = max(index + 1, round(len(names) * step))
        index += 1
    return names, index
