"""What an open review writes down for pages beside it."""

import json

from da_kd.stages.review.standing import Teller, path_of, read_standing
from da_kd.ui.audited import standing_by


def test_it_is_written_when_it_changed_and_not_before_it_is_time(tmp_path, monkeypatch):
    path, answers = path_of(tmp_path, "print"), iter([{"done": 0}, {"done": 0}, {"done": 1}])
    now = [0.0]
    monkeypatch.setattr("da_kd.stages.review.standing.time.monotonic", lambda: now[0])
    teller = Teller(path, lambda: next(answers), every=5, share=20)
    teller.look()
    assert read_standing(tmp_path, "print") == {"done": 0}
    path.unlink()
    teller.look()  # not yet
    now[0] = 5.0
    teller.look()  # the same
    assert not path.exists()
    now[0] = 10.0
    teller.look()
    assert read_standing(tmp_path, "print") == {"done": 1}


def test_a_look_that_takes_long_is_seldom(tmp_path, monkeypatch):
    now, asked = [0.0], []

    def ask():
        asked.append(now[0])
        now[0] += 2.0
        return {}

    monkeypatch.setattr("da_kd.stages.review.standing.time.monotonic", lambda: now[0])
    teller = Teller(path_of(tmp_path, "print"), ask, every=5, share=20)
    for moment in (0.0, 10.0, 41.9, 42.0):
        now[0] = moment
        teller.look()
    assert asked == [0.0, 42.0]


def test_nothing_written_and_nonsense_are_nothing(tmp_path):
    assert read_standing(tmp_path, "print") == {}
    path = path_of(tmp_path, "print")
    path.parent.mkdir(parents=True)
    for text in ("[1]", "{"):
        path.write_text(text)
        assert read_standing(tmp_path, "print") == {}


def test_the_page_shows_counts_estimates_and_sentences():
    now = {"images": 24, "of": 90, "done": 3, "audit": 4, "audit_done": 2, "again": 0, "again_done": 0, "labels": 61}
    now |= {"accepted": 7, "rejected": 1, "part": "24 of 90 images are in.", "errors": ""}
    now |= {"estimates": [["<RBC>", "0.90 (0.80 to 0.97)", "not known"]]}
    shown = standing_by(json.loads(json.dumps(now)))
    for text in ("of 24 images", "of 61 boxes", "of 4 images", "0.90 (0.80 to 0.97)", "&lt;RBC&gt;", "24 of 90 images"):
        assert text in shown
    assert "<table" not in standing_by(now | {"estimates": []})
    assert standing_by({}) == ""
