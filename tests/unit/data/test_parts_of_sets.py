from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from da_kd.data import fingerprint, held_out, nested, nested_fraction, overlap
from da_kd.errors import DataError
from da_kd.recipe import Holdout

KEYS = [f"{group}/{index}.png" for group in "abcdefgh" for index in range(4)]


@given(st.integers(1, 60), st.floats(0.01, 1), st.floats(0.01, 1), st.integers(0, 3))
def test_fractions_are_nested(count: int, one: float, other: float, seed: int) -> None:
    keys = [f"{index}.png" for index in range(count)]
    small, large = (nested(keys, share, seed) for share in sorted((one, other)))
    assert set(small) <= set(large)
    assert small == sorted(small)
    assert len(small) >= 1
    assert len(nested(keys, 1.0, seed)) == count


def test_the_number_taken_is_rounded_up() -> None:
    keys = [str(index) for index in range(10)]
    assert [len(nested(keys, share)) for share in (0.01, 0.1, 0.11, 0.3, 0.99)] == [1, 1, 2, 3, 10]
    assert nested(keys, 0.3, seed=1) != nested(keys, 0.3, seed=2)


@pytest.mark.parametrize("group", ["folder", "video"])
@pytest.mark.parametrize("seed", range(5))
def test_groups_are_never_split(group: str, seed: int) -> None:
    sides = [held_out(KEYS, Holdout(fraction=0.3, group=group, keep=keep, seed=seed)) for keep in ("held_out", "rest")]
    assert sorted(sides[0] + sides[1]) == list(range(len(KEYS)))
    groups = [{KEYS[index][0] for index in side} for side in sides]
    assert not groups[0] & groups[1]
    assert len(sides[0]) == 8  # two groups of four: the third would pass 30 %


def test_holdout_is_the_same_whatever_the_order() -> None:
    rule = Holdout(fraction=0.25, keep="held_out")
    turned = KEYS[::-1]
    assert {KEYS[index] for index in held_out(KEYS, rule)} == {turned[index] for index in held_out(turned, rule)}


def test_one_group_cannot_be_held_out() -> None:
    with pytest.raises(DataError, match="at least two groups"):
        held_out(["a/1.png", "a/2.png"], Holdout(group="folder"))


def test_holdout_then_fraction(tmp_path: Path, load, picture) -> None:
    for seed, key in enumerate(KEYS[:20]):
        picture(tmp_path / "set" / key, (8, 8), seed)
    rest = load("cat", labels=False, path="set", holdout={"fraction": 0.4})
    held = load("cat", labels=False, path="set", holdout={"fraction": 0.4, "keep": "held_out"})
    part = load("cat", labels=False, path="set", holdout={"fraction": 0.4}, fraction=0.5)
    assert (len(rest), len(held), len(part)) == (12, 8, 6)
    assert not set(rest.table.key) & set(held.table.key)
    assert part.table.key == nested_fraction(rest, 0.5).table.key
    assert not overlap(rest, held)
    with pytest.raises(DataError, match="found none of 20"):
        load("cat", labels=False, path="set", holdout={"fraction": 1.0})


def test_overlap_is_by_content(tmp_path: Path, load, picture) -> None:
    for name, seed in (("a/1.png", 1), ("a/2.png", 2), ("b/x.png", 2), ("b/y.png", 3)):
        picture(tmp_path / name, seed=seed)
    for name in ("a/bad.png", "b/bad.png"):
        (tmp_path / name).write_bytes(b"same rubbish")
    a, b = (load("cat", labels=False, path=name) for name in "ab")
    assert overlap(a, b) == [("2.png", "x.png")]


def test_fingerprints_know_content_not_place(tmp_path: Path, load, picture) -> None:
    for place in ("one", "two", "three", "four"):
        picture(tmp_path / place / "images/1.png", seed=1 + (place == "three"))
        (tmp_path / place / "labels").mkdir()
        (tmp_path / place / "labels/1.txt").write_text(f"0 .5 .5 .{2 if place == 'four' else 1} .1")
        (tmp_path / place / "data.yaml").write_text("train: images\nnames: [cat]")
    prints = [fingerprint(load("cat", path=place)) for place in ("one", "two", "three", "four")]
    prints += [fingerprint(load("cat", path="one", labels=False)), fingerprint(load("cat", "dog", path="one"))]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 5


def test_take_and_paths(tmp_path: Path, load, picture) -> None:
    for index in range(3):
        picture(tmp_path / f"set/{index}.png", seed=index)
    part = load("cat", labels=False, path="set").take(np.array([2, 0]))
    assert part.paths == (tmp_path / "set/2.png", tmp_path / "set/0.png")
    assert part.path(1) == tmp_path / "set/0.png"
    assert part.vocabulary == ("cat",)
