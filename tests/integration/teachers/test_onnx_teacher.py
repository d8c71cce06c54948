"""ONNX teachers: raw outputs decoded by hand, and a real export against the framework it came from."""

import numpy as np
import pytest

from da_kd.boxes import iou
from da_kd.errors import InputError, SetupError, WeightsError
from da_kd.hashing import hash_file, hash_json
from da_kd.teachers import adapter
from da_kd.teachers.coco_names import COCO_80
from da_kd.teachers.onnx_layouts import LAYOUTS, Raw, count_cells, guess_layout, suppress


def write_model(path, output, size=(64, 64), metadata=None, batch=1, kind="float", also=()):
    """Write a model that answers every image with ``output`` (rows, columns), and takes pixels only to look busy."""
    pytest.importorskip("onnxruntime", reason="the adapter 'onnx' needs onnxruntime (extra 'onnx')")
    onnx = pytest.importorskip("onnx", reason="writing a model needs onnx (extra 'test')")
    from onnx import TensorProto, helper, numpy_helper

    number = {"float": TensorProto.FLOAT, "half": TensorProto.FLOAT16, "int": TensorProto.INT64}[kind]
    dtype = {"float": np.float32, "half": np.float16, "int": np.int64}[kind]
    constant = numpy_helper.from_array(np.asarray(output, dtype)[None], "answer")
    zero = numpy_helper.from_array(np.zeros(1, dtype), "zero")
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=1)
        if kind != "int"
        else helper.make_node("ReduceMax", ["images"], ["mean"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Squeeze", ["mean", "axis"], ["flat"]),
        helper.make_node("Mul", ["flat", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "answer"], ["output"]),
    ]
    axis = numpy_helper.from_array(np.array([3], np.int64), "axis")
    high, wide = size[::-1] if size else ("h", "w")
    graph = helper.make_graph(
        nodes,
        "fixed",
        [
            helper.make_tensor_value_info("images", number, [batch, 3, high, wide]),
            *(helper.make_tensor_value_info(name, TensorProto.INT64, [1, 2]) for name in also),
        ],
        [helper.make_tensor_value_info("output", number, [batch, *np.shape(output)])],
        [constant, zero, axis],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=9)
    helper.set_model_props(model, metadata or {})
    onnx.save(model, path)
    return path


def ask(path, options, *images, floor=0.01):
    with adapter("onnx")(path, options).open("cpu", floor, 4) as predictor:
        return predictor.predict(images)


def test_a_yolo_output_comes_out_at_the_exact_pixels_of_an_odd_size(tmp_path, photo):
    # input 160: an image of 97 x 61 is 160 x 101 there, from y = 29
    output = np.zeros((4 + 3, 50), np.float32)
    output[:, 0] = [80, 79.5, 40, 20.2, 0, 0.9, 0.1]
    output[:, 1] = [82, 79.5, 40, 20.2, 0, 0.8, 0.1]  # the same object: suppressed
    output[:, 2] = [82, 79.5, 40, 20.2, 0, 0.1, 0.7]  # another class: stays
    output[:, 3] = [150, 120, 40, 40, 0.6, 0, 0]  # reaches beyond the image: cut
    output[:, 4] = [80, 10, 30, 10, 0.9, 0, 0]  # lies in the padding: not an object
    path = write_model(tmp_path / "m.onnx", output, (160, 160))
    (found,) = ask(path, {"names": ["a", "b", "c"]}, photo(97, 61))
    x, y = 97 / 160, 61 / 101
    expected = [
        [60 * x, (69.4 - 29) * y, 100 * x, (89.6 - 29) * y],
        [62 * x, (69.4 - 29) * y, 102 * x, (89.6 - 29) * y],
        [130 * x, (100 - 29) * y, 97, 61],
    ]
    assert found.xyxy == pytest.approx(np.array(expected), abs=1e-3)
    assert found.label.tolist() == [1, 2, 0]
    assert found.score == pytest.approx([0.9, 0.7, 0.6])


def test_an_end_to_end_output_needs_no_suppression(tmp_path, photo):
    rows = np.zeros((20, 6), np.float32)
    rows[0] = [16, 8, 48, 24, 0.9, 1]
    rows[1] = [16, 8, 48, 24, 0.8, 1]
    path = write_model(tmp_path / "m.onnx", rows, (64, 32))
    (found,) = ask(path, {"names": ["a", "b"]}, photo(33, 120))
    # 33 x 120 in 64 x 32: ratio 32/120, 9 x 32 there, from x = round(27.5 - 0.1) = 27
    left, right = 0, min((48 - 27) * 33 / 9, 33)
    assert found.xyxy == pytest.approx(np.array([[left, 30, right, 90]] * 2), abs=1e-3)
    assert found.score == pytest.approx([0.9, 0.8])


def test_a_yolox_output_is_decoded_over_its_grids(tmp_path, photo):
    cells = count_cells((64, 64))  # 8 x 8 + 4 x 4 + 2 x 2
    assert cells == 84
    rows = np.zeros((cells, 5 + 2), np.float32)
    rows[2 * 8 + 3] = [0.5, 0.25, np.log(2), np.log(3), 0.8, 0.5, 0.1]  # stride 8, column 3, row 2
    rows[64 + 1 * 4 + 2] = [0, 0, 0, 0, 0.9, 0, 1]  # stride 16, column 2, row 1
    rows[80 + 3] = [-0.5, -0.5, 200, 0, 1, 0.3, 0]  # stride 32, column 1, row 1; a width without end
    path = write_model(tmp_path / "m.onnx", rows)
    (found,) = ask(path, {"names": ["a", "b"]}, photo(97, 61))
    # 97 x 61 in 64 x 64: ratio 64/97, cut to 64 x 40, at the top left
    x, y = 97 / 64, 61 / 40
    expected = [
        [24 * x, 8 * y, 40 * x, 24 * y],
        [20 * x, 6 * y, 36 * x, 30 * y],
        [0, 0 * y, 97, 32 * y],
    ]
    assert found.score == pytest.approx([0.9, 0.4, 0.3])
    assert found.label.tolist() == [1, 0, 0]
    assert found.xyxy == pytest.approx(np.array(expected), abs=1e-3)


def test_pixels_are_handed_over_as_each_family_wants_them():
    red = np.zeros((2, 2, 3), np.uint8)
    red[:, :, 0] = 255
    assert LAYOUTS["yolo"].pixels(red)[:, 0, 0].tolist() == [1, 0, 0]
    assert LAYOUTS["yolox"].pixels(red)[:, 0, 0].tolist() == [0, 0, 255]


@pytest.mark.parametrize(
    ("shape", "metadata", "classes", "expected"),
    [
        ((85, 8400), {}, None, "yolo"),
        ((5, 525), {}, 1, "yolo"),
        ((300, 6), {}, 80, "yolo_end2end"),
        ((300, 6), {"head": "RTDETRDecoder", "stride": "32"}, 3, "rtdetr"),
        ((84, 6), {}, 1, "yolox"),  # one class, and as many rows as cells
        ((84, 85), {}, None, "yolox"),
        ((84, 85), {"stride": "32"}, 80, "yolo"),  # ultralytics says so
    ],
)
def test_layouts_are_told_apart(shape, metadata, classes, expected):
    assert guess_layout(shape, (64, 64), metadata, classes) == expected


def test_a_layout_that_nobody_knows_is_refused():
    with pytest.raises(WeightsError, match=r"found \(100, 7\). Say which one it is with the option 'layout'"):
        guess_layout((100, 7), (64, 64), {}, None)


def suppressed_slowly(xyxy, score, label, overlap):
    """Return the rows that greedy suppression within each class keeps, the best first."""
    near, kept = iou(xyxy, xyxy), []
    for row in np.argsort(-score, kind="stable"):
        if not any(label[row] == label[first] and near[row, first] > overlap for first in kept):
            kept.append(row)
    return kept


def test_suppression_is_that_of_plain_numpy():
    rng = np.random.default_rng(0)
    corner = rng.random((200, 2)) * 50
    xyxy = np.concatenate([corner, corner + 5 + rng.random((200, 2)) * 30], axis=1).astype(np.float32)
    score, label = rng.random(200).astype(np.float32), rng.integers(0, 3, 200)
    kept = suppress(Raw(xyxy, score, label), 0.5)
    assert np.array_equal(kept.score, score[suppressed_slowly(xyxy, score, label, 0.5)])
    assert len(suppress(Raw(xyxy[:0], score[:0], label[:0]), 0.5).score) == 0


def test_batches_fit_into_what_a_model_takes(tmp_path, photo):
    rows = np.zeros((20, 6), np.float32)
    rows[0] = [0, 0, 64, 64, 0.5, 0]
    images = [photo(64, 64, seed) for seed in range(3)]
    for batch in (1, "n"):
        path = write_model(tmp_path / f"{batch}.onnx", rows, batch=batch)
        assert [len(found) for found in ask(path, {"names": ["a"]}, *images)] == [1, 1, 1]
    half = write_model(tmp_path / "half.onnx", rows, kind="half")
    assert ask(half, {"names": ["a"]}, *images)[0].xyxy.tolist() == [[0, 0, 64, 64]]


def test_what_a_file_does_not_say_must_be_said(tmp_path, photo):
    rows = np.zeros((20, 6), np.float32)
    rows[0] = [0, 0, 64, 64, 0.5, 4]
    image = photo(64, 64)
    fixed = write_model(tmp_path / "fixed.onnx", rows)
    with pytest.raises(InputError, match="does not name its classes; give the option 'names'"):
        ask(fixed, {}, image)
    with pytest.raises(WeightsError, match=r"Expected classes 0 to 1 .* found 4"):
        ask(fixed, {"names": ["a", "b"]}, image)
    with pytest.raises(InputError, match=r"'imgsz' is 32; .* takes 64 x 64 only"):
        ask(fixed, {"names": ["a"], "imgsz": 32}, image)
    free = write_model(tmp_path / "free.onnx", rows, size=None)
    with pytest.raises(InputError, match="takes any size and names none; give the option 'imgsz'"):
        ask(free, {"names": "coco"}, image)
    assert ask(free, {"names": "coco", "imgsz": 64}, image)[0].xyxy.tolist() == [[0, 0, 64, 64]]
    noted = write_model(
        tmp_path / "noted.onnx", rows, None, {"imgsz": "[64, 64]", "names": str(dict(enumerate("abcde")))}
    )
    assert ask(noted, {}, image)[0].vocabulary == tuple("abcde")
    yolo = write_model(tmp_path / "yolo.onnx", np.zeros((7, 84), np.float32))
    with pytest.raises(InputError, match=r"Expected 3 class names .* found 80"):
        ask(yolo, {"names": "coco"}, image)


def test_what_is_no_detector_is_refused(tmp_path):
    rows = np.zeros((20, 6), np.float32)
    pose = write_model(tmp_path / "pose.onnx", rows, metadata={"task": "pose"})
    with pytest.raises(WeightsError, match="found a model for 'pose'"):
        ask(pose, {"names": ["a"]})
    whole = write_model(tmp_path / "whole.onnx", rows, kind="int")
    with pytest.raises(WeightsError, match=r"Expected one float input .* found tensor\(int64\)"):
        ask(whole, {"names": ["a"]})
    with pytest.raises(InputError, match="'layout' must be auto, yolo, yolo_end2end, yolox, rtdetr; found 'ssd'"):
        adapter("onnx")(whole, {"layout": "ssd"})


def test_a_model_that_asks_for_more_than_images_is_refused(tmp_path):
    two = write_model(tmp_path / "two.onnx", np.zeros((20, 6), np.float32), also=("orig_target_sizes",))
    with pytest.raises(WeightsError, match=r"Expected one input.* found 2 \(images, orig_target_sizes\); export"):
        ask(two, {"names": ["a"]})


@pytest.mark.parametrize("noted", ["[-64, 64]", "[0, 0]", "[64, 1000000]"])
def test_a_size_that_no_input_has_is_refused(tmp_path, noted):
    path = write_model(tmp_path / "m.onnx", np.zeros((20, 6), np.float32), None, {"imgsz": noted})
    with pytest.raises(InputError, match=r"Expected an input of 32 to 8192 pixels .*give the option 'imgsz'"):
        ask(path, {"names": ["a"]})
    endless = write_model(tmp_path / "m.onnx", np.zeros((20, 6), np.float32), None, {"imgsz": "[1e999, 64]"})
    with pytest.raises(InputError, match="takes any size and names none"):
        ask(endless, {"names": ["a"]})


def test_a_model_that_fails_when_it_is_asked_is_told_in_a_sentence(tmp_path):
    path = write_model(tmp_path / "m.onnx", np.zeros((20, 6), np.float32), None, {"imgsz": "[64, 64]"})
    from onnx import TensorProto, helper, load, numpy_helper, save

    model = load(path)
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 7, 6]), "seven"))  # no image has 42 numbers
    model.graph.node.append(helper.make_node("Reshape", ["images", "seven"], ["wrong"]))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("wrong", TensorProto.FLOAT, [1, 7, 6]))
    save(model, path)
    with pytest.raises(WeightsError, match=r"m\.onnx; onnxruntime cannot run it \(.*\); export it anew"):
        ask(tmp_path / "m.onnx", {"names": ["a"]})


