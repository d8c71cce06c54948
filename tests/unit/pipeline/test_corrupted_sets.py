"""Sets of damaged copies in a recipe: drawn once into the store, and other images to every step."""

from __future__ import annotations

import pytest
from PIL import Image

from da_kd.errors import RecipeError
from da_kd.events import Job
from da_kd.pipeline import load_inputs
from da_kd.pipeline.steps import build_steps
from da_kd.store import Store

DAMAGE = "{by: noise, strength: 3}"


def test_copies_are_drawn_once_and_truth_fits_the_target(recipe, tmp_path):
    store = Store(tmp_path / "runs")
    changes = [f"data.{name}.corrupt={DAMAGE}" for name in ("target", "target_labelled")]
    changes += ["data.target_labelled.path=target"]
    sets = load_inputs(recipe(*changes), store, Job()).sets
    assert sets["target"].root.parent == store.root / "data"
    assert sets["target"].table.sha == sets["target_labelled"].table.sha  # so that labels can be checked against it
    assert len(sets["target_labelled"].table.xyxy) == 4 and not len(sets["target"].table.xyxy)
    assert sets["source"].root.parent != store.root / "data"
    drawn = list(store.everything())
    assert len(drawn) == 1  # both are copies of the same images
    before = (drawn[0] / "output.json").stat().st_mtime_ns
    load_inputs(recipe(*changes), store, Job())
    assert (drawn[0] / "output.json").stat().st_mtime_ns == before


def test_images_that_can_be_read_again_get_copies(recipe, world, tmp_path, monkeypatch):
    Image.new("RGB", (24, 24)).save(world / "data" / "target" / "images" / "3.png")
    store, change = Store(tmp_path / "runs"), f"data.target.corrupt={DAMAGE}"
    with monkeypatch.context() as patch:
        patch.setattr(Image, "MAX_IMAGE_PIXELS", 256)  # twice as many are refused
        few = load_inputs(recipe(change, "predict.max_bad=1"), store, Job()).sets["target"]
    assert few.table.ok.tolist() == [True, True, True, False]
    (store.root / "scan.sqlite").unlink()  # as another version of Pillow would see them
    again = load_inputs(recipe(change), store, Job()).sets["target"]
    assert again.table.ok.all() and all(path.is_file() for path in map(again.path, range(len(again))))


def test_other_damage_is_another_set_to_the_steps(recipe, tmp_path):
    store = Store(tmp_path / "runs")

    def prints(*changes):
        made = recipe(*changes)
        steps = build_steps(made, load_inputs(made, store, Job()), store)
        return {name: step.output.fingerprint for name, step in steps.items()}

    clean, noisy, noisier = (
        prints(*change)
        for change in ([], ["data.target.corrupt={by: noise, strength: 1}"], [f"data.target.corrupt={DAMAGE}"])
    )
    assert len({one["predict:one"] for one in (clean, noisy, noisier)}) == 3


@pytest.mark.parametrize("change", ["{by: snow}", "{by: fog, strength: 4}", "{strength: 1}"])
def test_mistakes_are_told(recipe, change):
    with pytest.raises(RecipeError, match=r"data\.target\.corrupt"):
        recipe(f"data.target.corrupt={change}")
