"""Recipes: one YAML file that says what is adapted to what, checked as a whole before anything runs."""

from da_kd.recipe.load import dump_recipe, load_recipe, parse_recipe
from da_kd.recipe.models import (
    Accept,
    Architecture,
    Data,
    Distill,
    Evaluate,
    Finetune,
    Fuse,
    Images,
    Predict,
    Recipe,
    Report,
    Review,
    Schedule,
    Student,
    Teacher,
)

__all__ = [
    "Accept",
    "Architecture",
    "Data",
    "Distill",
    "Evaluate",
    "Finetune",
    "Fuse",
    "Images",
    "Predict",
    "Recipe",
    "Report",
    "Review",
    "Schedule",
    "Student",
    "Teacher",
    "dump_recipe",
    "load_recipe",
    "parse_recipe",
]