def test_the_library_that_is_not_there_is_named(tmp_path, monkeypatch):
    import sys

    path = tmp_path / "m.onnx"
    path.write_bytes(b"")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(SetupError, match=r"needs the package onnxruntime.*pip install 'da-kd\[onnx\]'"):
        ask(path, {})


@pytest.mark.parametrize("iou", [1.0, 0.7])
@pytest.mark.parametrize(
    ("family", "how"), [("v8", {}), ("v8", {"dynamic": True}), ("11", {}), ("26", {"nms": False}), ("rtdetr", {})]
)
def test_an_export_says_what_its_checkpoint_says(family, how, iou, exported, tiny_yolo, photo):
    images = [photo(97, 61, 1), photo(33, 120, 2), photo(200, 151, 3)]
    path, options = exported(family, **how), {"iou": iou, "max_boxes": 300 if family == "26" else 1000}
    found = ask(path, options, *images, floor=0.05)
    with adapter("ultralytics")(tiny_yolo(family), {**options, "imgsz": 160}).open("cpu", 0.05, 4) as predictor:
        expected = predictor.predict(images)
    for one, other in zip(found, expected, strict=True):
        assert one.vocabulary == other.vocabulary == ("cat", "dog", "hat")
        assert len(other) > 5
        alone = 0
        for box, score, label in zip(other.xyxy, other.score, other.label, strict=True):
            near = (np.abs(one.xyxy - box).max(axis=1) < 1) & (np.abs(one.score - score) < 1e-3) & (one.label == label)
            alone += not near.any() and 0.051 < score < 0.9999  # two classes may tie at 1
        # Suppression turns a last digit into a box more or less, and that into others; without it nothing differs.
        assert alone <= (0 if iou == 1 else 0.03 * len(other))
        assert abs(len(one) - len(other)) <= 0.03 * len(other)


