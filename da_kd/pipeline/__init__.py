"""The pipeline: stages in order, what is reused and why, runs that can be stopped and taken up again."""

from da_kd.pipeline.audit import audit_run
from da_kd.pipeline.exports import Exported, export_run
from da_kd.pipeline.inputs import Inputs, corrupt_parts, drawn_output, load_inputs, only_set
from da_kd.pipeline.plan import PlannedStep, expected_rate, plan
from da_kd.pipeline.results import RunMetrics, RunResult, StepOutcome
from da_kd.pipeline.run import resume, run
from da_kd.pipeline.runs import Run, RunState, list_runs, refuse_taken
from da_kd.pipeline.steps import STAGES, TRAINED, build_steps, first, review_input

__all__ = [
    "STAGES",
    "TRAINED",
    "Exported",
    "Inputs",
    "PlannedStep",
    "Run",
    "RunMetrics",
    "RunResult",
    "RunState",
    "StepOutcome",
    "audit_run",
    "build_steps",
    "corrupt_parts",
    "drawn_output",
    "expected_rate",
    "export_run",
    "first",
    "list_runs",
    "load_inputs",
    "only_set",
    "plan",
    "refuse_taken",
    "resume",
    "review_input",
    "run",
]
