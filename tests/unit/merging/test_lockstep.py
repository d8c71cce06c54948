"""Merging many images at once: equal to merging one by one, step by step, and to a published implementation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from da_kd.boxes import iou
from da_kd.merging import lockstep
from da_kd.merging.lockstep import Rows, homes
from da_kd.merging.merge import Panel, Pool, merge_pool

EASY = settings(max_examples=60, deadline=None)
METHODS = ("wbf", "nms", "soft_nms", "nmm")


# One group, one box after the other: what all the array operations must come to.


def fuse_slowly(xyxy, voice, owner, overlap):
    home, means, members = np.arange(len(voice)), {}, {}
    for row in range(len(voice)):
        near = {first: iou(xyxy[row : row + 1], mean[None])[0, 0] for first, mean in means.items()}
        first = max(near, key=near.get, default=None)
        if first is None or near[first] <= overlap:
            first = row
        members.setdefault(first, []).append(row)
        means[first] = np.average(xyxy[members[first]], axis=0, weights=np.maximum(voice[members[first]], 1e-12))
        home[row] = first
    return home, np.ones(len(voice))


def suppress_slowly(xyxy, voice, owner, overlap, nearest):
    near = iou(xyxy, xyxy)
    kept = []
    for row in range(len(voice)):
        if not any(near[row, first] > overlap for first in kept):
            kept.append(row)
    home = np.arange(len(voice))
    for row in set(range(len(voice))) - set(kept):
        claims = [first for first in kept if near[row, first] > overlap and (nearest or first < row)]
        home[row] = max(claims, key=lambda first: near[row, first]) if nearest else claims[0]
    return home, np.ones(len(voice))


def soften_slowly(xyxy, voice, owner, overlap):
    near, left = iou(xyxy, xyxy), np.ones(len(voice))
    home, waiting = np.arange(len(voice)), list(range(len(voice)))
    while waiting:
        pick = max(waiting, key=lambda row: round(voice[row] * left[row], 9))
        waiting.remove(pick)
        for teacher in sorted(set(owner.tolist()) - {owner[pick]}):
            theirs = [row for row in waiting if owner[row] == teacher and near[pick, row] > overlap]
            if theirs:
                claimed = max(theirs, key=lambda row: round(near[pick, row], 9))
                home[claimed] = pick
                waiting.remove(claimed)
        for row in waiting:
            if near[pick, row] > overlap:
                left[row] *= 1 - near[pick, row]
    return home, left


def slowly(rows, method, overlap):
    home, left = np.arange(len(rows.voice)), np.ones(len(rows.voice))
    for number in np.unique(rows.group):
        mine = np.flatnonzero(rows.group == number)
        mine = mine[np.lexsort((rows.owner[mine], *rows.xyxy[mine].T[::-1], -rows.voice[mine]))]
        given_rows = rows.xyxy[mine], rows.voice[mine], rows.owner[mine], overlap
        if method == "wbf":
            place, rest = fuse_slowly(*given_rows)
        elif method == "soft_nms":
            place, rest = soften_slowly(*given_rows)
        else:
            place, rest = suppress_slowly(*given_rows, nearest=method == "nms")
        home[mine], left[mine] = mine[place], rest
    return home, left


def crowd(random, boxes, groups, teachers=3, side=0.15, jitter=0.03):
    """Boxes about fewer objects than there are boxes, in a unit square a group."""
    objects = random.uniform(0, 1, (groups, max(boxes // 3, 1), 4))
    group = random.integers(0, groups, boxes * groups)
    which = objects[group, random.integers(0, objects.shape[1], len(group))]
    centre = which[:, :2] + random.normal(0, jitter, (len(group), 2))
    half = side * (0.4 + 0.6 * which[:, 2:]) * random.uniform(0.8, 1.25, (len(group), 2))
    xyxy = np.concatenate([centre - half, centre + half], axis=1)
    return Rows(xyxy, random.uniform(0, 1, len(group)), group, random.integers(0, teachers, len(group)))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("overlap", [0.0, 0.1, 0.3, 0.55, 0.8, 1.0])
def test_many_groups_at_once_are_what_one_by_one_is(method, overlap):
    random = np.random.default_rng(int(overlap * 100))
    for boxes, groups in ((1, 30), (4, 40), (30, 8), (150, 2)):
        rows = crowd(random, boxes, groups)
        home, left = homes(rows, method, overlap)
        wanted, rest = slowly(rows, method, overlap)
        assert home.tolist() == wanted.tolist()
        assert left == pytest.approx(rest)


@st.composite
def grids(draw):
    """Groups of boxes on a coarse grid, some without area, many equal, with few different voices."""
    count = draw(st.integers(0, 40))
    numbers = np.array(draw(st.lists(st.tuples(*[st.integers(0, 6)] * 7), min_size=count, max_size=count)), int)
    x, y, w, h, voice, group, owner = numbers.reshape(-1, 7).T
    xyxy = np.stack([x, y, x + w, y + h], axis=1).astype(np.float64)
    return Rows(xyxy, voice / 8, group // 3, owner % 3)


def whose(rows, home):
    """Every box with the box of its home, in an order in which equal boxes of a teacher may stand for one another."""
    table = np.column_stack([rows.xyxy, rows.voice, rows.group, rows.owner, rows.xyxy[home]])
    return table[np.lexsort(table.T[::-1])]


@given(grids(), st.sampled_from(METHODS), st.sampled_from([0.0, 0.29, 0.53, 0.77]))
@EASY
def test_ties_duplicates_and_boxes_without_area_change_nothing(rows, method, overlap):
    home, left = homes(rows, method, overlap)
    wanted, rest = slowly(rows, method, overlap)
    assert np.array_equal(whose(rows, home), whose(rows, wanted))
    assert np.sort(left) == pytest.approx(np.sort(rest))
    assert np.array_equal(home[home], home)


@pytest.mark.parametrize("shares", [(), (0.9,), (0.9, 0.6), (0.5, 0.05)])
def test_means_that_move_far_are_followed_too(shares):
    for seed in range(8):
        rows = crowd(np.random.default_rng(seed), 60, 4, side=0.3, jitter=0.1)
        order = np.lexsort((-rows.voice, rows.group))
        ordered = rows.pick(order)
        wanted = lockstep._fuse_all(ordered, 0.25)
        assert lockstep._fuse(ordered, 0.25, shares).tolist() == wanted.tolist()


def test_groups_with_many_pairs_are_compared_in_portions(monkeypatch):
    rows = crowd(np.random.default_rng(1), 20, 12)
    ordered = rows.pick(np.lexsort((-rows.voice, rows.group)))
    wanted = lockstep._fuse_all(ordered, 0.4).tolist()
    monkeypatch.setattr(lockstep, "_MOST", 300)
    portions = list(lockstep._portions(ordered.group))
    assert len(portions) > 1
    assert portions[0].start == 0
    assert portions[-1].stop == len(ordered.group)
    assert lockstep._fuse_all(ordered, 0.4).tolist() == wanted


# The published implementation.


def oracle(name):
    return getattr(pytest.importorskip("ensemble_boxes", reason="ensemble-boxes is not installed"), name)


def teams(random, images, teachers, boxes, classes, side=0.1):
    """What each teacher says of each image: (boxes, scores, labels), in the unit square."""
    said = []
    for _ in range(images):
        truth = random.uniform(0.1, 0.9, (boxes, 2))
        half = random.uniform(0.2 * side, side, (boxes, 2))
        kind = random.integers(0, classes, boxes)
        one = []
        for _ in range(teachers):
            some = random.integers(0, boxes, int(random.integers(1, boxes + 1)))  # repeats included
            centre = truth[some] + random.normal(0, 0.15 * side, (len(some), 2))
            corners = np.clip(np.concatenate([centre - half[some], centre + half[some]], axis=1), 0, 1)
            one.append((corners, random.uniform(0.01, 1, len(some)), kind[some]))
        said.append(one)
    return said


def pooled(said, classes, weights):
    parts = [(i, t, *one) for i, image in enumerate(said) for t, one in enumerate(image)]
    pool = Pool(
        np.concatenate([box for _, _, box, _, _ in parts]),
        np.concatenate([score for _, _, _, score, _ in parts]),
        np.concatenate([np.full(len(label), i) for i, _, _, _, label in parts]),
        np.concatenate([label for *_, label in parts]),
        np.concatenate([np.full(len(label), t) for _, t, _, _, label in parts]),
    )
    shape = (len(weights), classes)
    weight = np.broadcast_to(np.array(weights)[:, None], shape)
    return Panel(np.ones(shape, bool), weight, np.ones((len(said), len(weights)), bool)), pool


def assert_equal(one, other, tolerance):
    """Rows are equal whatever their order."""
    assert len(one) == len(other)
    if len(one):
        apart = np.abs(one[:, None] - other[None]).max(axis=2)
        assert apart.min(axis=0).max() < tolerance
        assert apart.min(axis=1).max() < tolerance


@pytest.mark.parametrize("weights", [(1, 1), (1, 1, 1), (2, 1), (0.5, 1.7, 1), (1, 2, 3, 4)])
@pytest.mark.parametrize("overlap", [0.2, 0.55, 0.7])
def test_fusion_equals_ensemble_boxes(weights, overlap):
    weighted_boxes_fusion = oracle("weighted_boxes_fusion")
    said = teams(np.random.default_rng(len(weights)), 12, len(weights), 40, 3)
    panel, pool = pooled(said, 3, weights)
    merged = merge_pool(panel, pool, "wbf", overlap, "all")
    for number, image in enumerate(said):
        lists = ([list(part) for part in side] for side in zip(*image, strict=True))
        boxes, scores, labels = weighted_boxes_fusion(*lists, weights=list(weights), iou_thr=overlap)
        mine = merged.image == number
        found = np.column_stack([merged.xyxy[mine], merged.score[mine], merged.label[mine]])
        assert_equal(found, np.column_stack([boxes, np.minimum(scores, 1), labels]), 1e-5)


def test_counting_each_teacher_once_is_the_same_where_none_repeats_itself():
    weighted_boxes_fusion = oracle("weighted_boxes_fusion")
    random = np.random.default_rng(5)
    corner = np.stack(np.meshgrid(np.arange(8), np.arange(8)), axis=-1).reshape(-1, 2) / 8  # nothing is near another
    said = [(corner + random.uniform(0, 0.01, corner.shape), random.uniform(0.01, 1, 64)) for _ in range(2)]
    image = [(np.concatenate([low, low + 0.1], axis=1), score, np.zeros(64, int)) for low, score in said]
    merged = merge_pool(*pooled([image], 1, (1, 2)), "wbf", 0.55)
    lists = ([list(part) for part in side] for side in zip(*image, strict=True))
    boxes, scores, _ = weighted_boxes_fusion(*lists, weights=[1, 2], iou_thr=0.55)
    assert_equal(np.column_stack([merged.xyxy, merged.score]), np.column_stack([boxes, scores]), 1e-5)


def test_suppression_equals_ensemble_boxes():  # its soft one returns the scores of before: nothing to compare
    nms_method = oracle("nms_method")
    said = teams(np.random.default_rng(7), 8, 2, 60, 2)
    merged = merge_pool(*pooled(said, 2, (1, 1)), "nms", 0.4)
    for index, image in enumerate(said):
        lists = ([np.array(part) for part in side] for side in zip(*image, strict=True))
        boxes, scores, labels = nms_method(*lists, method=3, iou_thr=0.4)
        mine = merged.image == index
        found = np.column_stack([merged.xyxy[mine], merged.score[mine], merged.label[mine]])
        assert_equal(found, np.column_stack([boxes, scores, labels]), 1e-5)


# What holds for all of them.


@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_images_teachers_and_boxes_does_not_matter(method):
    random = np.random.default_rng(3)
    said = teams(random, 9, 3, 25, 2)
    panel, pool = pooled(said, 2, (1, 1.5, 1.5))
    one = merge_pool(panel, pool, method, 0.5)
    images, teachers, boxes = random.permutation(9), random.permutation(3), random.permutation(len(pool.score))
    there, owner = np.argsort(images)[pool.image], np.argsort(teachers)[pool.owner]
    turned = Panel(panel.knows[teachers], panel.weight[teachers], panel.read[images][:, teachers])
    mixed = Pool(pool.xyxy[boxes], pool.score[boxes], there[boxes], pool.label[boxes], owner[boxes])
    other = merge_pool(turned, mixed, method, 0.5)
    for number, image in enumerate(images):
        mine, theirs = one.image == image, other.image == number
        assert other.xyxy[theirs] == pytest.approx(one.xyxy[mine], abs=1e-6)
        assert other.score[theirs] == pytest.approx(one.score[mine], abs=1e-6)
        assert other.label[theirs].tolist() == one.label[mine].tolist()
        assert other.agreement[theirs].tolist() == one.agreement[mine].tolist()
        assert np.array_equal(other.teacher_score[theirs], one.teacher_score[mine][:, teachers], equal_nan=True)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("repeats", ["best", "all"])
def test_a_set_fused_with_itself_changes_nothing_but_the_agreement(method, repeats):
    said = teams(np.random.default_rng(4), 9, 1, 25, 2)
    panel, pool = pooled(said, 2, (1,))
    clean = merge_pool(panel, pool, "nms", 0.5)  # nothing overlaps, as after any suppression
    once = [np.concatenate([column, column]) for column in (clean.xyxy, clean.score, clean.image, clean.label)]
    twice = Pool(*(column.astype(np.float64) for column in once[:2]), *once[2:], np.repeat([0, 1], len(clean.score)))
    silent = Pool(*(column[: len(clean.score)] for column in vars(twice).values()))
    both = Panel(np.ones((2, 2), bool), np.ones((2, 2)), np.ones((9, 2), bool))
    merged = merge_pool(both, twice, method, 0.5, repeats)
    assert merged.xyxy == pytest.approx(clean.xyxy, abs=1e-6)
    assert merged.score == pytest.approx(clean.score)
    assert (merged.image.tolist(), merged.label.tolist()) == (clean.image.tolist(), clean.label.tolist())
    assert (merged.agreement == 1).all()
    assert (merge_pool(both, silent, method, 0.5, repeats).agreement == 0.5).all()


@given(grids(), st.sampled_from(METHODS), st.sampled_from(["best", "all"]), st.sampled_from([0.0, 0.3, 0.55]))
@EASY
def test_scores_are_shares_and_boxes_stay_within_what_was_said(rows, method, repeats, overlap):
    panel = Panel(np.ones((3, 1), bool), np.array([[1.0], [3.0], [0.2]]), np.ones((3, 3), bool))
    pool = Pool(rows.xyxy, np.minimum(rows.voice, 1), rows.group, np.zeros(len(rows.group), int), rows.owner)
    merged = merge_pool(panel, pool, method, overlap, repeats)
    assert ((merged.score >= 0) & (merged.score <= 1)).all()
    assert ((merged.agreement > 0) & (merged.agreement <= 1)).all()
    assert (np.diff(merged.image) >= 0).all()
    assert (np.diff(merged.score)[np.diff(merged.image) == 0] <= 0).all()
    assert set(merged.image.tolist()) <= set(pool.image.tolist())
    for image in set(merged.image.tolist()):
        mine, said = merged.xyxy[merged.image == image], pool.xyxy[pool.image == image]
        assert (mine >= said.min(axis=0) - 1e-5).all()
        assert (mine <= said.max(axis=0) + 1e-5).all()
