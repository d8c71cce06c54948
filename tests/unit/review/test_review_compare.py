"""What a person did, found again: random edits go in, exactly those come out."""

from hypothesis import given
from hypothesis import strategies as st

from da_kd.stages.review.compare import Label, Reviewed, compare
from da_kd.stages.review.journal import Box

NAMES = ("RBC", "WBC", "Platelets")
number = st.floats(0, 500, width=32)
boxes = st.builds(
    lambda name, x, y, w, h, score: Box(name, (x, y, x + w + 1, y + h + 1), score),
    *(st.sampled_from(NAMES), number, number, number, number, st.floats(0, 1, width=32)),
)
EDITS = ("nothing", "accept", "reject", "delete", "relabel", "move", "accept and move", "relabel and move", "other tag")


def edited(label: Label, edit: str, box: Box) -> tuple[str | None, Label | None]:
    """Return what compare should say of an edit, and the label it leaves."""
    name = NAMES[(NAMES.index(label.box.name) + 1) % len(NAMES)]
    x1, y1, x2, y2 = box.xyxy
    far = (x1 + 1000, y1, x2 + 1000, y2)
    tags, moved, renamed = label.tags, edit.endswith("move"), edit.startswith("relabel")
    if edit == "delete":
        return "rejected", None
    if edit == "reject":
        tags |= {"rejected"}
    if edit.startswith("accept"):
        tags |= {"accepted"}
    if edit == "other tag":
        tags |= {"look again"}
    new = Box(name if renamed else label.box.name, far if moved else label.box.xyxy, label.box.score)
    action = {"reject": "rejected", "accept": "accepted"}.get(edit)
    action = "relabelled" if renamed else "moved" if moved else action
    return action, Label(label.id, new, frozenset(tags))


@given(st.data(), st.lists(boxes, max_size=8), st.lists(boxes, max_size=3))
def test_random_edits_are_found_exactly(data, given_boxes, added):
    before = [Label(f"{i:024x}", box, frozenset({"kept"})) for i, box in enumerate(given_boxes)]
    after, wanted = [], {}
    for label in before:
        edit = data.draw(st.sampled_from(EDITS))
        action, new = edited(label, edit, data.draw(boxes))
        after += [new] if new else []
        if action:
            wanted[label.id] = (action, new.box if new and action != "rejected" else None, label.box)
    for i, box in enumerate(added):
        after.append(Label(f"new{i}", box))
        wanted[f"new{i}"] = ("added", box, None)
    after = data.draw(st.permutations(after))
    found = compare([Reviewed("abc", tuple(before), tuple(after))], "cells", "now", "me")
    assert {entry.label_id: (entry.action, entry.after, entry.before) for entry in found} == wanted
    assert len(found) == len(wanted)
    assert all((e.sha, e.dataset, e.when, e.who) == ("abc", "cells", "now", "me") for e in found)


@given(st.lists(boxes, max_size=8))
def test_nothing_done_is_nothing_found(given_boxes):
    labels = tuple(Label(str(i), box, frozenset({"accepted"})) for i, box in enumerate(given_boxes))
    assert compare([Reviewed("abc", labels, labels)], "cells") == []


def test_a_tag_that_a_rule_put_there_is_no_decision_but_a_new_one_is():
    box = Box("RBC", (1, 2, 3, 4))
    rule, person = Label("a", box, frozenset({"accepted"})), Label("a", box, frozenset({"accepted", "reject"}))
    assert compare([Reviewed("abc", (rule,), (rule,))], "cells") == []
    assert [entry.action for entry in compare([Reviewed("abc", (rule,), (person,))], "cells")] == ["rejected"]


def test_drawn_and_rejected_is_nothing():
    drawn = Label("a", Box("RBC", (1, 2, 3, 4)), frozenset({"rejected"}))
    assert compare([Reviewed("abc", (), (drawn,))], "cells") == []
