"""What is handed to the exporter, and what is printed; nothing is exported."""

from da_kd import pipeline
from da_kd.exporting import Agreement
from da_kd.pipeline import Exported


def test_a_file_is_told_of_once(da_kd, tmp_path, monkeypatch):
    seen = []

    def export_run(place, kinds, row, folder, job, device):
        seen.append((place.name, kinds, row, folder, device))
        agreement = Agreement(4, 8, 0, 0.0, 1.0)
        job.note(f"small-student.onnx: the same as the checkpoint ({agreement}).")
        return Exported(tmp_path / "export", {"small-student.onnx": agreement})

    monkeypatch.setattr(pipeline, "export_run", export_run)
    result = da_kd("export", "small")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.count("small-student.onnx") == 1
    assert da_kd("export", "small", "--device", "cuda:1", "--format", "openvino").exit_code == 0
    assert seen == [("small", ["onnx"], None, None, "auto"), ("small", ["openvino"], None, None, "cuda:1")]
