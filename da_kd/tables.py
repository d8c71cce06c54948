"""Detection tables on the disk that are written, and read again, a part at a time, so that memory holds a part only.

Knows files of the format of ``detections``; must not know what is in them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from da_kd.detections import DetectionTable, Vocabulary, from_arrow
from da_kd.errors import DataError
from da_kd.files import whole


@contextmanager
def writing(path: Path) -> Iterator[Callable[[DetectionTable], None]]:
    """Yield what adds a part of a table to a file; the parts become one table, in order, a row group each.

    The file stands under a temporary name until the block ends, and is removed when it ends with an error. There must
    be one part at least, and all must have the same classes and teachers.
    """
    import pyarrow.parquet as pq

    writer: Any = None
    with whole(path) as temporary:

        def add(part: DetectionTable) -> None:
            nonlocal writer
            rows = part.to_arrow()
            writer = writer or pq.ParquetWriter(temporary, rows.schema, compression="zstd")
            writer.write_table(rows)

        try:
            yield add
        except BaseException:
            if writer is not None:
                with suppress(OSError):  # the disk may be full, which is what is told of then
                    writer.close()
            raise
        writer.close()


def read_parts(path: Path) -> Iterator[DetectionTable]:
    """Yield the table of a file in the parts that it was written in.

    Raises:
        DataError: the file is missing or is not such a table.
    """
    with _opened(path) as file:
        for number in range(file.num_row_groups):
            yield from_arrow(file.read_row_group(number))


def outline(path: Path) -> tuple[int, Vocabulary]:
    """Return how many images the table of a file has, and its classes; reads nothing else of it.

    Raises:
        DataError: the file is missing or is not such a table.
    """
    with _opened(path) as file:
        return file.metadata.num_rows, tuple(json.loads(file.metadata.metadata[b"da_kd"])["vocabulary"])


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a Parquet file; whatever is wrong with it is a DataError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise DataError(f"Expected a detection table at {path}; it cannot be read ({error}).") from error
