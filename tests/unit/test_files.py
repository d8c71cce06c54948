from pathlib import Path

import pytest

from da_kd.files import expanded, file_in_the_way, is_file, is_there, lack_of_room, whole


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


def test_two_threads_that_write_one_file_are_not_in_each_others_way(tmp_path):
    with whole(tmp_path / "one") as first:
        first.write_text("first")
        with whole(tmp_path / "one") as second:
            second.write_text("second")
        assert (tmp_path / "one").read_text() == "second"
    assert (tmp_path / "one").read_text() == "first"
    assert len(list(tmp_path.iterdir())) == 1


def test_an_error_of_the_system_names_the_file_that_was_to_be_written(tmp_path):
    (tmp_path / "one").mkdir()
    with pytest.raises(IsADirectoryError) as caught, whole(tmp_path / "one") as temporary:
        temporary.write_text("text")
    assert caught.value.filename == str(tmp_path / "one")
    with pytest.raises(FileNotFoundError) as caught, whole(tmp_path / "gone" / "one") as temporary:
        temporary.write_text("text")
    assert caught.value.filename == str(tmp_path / "gone" / "one")


def test_a_persons_path_counts_from_a_folder_or_from_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expanded("~/x") == tmp_path / "x"
    assert expanded("~/x", Path("/y")) == tmp_path / "x"
    assert expanded("a/../x", Path("/y")) == Path("/y/a/../x")
    assert expanded("x") == Path("x")


def test_a_name_that_is_too_long_for_the_system_is_that_of_nothing(tmp_path):
    assert not is_there(tmp_path / ("x" * 300)) and not is_file(tmp_path / ("x" * 300))
    assert is_there(tmp_path) and not is_file(tmp_path)


def test_a_file_lies_in_the_way_of_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    assert file_in_the_way(tmp_path / "file") == file_in_the_way(tmp_path / "file" / "a" / "b") == tmp_path / "file"
    assert file_in_the_way(Path("file/a")) == Path("file")
    assert [file_in_the_way(place) for place in (tmp_path, tmp_path / "a" / "b", Path("a"), Path())] == [None] * 4
