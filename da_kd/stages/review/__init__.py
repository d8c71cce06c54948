"""The stage *review*: pseudo labels in front of a rule or a person. The one room for FiftyOne.

Importing this package imports neither FiftyOne nor a database driver.
"""

from da_kd.stages.review.stage import ReviewInput, auto, finish, launch_app, open_for_person, take_back

__all__ = ["ReviewInput", "auto", "finish", "launch_app", "open_for_person", "take_back"]
