"""Recipes: one YAML file that says what is adapted to what, checked as a whole before anything runs."""

from da_kd.recipe.data import Corrupt, Data, Holdout, Images, Restyle
from da_kd.recipe.labels import Fuse, Guard, Predict, Teacher, Thresholds, Views
from da_kd.recipe.load import dump_recipe, load_recipe, parse_recipe, recipe_from_text
from da_kd.recipe.models import Evaluate, Recipe, Report
from da_kd.recipe.review import Accept, Audit, Review, Simulate
from da_kd.recipe.training import (
    Architecture,
    Distill,
    Finetune,
    FinetuneMix,
    Mix,
    Refresh,
    Rounds,
    Schedule,
    Student,
    Teach,
    TeacherFinetune,
    TeachMix,
)
from da_kd.recipe.values import TAKEN

__all__ = [
    "TAKEN",
    "Accept",
    "Architecture",
    "Audit",
    "Corrupt",
    "Data",
    "Distill",
    "Evaluate",
    "Finetune",
    "FinetuneMix",
    "Fuse",
    "Guard",
    "Holdout",
    "Images",
    "Mix",
    "Predict",
    "Recipe",
    "Refresh",
    "Report",
    "Restyle",
    "Review",
    "Rounds",
    "Schedule",
    "Simulate",
    "Student",
    "Teach",
    "TeachMix",
    "Teacher",
    "TeacherFinetune",
    "Thresholds",
    "Views",
    "dump_recipe",
    "load_recipe",
    "parse_recipe",
    "recipe_from_text",
]
