"""The stage *review*: pseudo labels in front of a rule or a person. The one room for FiftyOne.

Importing this package imports neither FiftyOne nor a database driver.
"""

from da_kd.stages.review.app import PORT, launch_app, tunnel
from da_kd.stages.review.audited import audit_digest, reviewer_errors, second_digest, truth_of_audit
from da_kd.stages.review.completed import completed
from da_kd.stages.review.journal import read as read_journal
from da_kd.stages.review.person import open_for_person, take_back
from da_kd.stages.review.queue import FUSE_IOU
from da_kd.stages.review.stage import ReviewInput, auto, finish, measure, simulated

__all__ = [
    "FUSE_IOU",
    "PORT",
    "ReviewInput",
    "audit_digest",
    "auto",
    "completed",
    "finish",
    "launch_app",
    "measure",
    "open_for_person",
    "read_journal",
    "reviewer_errors",
    "second_digest",
    "simulated",
    "take_back",
    "truth_of_audit",
    "tunnel",
]
