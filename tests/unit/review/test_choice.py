"""Which images come in front of a person where there are more than may wait at once."""

import dataclasses

import numpy as np
import pytest

from da_kd.detections import DetectionTable, State
from da_kd.stages.review import extent as extents
from da_kd.stages.review.choice import FURTHEST, SEARCH, Standing, choose, most_worth
from da_kd.stages.review.extent import Extent
from da_kd.stages.review.guide import Guide
from da_kd.stages.review.journal import ELSEWHERE, Box, Entry, image_id
from da_kd.stages.review.queue import weigh

PLACE = (10.0, 10.0, 50.0, 50.0)


def table(scores) -> DetectionTable:
    """One kept box an image; the lower its score, the more the image is worth a look."""
    count = len(scores)
    return DetectionTable(
        vocabulary=("RBC",),
        key=tuple(f"{i}.png" for i in range(count)),
        sha=tuple(f"sha{i}" for i in range(count)),
        size=np.full((count, 2), 400, np.int32),
        reason=("",) * count,
        searched=np.ones((count, 1), bool),
        offsets=np.arange(count + 1, dtype=np.int64),
        xyxy=np.tile(np.array(PLACE, np.float32), (count, 1)),
        score=np.array(scores, np.float32),
        label=np.zeros(count, np.int32),
        state=np.zeros(count, np.int8),
        agreement=np.ones(count, np.float32),
        protected=np.zeros(count, bool),
        teachers=("a",),
        teacher_score=np.array(scores, np.float32)[:, None],
    )


class Hashing:
    """Makes hashes, and remembers of which images."""

    def __init__(self, hashes) -> None:
        self.hashes, self.asked = np.array(hashes, np.uint64), []

    def __call__(self, rows):
        self.asked += rows.tolist()
        return self.hashes[rows]


def apart(count: int):
    """Hashes of images that are not alike."""
    return np.random.default_rng(0).integers(0, 2**64, count, np.uint64)


def chosen(labels, most, entries=(), there=(), audit=(), hashes=None):
    """Return the images that come in, in order, and what was hashed."""
    inside = np.zeros(len(labels), bool)
    inside[list(there)] = True
    hashing = Hashing(apart(len(labels)) if hashes is None else hashes)
    standing = Standing.of(labels, list(entries), inside, list(audit))
    return choose(weigh(labels), standing, most, hashing).new.tolist(), hashing.asked


RISING = np.linspace(0.5, 0.95, 20)  # the first image is the most doubtful


def done(at: int, dataset: str = "it@1") -> Entry:
    return Entry(f"sha{at}", "complete", image_id(f"sha{at}"), dataset)


def accepted(at: int, dataset: str = "it@1") -> Entry:
    box = Box("RBC", PLACE)
    return Entry(f"sha{at}", "accepted", f"label{at}", dataset, box, box)


def test_the_most_doubtful_come_in_and_hardly_more_are_looked_at():
    new, asked = chosen(table(RISING), 5)
    assert new == [0, 1, 2, 3, 4]
    assert sorted(asked) == list(range(SEARCH * 5))


@pytest.mark.parametrize("most", [None, 20, 50])
def test_all_come_in_where_they_fit_repeats_at_the_end(most):
    hashes = apart(20)
    hashes[1] = hashes[0]
    new, asked = chosen(table(RISING), most, hashes=hashes)
    assert new == [0, *range(2, 20), 1]
    assert sorted(asked) == list(range(20))


def test_images_that_are_done_make_room_and_those_in_stay():
    new, asked = chosen(table(RISING), 5, [done(0), done(1)], there=range(5))
    assert new == [5, 6]
    assert len(asked) == len(set(asked))
    assert chosen(table(RISING), 5, there=range(5))[0] == []
    assert chosen(table(RISING), 3, there=range(5))[0] == []  # none leaves, none comes
    assert chosen(table(RISING), 8, there=range(5))[0] == [5, 6, 7]


def test_an_image_whose_boxes_are_all_decided_makes_room_and_one_with_boxes_left_does_not():
    labels = table(RISING)
    said = dataclasses.replace(labels, protected=np.arange(20) == 0)
    assert chosen(said, 5, [accepted(0)], there=range(5))[0] == [5]
    assert chosen(labels, 5, [accepted(0)], there=range(5))[0] == []


def test_audited_images_always_come_in_and_wait_like_any_other():
    assert chosen(table(RISING), 5, audit=[19, 17])[0] == [0, 1, 2, 17, 19]
    assert chosen(table(RISING), 1, audit=[19, 17])[0] == [17, 19]
    assert chosen(table(RISING), 5, audit=[19, 17], there=range(5))[0] == [17, 19]
    assert chosen(table(RISING), 2, [done(19)], audit=[19])[0] == [0, 1, 19]


