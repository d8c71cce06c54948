"""Copies of one picture, byte for byte: decisions go by content, so a review shows every content once. Pure."""

from __future__ import annotations

from da_kd.detections import DetectionTable


def each_once(table: DetectionTable) -> DetectionTable:
    """Return the table with the first image of every content hash; images that could not be read have none and stay.

    What is decided on an image is laid over all of its copies: shown twice, it would be decided on twice.
    """
    first = {sha: row for row, sha in reversed(list(enumerate(table.sha)))}
    rows = [row for row, sha in enumerate(table.sha) if not sha or first[sha] == row]
    return table if len(rows) == len(table) else table.take(rows)
