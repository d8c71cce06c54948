import pytest

from da_kd.ui.files import whole


def test_a_file_is_there_when_it_is_whole_and_not_before(tmp_path):
    with whole(tmp_path / "one") as temporary:
        temporary.write_text("half")
        assert not (tmp_path / "one").exists()
    assert (tmp_path / "one").read_text() == "half"
    assert len(list(tmp_path.iterdir())) == 1


def test_nothing_half_written_stays_and_an_earlier_file_is_left(tmp_path):
    (tmp_path / "one").write_text("before")
    with pytest.raises(OSError, match="No space"), whole(tmp_path / "one") as temporary:
        temporary.write_text("half")
        raise OSError(28, "No space left on device")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]
