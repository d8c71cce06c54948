"""Which images an audit draws: known chances, a fixed number, the same images when the set grows."""

import dataclasses

import numpy as np
import pytest

from da_kd.detections import ImageRecord, table_of
from da_kd.stages.review.sample import draw, of_part


def images(count: int, broken=()):
    records = [ImageRecord(f"{i}.png", f"sha{i}", 9, 9, "truncated" if i in broken else "") for i in range(count)]
    return table_of(("x",), records, {})


def test_a_uniform_draw_has_the_wanted_number_of_images_and_equal_chances():
    drawn = draw(images(50), 20, seed=3)
    assert len(set(drawn.images.tolist())) == 20
    assert drawn.probability.tolist() == pytest.approx([0.4] * 50)


def test_unreadable_images_are_never_drawn():
    drawn = draw(images(10, broken=(1, 2)), 10, seed=0)
    assert set(drawn.images.tolist()) == {0, 3, 4, 5, 6, 7, 8, 9}
    assert drawn.probability.tolist() == [1, 0, 0, *[1] * 7]


def test_the_same_seed_draws_the_same_and_another_others():
    first, again, other = (draw(images(100), 10, seed).images.tolist() for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize("larger", [40, 80])  # or of all images, which are sure to be drawn
def test_a_smaller_draw_is_the_beginning_of_a_larger_one(larger):
    assert draw(images(80), larger, 0).images[:15].tolist() == draw(images(80), 15, 0).images.tolist()


def test_when_the_set_grows_no_image_comes_in_that_was_there_and_not_drawn():
    before, after = draw(images(60), 20, 0).images, draw(images(90), 20, 0).images
    assert set(after[after < 60].tolist()) < set(before.tolist())
    assert len(set(after.tolist()) & set(before.tolist())) >= 8


def test_with_sizes_chances_rise_with_them_but_none_is_zero():
    size = np.array([0.0] * 30 + [10.0] * 20)
    drawn = draw(images(50), 20, 0, size)
    assert drawn.probability.sum() == pytest.approx(20)
    assert drawn.probability[0] == pytest.approx(0.2)
    assert drawn.probability[49] == pytest.approx(0.7)


def test_an_image_of_great_size_is_certain_and_the_others_share_the_rest():
    drawn = draw(images(10), 4, 0, np.array([1000.0] + [1.0] * 9))
    assert drawn.probability[0] == 1
    assert drawn.images[0] == 0
    assert drawn.probability.tolist()[1:] == pytest.approx([3 / 9] * 9)


def test_images_come_as_often_as_their_chances_say():
    table, size = images(30), np.arange(30.0)
    draws = [draw(table, 10, seed, size) for seed in range(1500)]
    often = np.bincount(np.concatenate([one.images for one in draws]), minlength=30) / len(draws)
    assert np.abs(often - draws[0].probability).max() < 0.05  # four standard errors


@pytest.mark.parametrize("count", [0, 5])
def test_no_audit_and_no_images_draw_nothing(count):
    assert draw(images(count), 0, 0).images.tolist() == []
    assert draw(images(0), 5, 0).images.tolist() == []
    assert draw(dataclasses.replace(images(count)), 0, 0).probability.tolist() == [0] * count


def test_what_is_done_first_of_a_draw_by_size_says_the_truth_too():
    rng = np.random.default_rng(1)
    size = np.round(rng.lognormal(2, 1.2, 300))  # few images hold most of the objects, and are drawn first
    found = []
    for seed in range(40):
        done = draw(images(300), 60, seed, size)
        first = done.images[:30]
        chance = of_part(done.probability[first], 300)
        assert (1 / chance).sum() == pytest.approx(300)
        found.append((size[first] / chance).sum() / (1 / chance).sum())
    assert np.mean(found) == pytest.approx(size.mean(), rel=0.1)  # with one factor for all it is 1.4 times as much


def test_a_part_of_a_uniform_draw_is_a_smaller_one_and_a_whole_one_stays():
    assert of_part(np.full(5, 0.2), 50).tolist() == pytest.approx([0.1] * 5)
    assert of_part(np.ones(5), 50).tolist() == pytest.approx([0.1] * 5)
    assert of_part(np.full(10, 0.2), 50).tolist() == [0.2] * 10
    assert of_part(np.zeros(0), 50).shape == (0,)
