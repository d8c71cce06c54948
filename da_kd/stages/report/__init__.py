"""The page at the end of a run; see :func:`~da_kd.stages.report.page.write_report`."""

from da_kd.stages.report.facts import ReportFacts
from da_kd.stages.report.page import write_report

__all__ = ["ReportFacts", "write_report"]