def test_what_was_decided_in_the_app_comes_in_and_what_was_decided_elsewhere_needs_not():
    said = dataclasses.replace(table(RISING), protected=np.isin(np.arange(20), [18, 19]))
    entries = [done(18, f"it{ELSEWHERE}"), accepted(18, f"it{ELSEWHERE}"), done(19), accepted(19)]
    assert chosen(said, 3, entries)[0] == [0, 1, 2, 19]
    assert sorted(chosen(said, None, entries)[0]) == list(range(20))


def test_near_duplicates_come_in_once_and_others_in_their_place():
    hashes = apart(20)
    hashes[1:4] = hashes[0] ^ np.array([1, 1, 3], np.uint64)  # two of them equal
    assert chosen(table(RISING), 5, hashes=hashes)[0] == [0, 4, 5, 6, 7]
    assert chosen(table(RISING), 5, there=[2], hashes=hashes)[0] == [4, 5, 6, 7]
    assert chosen(table(RISING), 5, [done(3)], there=[3], hashes=hashes)[0] == [4, 5, 6, 7, 8]


def test_where_very_many_are_alike_it_looks_further_but_not_at_all():
    scores = np.linspace(0.5, 0.95, 200)
    new, asked = chosen(table(scores), 5, hashes=np.zeros(200))
    assert new == [0]
    assert len(asked) == FURTHEST * 5
    hashes = np.where(np.arange(200) < 18, np.uint64(0), apart(200))
    new, asked = chosen(table(scores), 5, hashes=hashes)
    assert new == [0, 18, 19, 20, 21]
    assert len(asked) == 40


def test_images_that_cannot_be_read_never_come_in_and_are_never_hashed():
    labels = dataclasses.replace(
        table(RISING),
        reason=("gone", *[""] * 19),
        searched=np.arange(20)[:, None] > 0,
        state=np.where(np.arange(20) == 0, State.DROPPED, State.KEPT).astype(np.int8),
    )
    for most in (3, None):
        new, asked = chosen(labels, most, audit=[5])
        assert 0 not in new
        assert 0 not in asked
        assert new[:2] == [1, 2]


def test_no_images_and_no_boxes_are_fine():
    assert chosen(table([]), 5)[0] == []
    empty = table(RISING).pick_boxes(np.zeros(20, bool))
    assert len(chosen(empty, 5)[0]) == 5


def test_more_and_more_openings_bring_every_image_once():
    labels, there, entries = table(RISING), [], []
    for _ in range(10):
        new, _ = chosen(labels, 4, entries, there=there)
        assert not set(new) & set(there)
        there += new
        entries += [done(at) for at in there[-2:]]
    assert sorted(there) == list(range(20))


def test_a_hundred_thousand_images_are_chosen_from_by_looking_at_few():
    scores = np.random.default_rng(1).uniform(0.5, 1, 100_000)
    new, asked = chosen(table(scores), 100)
    assert new == np.argsort(scores.astype(np.float32), kind="stable")[:100].tolist()
    assert len(asked) == SEARCH * 100


def test_the_labels_alone_say_which_are_worth_most():
    assert most_worth(weigh(table(RISING)), np.array([7, 3, 5]), 2).tolist() == [3, 5]


def test_a_guide_of_some_images_says_of_each_what_one_of_all_says():
    labels = table(RISING)
    choice = choose(weigh(labels), Standing.of(labels, [], np.zeros(20, bool), [19]), 5, Hashing(apart(20)))
    whole = Guide.of(choice.queue, labels, hashes=choice.hashes)
    some = Guide.of(choice.queue, labels, images=choice.new, hashes=choice.hashes)
    assert len(some.rank) == len(some.why) == len(some.box_why) == len(some.hashes) == 5
    for at, image in enumerate(choice.new.tolist()):
        assert some.rank[at] == whole.rank[image]
        assert some.why[at] == whole.why[image]
        assert some.box_why[at] == whole.box_why[image]
        for name, members in whole.lists.items():
            assert (at in some.lists[name]) == (image in members)


def test_the_extent_is_told_where_not_all_are_in_and_kept(tmp_path):
    assert Extent(7, 7, 5).words == ""
    part = Extent(10_000, 1_000_000, 10_000)
    assert part.words.startswith("10,000 of 1,000,000 images are in this review")
    assert "open it again" in part.words
    assert extents.read(tmp_path, "print") is None
    extents.write(tmp_path, "print", part)
    assert extents.read(tmp_path, "print") == part
