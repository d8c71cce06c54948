"""Predicting and training load no more than ultralytics brings, so that a bare machine can measure them."""

import subprocess
import sys

LEFT_OUT = ("pydantic", "pyarrow", "rich", "typer", "plotly", "jinja2", "fiftyone", "gradio", "pycocotools", "ray")
CODE = f"""
import sys
sys.modules.update(dict.fromkeys({LEFT_OUT}))  # importing one of them now fails
import da_kd.stages.predict, da_kd.teachers.batches, da_kd.teachers.ultralytics, da_kd.training
"""


def test_predicting_and_training_load_without_the_rest() -> None:
    subprocess.run([sys.executable, "-c", CODE], check=True)
