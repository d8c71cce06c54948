"""Figures and findings in words; knows no page, no chart and no picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from da_kd.detections import State
from da_kd.stages.report.facts import NOT_RUN, ReportFacts

UNDEFINED = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
_SPACE = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True)
class Tile:
    """A figure of the headline: what it is, its value, and a remark."""

    label: str
    value: str
    remark: str


def fraction(value: float | None) -> str:
    """Return an AP with three digits, a dash where it is undefined."""
    return UNDEFINED if value is None or not math.isfinite(value) else f"{value:.3f}".replace("-", MINUS)


def signed(value: float | None) -> str:
    """Return a difference of two APs with its sign."""
    return UNDEFINED if value is None else f"{value:+.3f}".replace("-", MINUS)


def between(ends: Sequence[float] | None, say: Callable[[float | None], str]) -> str:
    """Return an interval as ``0.412 to 0.431``, nothing where there is none."""
    return f"{say(ends[0])} to {say(ends[1])}" if ends else ""


def percent(value: float | None) -> str:
    """Return a share in whole percent."""
    if value is None or not math.isfinite(value):
        return UNDEFINED
    return f"{100 * value:.0f}{_SPACE}%".replace("-0", "0").replace("-", MINUS)


def amount(value: float | None) -> str:
    """Return a rate with two digits, a dash where it is undefined."""
    return UNDEFINED if value is None or not math.isfinite(value) else f"{value:.2f}"


def count(number: int) -> str:
    """Return a count with thin gaps between thousands."""
    return f"{number:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def counted(number: int, one: str, many: str = "") -> str:
    """Return a count with its noun."""
    return f"{count(number)}{_SPACE}{one if number == 1 else many or one + 's'}"


def duration(seconds: float) -> str:
    """Return seconds as ``4.2 s``, ``3 min 12 s`` or ``2 h 5 min``."""
    if seconds < 59.95:  # noqa: PLR2004
        return f"{seconds:.1f}{_SPACE}s"
    whole = round(seconds)
    if whole < 3600:  # noqa: PLR2004
        return f"{whole // 60}{_SPACE}min {whole % 60}{_SPACE}s"
    return f"{whole // 3600}{_SPACE}h {whole % 3600 // 60}{_SPACE}min"


def headline(facts: ReportFacts) -> str:
    """Return in one or two sentences what was gained."""
    student, source = facts.figure("student", "AP50"), facts.figure("source_only", "AP50")
    if student is None:
        return _without_student(facts)
    if source is None:
        sentence = f"The student reaches AP50 {fraction(student)}."
    elif student > source:
        sentence = f"The student reaches AP50 {fraction(student)} against {fraction(source)} source-only"
        sentence += f"{_gap(facts, 'student')}."
    else:
        sentence = f"Adaptation did not help: AP50 is {fraction(student)} with it and {fraction(source)} source-only."
    tuned = facts.figure("finetuned", "AP50")
    if tuned is not None:
        sentence += f" Fine-tuning on target labels takes it to {fraction(tuned)}{_gap(facts, 'finetuned')}."
    return sentence


def tiles(facts: ReportFacts) -> list[Tile]:
    """Return the figures that stand beside the headline."""
    return [
        Tile("Student, AP50", fraction(facts.figure("student", "AP50")), _remark(facts, "student", "AP50")),
        Tile("Student, AP", fraction(facts.figure("student", "AP")), _remark(facts, "student", "AP")),
        Tile("Gap recovered", percent(_share(facts, "student")), _gap_remark(facts)),
        Tile("Pseudo labels kept", *_kept(facts)),
    ]


def listed(names: Sequence[str]) -> str:
    """Return names as ``a, b and c``."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _without_student(facts: ReportFacts) -> str:
    if not facts.models:
        return "No model was scored in this run, so there is no gain to report."
    return f"There is no score of a student: {facts.absent.get('student', 'its AP50 is undefined')}."


def _share(facts: ReportFacts, row: str) -> float | None:
    value = (facts.metrics.get("gap_recovered") or {}).get(row)
    return None if value is None else float(value)


def _gap(facts: ReportFacts, row: str) -> str:
    share = _share(facts, row)
    if share is None or share <= 0:
        return ""
    verb = ", and recovers" if row == "student" else ","
    return f"{verb} {percent(share)} of the gap to the oracle in AP"


def _remark(facts: ReportFacts, row: str, name: str) -> str:
    own, source = facts.figure(row, name), facts.figure("source_only", name)
    if own is None:
        return facts.absent.get(row, "undefined")
    return "no source-only model to compare" if source is None else f"{signed(own - source)} over source-only"


def _gap_remark(facts: ReportFacts) -> str:
    if _share(facts, "student") is not None:
        return "of the way from source-only to oracle, in AP"
    needed = {"source_only": "source-only model", "student": "student", "oracle": "oracle"}
    missing = [name for row, name in needed.items() if row in facts.absent]
    return f"needs a score of the {listed(missing)}" if missing else "there is no gap to recover"


def _kept(facts: ReportFacts) -> tuple[str, str]:
    if facts.pseudo is None:
        return UNDEFINED, NOT_RUN
    kept, images = int((facts.pseudo.state == State.KEPT).sum()), int(facts.pseudo.ok.sum())
    return count(kept), f"on {counted(images, 'target image')}"
