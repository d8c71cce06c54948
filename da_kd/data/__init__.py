"""The room for reading and writing data sets and images; stages come in through :func:`load_images`.

images.py       a file becomes pixels, or a reason why not       scan.py     the same for many files, remembered
load.py         a section of the recipe becomes an ImageSet      imageset.py holdout, fraction, overlap, fingerprint
yolo.py coco.py voc.py folder.py video.py                        one format each
joining.py      several sets become one                          colours.py  an image in the colours of another
export.py       detections become COCO JSON or a YOLO data set   predictions.py  stored predictions are read back
classes.py problems.py files.py source.py                        what the above share
"""

from __future__ import annotations

from da_kd.data.classes import map_classes
from da_kd.data.export import coco_dict, write_coco, write_yolo
from da_kd.data.images import IMAGE_SUFFIXES, Probe, RgbImage, probe, read_image
from da_kd.data.imageset import (
    ImageSet,
    fingerprint,
    held_out,
    nested,
    nested_fraction,
    only_classes,
    overlap,
    spread,
)
from da_kd.data.joining import joined, without_copies
from da_kd.data.load import find_format, load_images
from da_kd.data.predictions import StoredPredictions, read_coco_results
from da_kd.data.scan import ScanCache, scan
from da_kd.data.video import VIDEO_SUFFIXES, open_video

__all__ = [
    "IMAGE_SUFFIXES",
    "VIDEO_SUFFIXES",
    "ImageSet",
    "Probe",
    "RgbImage",
    "ScanCache",
    "StoredPredictions",
    "coco_dict",
    "find_format",
    "fingerprint",
    "held_out",
    "joined",
    "load_images",
    "map_classes",
    "nested",
    "nested_fraction",
    "only_classes",
    "open_video",
    "overlap",
    "probe",
    "read_coco_results",
    "read_image",
    "scan",
    "spread",
    "without_copies",
    "write_coco",
    "write_yolo",
]
