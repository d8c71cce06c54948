"""RT-DETR beside the library's: the loss number by number, and a small student from labels to answers."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from da_kd.data import ImageSet
from da_kd.detections import ImageRecord, State, table_of
from da_kd.errors import Cancelled, RecipeError
from da_kd.events import Event, Figures, Job
from da_kd.offline import settle_ultralytics
from da_kd.recipe import Architecture
from da_kd.teachers import adapter
from da_kd.teachers.batches import predict_images
from da_kd.training import Signals, adapt_batch_norm, train

pytestmark = pytest.mark.usefixtures("one_thread")

CLASSES, IMAGES, BOXES = 3, 4, 20
SMALL = {
    "nc": CLASSES,
    "backbone": [[-1, 1, "Conv", [width, 3, 2]] for width in (8, 16, 16, 16, 16)],
    "head": [[[2, 3, 4], 1, "RTDETRDecoder", ["nc", 32, 30, 4, 4, 2, 64]]],  # 30 queries, 2 layers
}
WHOLE = [0.5, 0.5, 1.0, 1.0]


@pytest.fixture
def model():
    settle_ultralytics()
    from ultralytics.nn.tasks import RTDETRDetectionModel

    torch.manual_seed(0)
    made = RTDETRDetectionModel(dict(SMALL), nc=CLASSES, verbose=False)
    made.nc = CLASSES
    return made.train()


def a_batch(boxes: int = BOXES) -> dict:
    """Return images and boxes as the library has them; five boxes an image."""
    random = torch.Generator().manual_seed(1)
    return {
        "img": torch.rand(IMAGES, 3, 64, 64, generator=random),
        "cls": torch.randint(0, CLASSES, (boxes, 1), generator=random).float(),
        "bboxes": torch.rand(boxes, 4, generator=random) * 0.4 + 0.2,
        "batch_idx": (torch.arange(boxes) * IMAGES // max(boxes, 1)).float(),
    }


def signals(batch: dict, weight: float = 1.0, box=WHOLE, unsearched: bool = True, classes=()) -> dict:
    """Return a batch whose boxes weigh the same, and with one region in each image."""
    region = torch.tensor([*box, float(unsearched), *(float(label in classes) for label in range(CLASSES))])
    return {**batch, "weight": torch.full((len(batch["cls"]),), weight), "regions": region.repeat(IMAGES, 1, 1)}


def step(model, batch: dict, *, stock: bool = False):
    """Return the loss and the gradients of one step from the same weights and the same noise."""
    from da_kd.training.losses import set_criterion

    if stock:
        model.criterion = model.init_criterion()
    else:
        set_criterion(model, 0)
    torch.manual_seed(3)
    model.zero_grad()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    loss, told = model(batch)
    loss.backward()
    grads = {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}
    model.load_state_dict(before)
    return loss.item(), grads, {name: value.item() for name, value in told.items()}


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("boxes", [BOXES, 0])
def test_weights_of_one_and_no_region_near_are_the_librarys_loss_to_the_last_bit(model, boxes) -> None:
    batch = a_batch(boxes)
    loss, grads, _ = step(model, batch, stock=True)
    for given in (batch, signals(batch), signals(batch, box=[0.5, 0.5, 0, 0], classes=(0, 1, 2))):
        ours, own, _ = step(model, given)
        assert ours == loss
        assert same(own, grads)


def test_a_box_gives_its_losses_as_often_as_it_weighs(model) -> None:
    """With all classes unsearched only boxes teach, so that the sum is theirs alone."""
    full, _, whole = step(model, signals(a_batch(), 1.0, classes=(0, 1, 2)))
    half, _, part = step(model, signals(a_batch(), 0.5, classes=(0, 1, 2)))
    none, grads, _ = step(model, signals(a_batch(), 0.0, classes=(0, 1, 2)))
    assert half == pytest.approx(full / 2)
    assert {name: value / 2 for name, value in whole.items()} == pytest.approx(part)
    assert none == 0
    assert not any(grad.any() for grad in grads.values())


def test_an_unsearched_class_teaches_nothing_where_it_has_no_box(model) -> None:
    empty = a_batch(0)
    assert step(model, signals(empty, classes=(0, 1, 2)))[0] == 0
    _, _, all_three = step(model, empty)
    parts = [step(model, signals(empty, classes=[label for label in range(3) if label != own]))[2] for own in range(3)]
    assert sum(part["cls_loss"] for part in parts) == pytest.approx(all_three["cls_loss"])
    _, grads, _ = step(model, signals(a_batch(), classes=(2,)))
    score = {name: grad for name, grad in grads.items() if "dec_score_head" in name and name.endswith("bias")}
    assert score
    assert all(grad[:2].all() for grad in score.values())


def test_an_ignored_box_silences_queries_that_no_box_has_taken(model) -> None:
    batch = a_batch()
    _, _, stock = step(model, batch)
    _, _, ignored = step(model, signals(batch, unsearched=False, classes=(0, 1, 2)))
    _, _, unsearched = step(model, signals(batch, classes=(0, 1, 2)))
    assert unsearched["cls_loss"] < ignored["cls_loss"] < stock["cls_loss"]  # taken ones still learn what they are not
    assert ignored["giou_loss"] == stock["giou_loss"]
    _, _, corner = step(model, signals(batch, box=[0.25, 0.25, 0.5, 0.5], unsearched=False, classes=(0, 1, 2)))
    assert ignored["cls_loss"] < corner["cls_loss"] < stock["cls_loss"]


@pytest.fixture
def detr(task, tmp_path: Path):
    """Return a task of a small RT-DETR."""
    path = tmp_path / "small-rtdetr.yaml"
    path.write_text(yaml.safe_dump(SMALL))

    def make(imgsz: int = 64, **given):
        made = task(args={"mosaic": 0.5}, **given)
        return dataclasses.replace(made, architecture=Architecture(model=str(path), imgsz=imgsz))

    return make


def test_a_student_learns_from_doubtful_labels_is_stopped_taken_up_and_answers(
    detr, cells: ImageSet, tmp_path: Path
) -> None:
    table, random = cells.table, np.random.default_rng(0)
    state = np.where(random.random(len(table.state)) < 1 / 3, State.UNCERTAIN, State.KEPT).astype(np.int8)
    score = random.uniform(0.2, 1, len(state)).astype(np.float32)
    doubts = dataclasses.replace(cells, table=dataclasses.replace(table, state=state, score=score))
    wanted, folder, seen = detr(images=doubts, signals=Signals(weight="score"), epochs=3), tmp_path / "out", []
    folder.mkdir()

    def watch(event: Event) -> None:
        if isinstance(event, Figures):
            seen.append(event.values)

    with pytest.raises(Cancelled):
        train(wanted, folder, Job(watch, lambda: len(seen) == 1))
    result = train(wanted, folder, Job(watch))
    assert result.resumed_from == (1,)
    assert {"giou_loss", "cls_loss", "l1_loss", "lr"} == set(seen[0])
    assert sorted(path.name for path in folder.iterdir()) == ["training.json", "weights.pt"]
    with adapter("ultralytics")(folder / "weights.pt", {}).open("cpu", 0.0, 4) as predictor:
        assert predictor.classes == cells.vocabulary
        found = predict_images(predictor, cells, "student", 4, Job(), "student")
    assert len(found.xyxy) > 0


def test_images_with_fewer_places_than_queries_are_refused(detr, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(RecipeError, match="expected an 'imgsz' with 30 places for queries; 32 has 21"):
        train(detr(imgsz=32, epochs=1), tmp_path / "out", Job())


def test_batch_norm_adaptation_sees_images_stretched_as_prediction_does(detr, tmp_path: Path, weights_of) -> None:
    import cv2

    (tmp_path / "out").mkdir()
    train(detr(epochs=1), tmp_path / "out", Job())
    adapted = {}
    for name, (width, height) in {"wide": (96, 40), "stretched": (64, 64)}.items():
        root = tmp_path / name
        root.mkdir()
        for seed in range(2):
            pixels = np.random.default_rng(seed).integers(0, 255, (40, 96, 3), dtype=np.uint8)
            Image.fromarray(cv2.resize(pixels, (width, height))).save(root / f"{seed}.png")
        records = [ImageRecord(f"{seed}.png", "00" * 16, width, height, "") for seed in range(2)]
        images = ImageSet(root, table_of(("a",), records, {}))
        adapt_batch_norm(tmp_path / "out" / "weights.pt", images, "cpu", root, Job())
        adapted[name] = weights_of(root / "weights.pt")
    assert adapted["wide"] == adapted["stretched"]
