"""The loss beside the library's, number by number: what weights, ignored boxes and unsearched classes take away."""

from types import SimpleNamespace

import pytest
import torch

from da_kd.offline import settle_ultralytics
from da_kd.recipe import Architecture

pytestmark = pytest.mark.usefixtures("one_thread")

FAMILIES = ("yolov8n", "yolo11n", "yolo12n", "yolo26n", "yolov10n")
HEADS = ("yolo11n", "yolo26n")  # one-to-many; end-to-end
CLASSES, IMAGES, SIZE = 3, 4, 64
ANCHORS = sum((SIZE // stride) ** 2 for stride in (8, 16, 32))


def tiny(family: str):
    """Return a small model of a family, in training, always the same."""
    settle_ultralytics()
    from ultralytics.cfg import get_cfg
    from ultralytics.nn.tasks import DetectionModel

    from da_kd.training.architecture import _scaled, _tree

    torch.manual_seed(0)
    width = 0.25 if family == "yolo12n" else 0.125  # a narrower YOLO12 has layers without channels
    name = f"{family}.yaml"
    model = DetectionModel(_scaled(_tree(name), Architecture(model=name, width=width)), nc=CLASSES, verbose=False)
    model.args = get_cfg()
    return model.train()


def a_batch(boxes: int = 20):
    """Return images and boxes as the library has them; five boxes an image, of all classes and sizes."""
    random = torch.Generator().manual_seed(1)
    return {
        "img": torch.rand(IMAGES, 3, SIZE, SIZE, generator=random),
        "cls": torch.randint(0, CLASSES, (boxes, 1), generator=random).float(),
        "bboxes": torch.rand(boxes, 4, generator=random) * 0.4 + 0.2,
        "batch_idx": (torch.arange(boxes) * IMAGES // max(boxes, 1)).float(),
    }


def signals(batch, weight=1.0, ignored=(), unsearched=()):
    """Return a batch with signals; regions are (image, box, classes)."""
    return {
        **batch,
        "weight": torch.full((len(batch["cls"]),), weight) if isinstance(weight, float) else torch.tensor(weight),
        "regions": regions([(0, *region) for region in ignored] + [(1, *region) for region in unsearched]),
    }


def regions(given) -> torch.Tensor:
    out = torch.zeros(IMAGES, len(given), 5 + CLASSES)
    for number, (kind, image, box, classes) in enumerate(given):
        out[image, number, :5] = torch.tensor([*box, kind])
        out[image, number, [5 + label for label in classes]] = 1
    return out


def branches(model):
    criterion = model.criterion
    return [criterion.one2many, criterion.one2one] if hasattr(criterion, "one2one") else [criterion]


def step(model, batch, *, stock: bool = False):
    """Return losses, gradients of all weights, and for each branch the classification's gradients and assignment."""
    from da_kd.training.losses import set_criterion

    if stock:
        model.criterion = model.init_criterion()
    else:
        set_criterion(model, 0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    seen = []
    for branch in branches(model):
        watch(branch, seen)
    model.zero_grad()
    loss, _ = model.loss(dict(batch))
    loss.sum().backward()
    model.load_state_dict(before)  # batch normalisation has moved its statistics
    grads = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    return SimpleNamespace(loss=loss.detach(), grads=grads, branches=seen)


def watch(branch, seen: list) -> None:
    """Note a branch's predictions (with gradients), which anchors are taken by what, and their target scores."""
    inner = branch.get_assigned_targets_and_loss

    def outer(preds, batch, **kwargs):
        for value in preds.values():
            if isinstance(value, torch.Tensor):
                value.retain_grad()
        note = SimpleNamespace(preds=preds)
        seen.append(note)
        handle = branch.assigner.register_forward_hook(lambda _, __, made: vars(note).update(made=made))
        result = inner(preds, batch, **kwargs)
        handle.remove()
        return result

    branch.get_assigned_targets_and_loss = outer


def class_grads(branch) -> torch.Tensor:
    """Return (images, anchors, classes)."""
    return branch.preds["scores"].grad.permute(0, 2, 1)


def box_grads(branch) -> torch.Tensor:
    return branch.preds["boxes"].grad.permute(0, 2, 1)


@pytest.mark.parametrize("boxes", [20, 0])
@pytest.mark.parametrize("family", FAMILIES)
def test_weights_of_one_give_the_librarys_loss_and_gradients_to_the_last_bit(family: str, boxes: int) -> None:
    model, batch = tiny(family), a_batch(boxes)
    stock = step(model, batch, stock=True)
    far = [(0, (2.0, 2.0, 0.5, 0.5), (0, 1, 2))]  # a region that covers no anchor: all is computed, nothing changes
    ours = step(model, signals(batch, 1.0, far, far))
    assert torch.equal(stock.loss, ours.loss)
    assert len(stock.grads) == len(ours.grads) > 100
    assert all(torch.equal(one, other) for one, other in zip(stock.grads, ours.grads, strict=True))


def test_a_batch_without_signals_is_the_librarys() -> None:
    model, batch = tiny("yolo11n"), a_batch()
    stock, ours = step(model, batch, stock=True), step(model, batch)
    assert torch.equal(stock.loss, ours.loss)
    assert all(torch.equal(one, other) for one, other in zip(stock.grads, ours.grads, strict=True))


@pytest.mark.parametrize("family", HEADS)
def test_a_weight_that_all_share_scales_the_boxes_losses_and_does_not_cancel(family: str) -> None:
    model, batch = tiny(family), a_batch()
    full, half = step(model, signals(batch, 1.0)), step(model, signals(batch, 0.5))
    assert torch.equal(half.loss[[0, 2]], full.loss[[0, 2]] * 0.5)
    for one, other in zip(full.branches, half.branches, strict=True):
        taken = one.made[3]
        assert torch.equal(taken, other.made[3])
        assert torch.equal(class_grads(other)[taken], class_grads(one)[taken] * 0.5)
        assert torch.equal(class_grads(other)[~taken], class_grads(one)[~taken])
        assert torch.equal(box_grads(other), box_grads(one) * 0.5)


@pytest.mark.parametrize("family", HEADS)
def test_a_box_of_weight_0_keeps_its_anchors_and_teaches_nothing_there(family: str) -> None:
    model, batch = tiny(family), a_batch()
    weight = [1.0] * 20
    weight[0] = weight[7] = 0.0
    full, some = step(model, signals(batch)), step(model, signals(batch, weight))
    for one, other in zip(full.branches, some.branches, strict=True):
        _, _, _, taken, whose = one.made
        silent = torch.zeros_like(taken)
        silent[0], silent[1] = taken[0] & (whose[0] == 0), taken[1] & (whose[1] == 2)  # boxes 0 and 7
        assert silent[0].any()
        assert silent[1].any()
        assert (class_grads(other)[silent] == 0).all()
        assert (box_grads(other)[silent] == 0).all()
        assert torch.equal(class_grads(other)[~silent], class_grads(one)[~silent])
        assert torch.equal(box_grads(other)[~silent], box_grads(one)[~silent])
    none = step(model, signals(batch, 0.0))
    assert none.loss[0] == none.loss[2] == 0
    assert none.loss[1] > 0  # the background around


def inside(model, box) -> torch.Tensor:
    """Return (anchors,) bool: the centre lies in the box."""
    centres = []
    for stride in model.stride.tolist():
        line = (torch.arange(SIZE / stride) + 0.5) * stride / SIZE
        y, x = torch.meshgrid(line, line, indexing="ij")
        centres.append(torch.stack([x.flatten(), y.flatten()], 1))
    x, y, w, h = box
    distance = (torch.cat(centres) - torch.tensor([x, y])).abs()
    return (distance * 2 < torch.tensor([w, h])).all(1)


BOX = (0.4, 0.45, 0.6, 0.5)


@pytest.mark.parametrize("classes", [(1,), (0, 1, 2)], ids=["its own class", "all classes"])
@pytest.mark.parametrize("family", HEADS)
def test_in_an_ignored_box_only_anchors_of_kept_boxes_learn(family: str, classes: tuple[int, ...]) -> None:
    model, batch = tiny(family), a_batch()
    full, some = step(model, signals(batch)), step(model, signals(batch, 1.0, [(2, BOX, classes)]))
    for one, other in zip(full.branches, some.branches, strict=True):
        taken = one.made[3]
        assert torch.equal(taken, other.made[3])  # no anchor is taken from a kept box
        silent = torch.zeros(IMAGES, ANCHORS, CLASSES, dtype=torch.bool)
        silent[2, :, list(classes)] = (inside(model, BOX) & ~taken[2])[:, None]
        assert 0 < silent.sum() < len(classes) * ANCHORS
        assert (taken[2] & inside(model, BOX)).any()
        assert (class_grads(one)[silent] != 0).all()
        assert (class_grads(other)[silent] == 0).all()
        assert torch.equal(class_grads(other)[~silent], class_grads(one)[~silent])
        assert torch.equal(box_grads(other), box_grads(one))


@pytest.mark.parametrize("family", HEADS)
def test_an_unsearched_class_gives_no_background_loss_in_its_region(family: str) -> None:
    model, batch = tiny(family), a_batch()
    whole, half = (0.5, 0.5, 1.0, 1.0), (0.25, 0.5, 0.5, 1.0)
    mask = [(0, whole, (0, 2)), (3, half, (1,))]
    full, some = step(model, signals(batch)), step(model, signals(batch, 1.0, (), mask))
    for one, other in zip(full.branches, some.branches, strict=True):
        background = one.made[2] == 0  # an object of an unsearched class stays one
        silent = torch.zeros(IMAGES, ANCHORS, CLASSES, dtype=torch.bool)
        silent[0, :, [0, 2]] = True
        silent[3, :, 1] = inside(model, half)
        assert (silent & ~background).any()
        silent &= background
        assert (class_grads(other)[silent] == 0).all()
        assert torch.equal(class_grads(other)[~silent], class_grads(one)[~silent])
        assert torch.equal(box_grads(other), box_grads(one))


def test_regions_that_overlap_silence_the_union_of_their_classes() -> None:
    model, batch = tiny("yolo11n"), a_batch()
    left, top = (0.3, 0.5, 0.6, 1.0), (0.5, 0.3, 1.0, 0.6)
    both = [(1, left, (0,)), (1, left, (0, 1)), (1, top, (2,))]
    (branch,) = step(model, signals(batch, 1.0, (), both)).branches
    silent = torch.stack([inside(model, left), inside(model, left), inside(model, top)], 1) & (branch.made[2][1] == 0)
    assert torch.equal(class_grads(branch)[1] == 0, silent)


def test_half_precision_is_no_harm() -> None:
    model, batch = tiny("yolo11n"), signals(a_batch(), 0.5, [(2, BOX, (1,))], [(0, (0.5, 0.5, 1.0, 1.0), (2,))])
    exact = step(model, batch)
    with torch.autocast("cpu", torch.bfloat16):
        rough = step(model, batch)
    assert torch.allclose(exact.loss, rough.loss.float(), rtol=0.02)


def test_an_end_to_end_head_goes_on_with_the_shares_it_was_interrupted_with() -> None:
    from da_kd.training.losses import set_criterion

    model = tiny("yolo26n")
    model.args.epochs = 10
    stock = model.init_criterion()
    for _ in range(4):
        stock.update()
    set_criterion(model, 4)
    assert (model.criterion.o2m, model.criterion.o2o, model.criterion.updates) == (stock.o2m, stock.o2o, stock.updates)
