"""A growing set of pictures, and a teacher that counts which of them it was shown."""

from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

from da_kd.data import ImageSet, ScanCache, scan
from da_kd.detections import Detections, table_of
from da_kd.teachers import Failure


class Counter:
    """Says of every picture as many boxes as its gray value; remembers the gray values and the sizes of batches."""

    def __init__(self, classes=("gray",), dislikes=(), most=None):
        self.classes, self.dislikes, self.most = classes, dislikes, most
        self.seen, self.sizes, self.opened = [], [], 0

    @contextmanager
    def open(self, device, floor, batch):
        self.opened += 1
        yield self

    def predict(self, batch):
        if self.most is not None and len(batch) > self.most:
            raise MemoryError
        self.sizes.append(len(batch))
        return [self._answer(int(image.pixels[0, 0, 0])) for image in batch]

    def _answer(self, gray):
        self.seen.append(gray)
        if gray in self.dislikes:
            return Failure("not to my taste")
        boxes = [[index, 0, index + 1, 1] for index in range(gray)]
        return Detections(self.classes, boxes, [1 / (index + 1) for index in range(gray)], [0] * gray)


@pytest.fixture
def counter():
    """Return teachers by their classes, the gray values they refuse, and the most pictures they have memory for."""
    return Counter


@pytest.fixture
def grays(tmp_path):
    """Return a set of pictures, one a gray value, by name; ``None`` is no picture."""

    def make(**tones):
        root = tmp_path / "grays"
        root.mkdir(exist_ok=True)
        for name, tone in tones.items():
            path = root / f"{name}.png"
            if tone is None:
                path.write_bytes(b"no picture")
            else:
                Image.fromarray(np.full((6, 6, 3), tone, np.uint8)).save(path)
        keys = [f"{name}.png" for name in tones]
        return ImageSet(root, table_of(("x",), scan(root, keys, ScanCache(None)), {}))

    return make
