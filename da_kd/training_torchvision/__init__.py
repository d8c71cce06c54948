"""Training for torchvision's detectors: teachers of another family than ultralytics'. *teach* alone trains here."""

from da_kd.training_torchvision.adapt import adapt_torchvision
from da_kd.training_torchvision.train import train_torchvision

__all__ = ["adapt_torchvision", "train_torchvision"]
