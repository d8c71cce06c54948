import pytest

from da_kd.files import lack_of_room, whole


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


def test_a_disk_without_room_is_told(tmp_path):
    assert lack_of_room(tmp_path, 1) == ""
    assert lack_of_room(tmp_path / "gone", 1) == ""
    told = lack_of_room(tmp_path, 1 << 60)
    assert told.startswith("Expected 1099511627776 MB of free space") and "da-kd gc" in told
