"""Teachers: one adapter per framework, behind one seam (see ``base``)."""

from da_kd.teachers.base import Failure, Image, Predictor, Teacher, adapter

__all__ = ["Failure", "Image", "Predictor", "Teacher", "adapter"]
