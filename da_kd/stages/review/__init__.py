"""The stage *review*: pseudo labels in front of a rule or a person. The one room for FiftyOne.

Importing this package imports neither FiftyOne nor a database driver.
"""

from da_kd.stages.review.app import PORT, launch_app, tunnel
from da_kd.stages.review.audited import audit_digest, truth_of_audit
from da_kd.stages.review.journal import read as read_journal
from da_kd.stages.review.stage import ReviewInput, auto, finish, open_for_person, simulated, take_back

__all__ = [
    "PORT",
    "ReviewInput",
    "audit_digest",
    "auto",
    "finish",
    "launch_app",
    "open_for_person",
    "read_journal",
    "simulated",
    "take_back",
    "truth_of_audit",
    "tunnel",
]
