"""A student leaves the house: other file formats, each checked against the checkpoint, and a model card beside them.

formats.py   a checkpoint becomes an ONNX, TorchScript, OpenVINO or TensorRT file
same.py      whether two models find the same in the same images
card.py      MODEL.md
"""

from da_kd.exporting.card import Card, write_card
from da_kd.exporting.formats import FORMATS, check_format, export
from da_kd.exporting.same import Agreement

__all__ = ["FORMATS", "Agreement", "Card", "check_format", "export", "write_card"]