@pytest.mark.parametrize("place", ["model.data", "a" * 200 + ".data"])
def test_the_fingerprint_covers_weights_in_files_of_their_own(tmp_path, photo, place):
    rows = np.zeros((40, 6), np.float32)
    rows[0] = [0, 0, 64, 64, 0.9, 0]
    prints, said = [], []
    for score in (0.9, 0.3):
        rows[0, 4] = score
        import onnx

        model = onnx.load(write_model(tmp_path / "one.onnx", rows))
        (tmp_path / place).unlink(missing_ok=True)
        path = tmp_path / "model.onnx"
        onnx.save_model(model, path, save_as_external_data=True, location=place, size_threshold=100)
        prints.append((hash_file(path), adapter("onnx")(path, {"names": ["a"]}).fingerprint()))
        said.append(ask(path, {"names": ["a"]}, photo(64, 64))[0].score.tolist())
    (file, first), (same_file, second) = prints
    assert said == [pytest.approx([0.9]), pytest.approx([0.3])]
    assert file == same_file
    assert first != second


def test_the_fingerprint_of_a_file_that_holds_all_is_what_it_always_was(tmp_path):
    path = write_model(tmp_path / "one.onnx", np.zeros((20, 6), np.float32))
    (tmp_path / "answer").write_bytes(b"named like one of its tensors")
    options = ["auto", None, ("a",), 0.7, 300]
    assert adapter("onnx")(path, {"names": ["a"]}).fingerprint() == hash_json(["onnx", 1, hash_file(path), *options])


def test_the_names_of_coco_are_those_of_the_data(real_data):
    import yaml

    path = real_data / "coco128" / "data.yaml"
    if not path.is_file():
        pytest.skip(f"no coco128 below {real_data}")
    assert tuple(yaml.safe_load(path.read_text())["names"].values()) == COCO_80
