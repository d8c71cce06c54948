"""Runs a recipe: makes what is missing, reuses what is there, says why, and can be taken up again after anything."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from da_kd.errors import Cancelled, DaKdError, InputError, Paused, RecipeError
from da_kd.events import Job, StageDone, StageStarted
from da_kd.pipeline.inputs import Inputs, load_inputs
from da_kd.pipeline.reporting import collect_metrics, make_report
from da_kd.pipeline.results import RunResult, StepOutcome
from da_kd.pipeline.runs import Run, RunState, State
from da_kd.pipeline.steps import STAGES, Step, build_steps, first, for_rows, is_point, review_input
from da_kd.recipe import Recipe, load_recipe
from da_kd.stages import review
from da_kd.store import Store, hold
from da_kd.teachers.device import resolve_devices
from da_kd.training import training_problems

WORKSPACE = Path("runs")
_TRAININGS = ("teach", "distill", "finetune", "baselines")  # kinds of outputs that ultralytics trains
_ABSENT = "absent"  # how a key that is not there is told from one that is null


def run(
    recipe: Recipe | str | Path,
    folder: str | Path | None = None,
    *,
    until: str | None = None,
    rows: Sequence[str] = (),
    seat: int = 0,
    job: Job | None = None,
) -> RunResult:
    """Take a recipe through its stages; stages whose output is there already are reused.

    Args:
        recipe: a recipe, or the path of one.
        folder: the run's folder; the default is ``runs/<name of the recipe>``. Its parent is the workspace, whose store
            all its runs share.
        until: the last stage to run; all by default.
        rows: rows of the ladder; given some, nothing is made but what their figures need.
        seat: runs of a workspace queue for a device only with those of the same seat; 0 but where a caller has counted
            how many it carries side by side.
        job: where progress goes, and who may stop it.

    Raises:
        DaKdError: see :mod:`da_kd.errors`; ``Paused`` when a person has to review, ``Cancelled`` when stopped.
    """
    if not isinstance(recipe, Recipe):
        recipe = load_recipe(recipe)
    place = Run(Path(folder) if folder is not None else WORKSPACE / recipe.name)
    return _Runner(recipe, place, until, rows, seat).go(job or Job(), reviewed=False)


def resume(folder: str | Path, *, until: str | None = None, job: Job | None = None) -> RunResult:
    """Go on with a run that was paused for review, stopped or killed; takes what a person reviewed.

    Raises:
        InputError: there is no such run.
    """
    place = Run(Path(folder))
    return _Runner(place.recipe(), place, until).go(job or Job(), reviewed=True)


class _Runner:
    """One sitting of one run."""

    def __init__(self, recipe: Recipe, place: Run, until: str | None, rows: Sequence[str] = (), seat: int = 0) -> None:
        if until is not None and until not in STAGES:
            raise InputError(f"Expected one of the stages {', '.join(STAGES)}; found '{until}'.")
        self.recipe, self.place, self.rows, self.seat = recipe, place, rows, seat
        self.store = Store(place.workspace)
        self.last = STAGES.index(until) if until else len(STAGES) - 1
        self.before: Mapping[str, Mapping[str, Any]] = {}
        self.state = RunState()

    def go(self, job: Job, reviewed: bool) -> RunResult:
        """Run, and record how it ended; what is refused before any work leaves a finished run as it was."""
        with self.place.taken(job) as written:
            known, planned = self.place.state(), False
            self.before = known.steps
            if not known.steps:  # so that a run that never began can be looked at, and resumed, too
                self.place.keep(self.recipe)
            self.state = replace(known, state="running", stage="data", started=time.time(), ended=None, message="")
            self.place.save(self.state)
            try:
                inputs, steps = self._plan(written, reviewed)
                planned = True
                self.place.keep(self.recipe)
                result = self._work(inputs, steps, written)
            except BaseException as error:
                if not planned and known.state in ("done", "paused") and _state_of(error) == "failed":
                    self.place.save(known)
                else:
                    self._end(_state_of(error), str(error) if isinstance(error, DaKdError) else repr(error))
                raise
            self._end("done", f"Report: {result.report}" if result.report else "Stopped where asked.")
            return result

    def _end(self, state: State, message: str) -> None:
        self.state = replace(self.state, state=state, message=message, ended=time.time())
        self.place.save(self.state)

    def _plan(self, job: Job, reviewed: bool) -> tuple[Inputs, dict[str, Step]]:
        """Return the images and the steps, once nothing is known that would end the run later."""
        inputs = load_inputs(self.recipe, self.store, job)
        steps = build_steps(self.recipe, inputs, self.store)
        if reviewed and self.recipe.review.mode == "human":
            steps = self._take_back(inputs, steps, job)
        steps = for_rows(steps, self.rows) if self.rows else steps
        self._look_ahead(steps)
        return inputs, steps

    def _work(self, inputs: Inputs, steps: dict[str, Step], job: Job) -> RunResult:
        self._remember(steps)
        outcomes = []
        for step in steps.values():
            if STAGES.index(step.stage) > self.last:
                break  # a further round begins with *predict* again, and needs what comes before it
            if step.name == first(steps, "review"):
                self._wait_for_person(inputs, steps, job)
            outcomes.append(self._do(step, job))
        metrics = collect_metrics(self.recipe, steps, self.store)
        report = None
        if self.last == len(STAGES) - 1:
            self.state = replace(self.state, stage="report")
            report, outcome = make_report(self.recipe, self.place, inputs, steps, self.store, metrics, job)
            outcomes.append(outcome)
        done = {step.name for step in steps.values() if self.store.finished(step.output)}
        weights = {
            name: self.store.path(step.output) / "weights.pt"
            for name, step in steps.items()
            if name in done and not is_point(name) and (self.store.path(step.output) / "weights.pt").is_file()
        }
        labels = self.store.path(steps["review"].output) / "labels.parquet" if "review" in done else None
        return RunResult(self.place.folder, report, metrics, tuple(outcomes), labels, weights)

    def _look_ahead(self, steps: Mapping[str, Step]) -> None:
        """Refuse at once what would end a training that may be hours away."""
        open_ = [step for step in steps.values() if not self.store.finished(step.output)]
        if any(step.output.stage in _TRAININGS and STAGES.index(step.stage) <= self.last for step in open_):
            problems = training_problems(self.recipe, student=self.last >= STAGES.index("distill"))
            if problems:
                raise RecipeError(problems)

    def _do(self, step: Step, job: Job) -> StepOutcome:
        job = job.named(step.stage)
        folder = self.store.path(step.output)
        self.state = replace(self.state, stage=step.stage)
        if self.store.finished(step.output):
            seconds = float(self.store.manifest(step.output)["seconds"])
            job.emit(StageDone(step.stage, name=step.name, seconds=seconds, reused=True))
            self._made(step)
            return StepOutcome(step.name, step.stage, True, "", folder)
        why = why_again(step, self.before)
        if self.store.begun(step.output):
            why = "goes on where it was interrupted"
        self.place.save(self.state)
        job.check()
        job.emit(StageStarted(step.stage, name=step.name, why=why))
        with self._device(step, job):
            self.store.make(step.output, step.work, job)
        self._made(step)
        seconds = float(self.store.manifest(step.output)["seconds"])
        job.emit(StageDone(step.stage, name=step.name, seconds=seconds, reused=False))
        return StepOutcome(step.name, step.stage, False, why, folder)

    @contextmanager
    def _device(self, step: Step, job: Job) -> Iterator[None]:
        """Hold the device while a step uses it, so that runs of one workspace queue for it."""
        if step.stage in ("fuse", "review"):
            yield
            return
        with ExitStack() as stack:
            # In one order, so that no two runs wait for each other.
            for device in sorted(resolve_devices(self.recipe.device)):
                name = device.replace(":", "-") + (f".{self.seat}" if self.seat else "")
                lock = self.place.workspace / "locks" / name
                stack.enter_context(hold(lock, job, f"the device {device}", wait=True))
            yield

    def _remember(self, steps: Mapping[str, Step]) -> None:
        """Record what the run refers to; what decided a step when it was last made stays until it is made again."""
        record = {
            name: {
                "stage": step.stage,
                "fingerprint": step.output.fingerprint,
                "made": self.before.get(name, {}).get("made", {}),
            }
            for name, step in steps.items()
        }
        self.state = replace(self.state, steps=record)
        self.place.save(self.state)

    def _made(self, step: Step) -> None:
        """Record what decided a step that is made now, so that a later sitting can say what changed since."""
        entry = {**self.state.steps[step.name], "made": dict(step.output.parts)}
        self.state = replace(self.state, steps={**self.state.steps, step.name: entry})

    def _wait_for_person(self, inputs: Inputs, steps: Mapping[str, Step], job: Job) -> None:
        """Pause where a person has to review these pseudo labels and has not said that they did."""
        labels = steps[first(steps, "fuse")].output.fingerprint
        if self.recipe.review.mode != "human" or self.state.reviewed == labels:
            return
        given = review_input(self.recipe, inputs, self.store, steps)
        dataset = review.open_for_person(given, self.place.workspace, job.named("review"))
        self.state = replace(self.state, opened=labels)
        raise Paused(
            f"The pseudo labels wait for review in the FiftyOne dataset '{dataset}'. Open it with "
            f"'da-kd review {self.place.folder}', which serves it at http://127.0.0.1:{review.PORT}, then go on with "
            f"'da-kd resume {self.place.folder}'. From another machine, the App is reached through a tunnel: "
            f"{review.tunnel(review.PORT)}."
        )

    def _take_back(self, inputs: Inputs, steps: dict[str, Step], job: Job) -> dict[str, Step]:
        """Take what the person did into the journal; return the steps that follow from it."""
        labels = steps[first(steps, "fuse")].output
        if not self.store.finished(labels) or self.state.opened != labels.fingerprint:
            return steps  # these labels were not in front of anybody yet
        given = review_input(self.recipe, inputs, self.store, steps)
        review.take_back(given, self.place.workspace, job.named("review"))
        self.state = replace(self.state, reviewed=labels.fingerprint)
        self.place.save(self.state)
        return build_steps(self.recipe, inputs, self.store)


def why_again(step: Step, before: Mapping[str, Mapping[str, Any]]) -> str:
    """Return which keys differ from the last time this step of the run was planned; '' for a first time."""
    old: Mapping[str, Any] = before.get(step.name, {}).get("made", {})
    if not old:
        return ""
    new = step.output.parts
    changed = [key for key in {**old, **new} if old.get(key, _ABSENT) != new.get(key, _ABSENT)]
    return ", ".join(_change(key, old.get(key, _ABSENT), new.get(key, _ABSENT)) for key in sorted(changed))


def _change(key: str, old: Any, new: Any) -> str:
    """Return one change in words; fingerprints are not worth reading."""
    short = all(len(str(value)) <= 24 for value in (old, new))  # noqa: PLR2004 - shorter than a fingerprint
    return f"{key}: {old} -> {new}" if short else f"{key} changed"


def _state_of(error: BaseException) -> State:
    if isinstance(error, Paused):
        return "paused"
    return "cancelled" if isinstance(error, Cancelled | KeyboardInterrupt) else "failed"
