import errno

import pytest
import typer

from da_kd import errors
from da_kd.cli import failures
from da_kd.cli.failures import guarded, log_into


def code_of(error, capsys):
    def command():
        raise error

    with pytest.raises(typer.Exit) as ended:
        guarded(command)()
    said = capsys.readouterr()
    return ended.value.exit_code, said.out, said.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.DaKdError("x"), 1),
        (errors.InputError("x"), 2),
        (errors.DataError("x"), 2),
        (errors.WeightsError("x"), 2),
        (errors.SetupError("x"), 2),
        (errors.Busy("x"), 2),
    ],
)
def test_errors_are_sentences_with_their_exit_code(error, code, capsys):
    assert code_of(error, capsys) == (code, "", "Error: x\n")


def test_a_pause_is_no_error(capsys):
    assert code_of(errors.Paused("go there"), capsys) == (3, "go there\n", "")


def test_a_stop_is_no_error_either(capsys):
    assert code_of(errors.Cancelled("later"), capsys) == (130, "", "later\n")
    assert code_of(KeyboardInterrupt(), capsys)[0] == 130


def test_brackets_in_a_message_stay(capsys):
    assert code_of(errors.DataError("found [red] in ['a']"), capsys)[2] == "Error: found [red] in ['a']\n"


def test_a_full_disk_is_a_sentence(capsys):
    code, _, said = code_of(OSError(errno.ENOSPC, "No space left on device"), capsys)
    assert code == 2
    assert "disk is full" in said and "da-kd gc" in said


def test_a_place_that_cannot_be_written_is_a_sentence(capsys):
    code, _, said = code_of(OSError(errno.EROFS, "Read-only file system", "/mnt/runs"), capsys)
    assert code == 2
    assert "/mnt/runs" in said and "Read-only" in said


@pytest.mark.parametrize("number", [errno.ENAMETOOLONG, errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ELOOP])
def test_a_place_that_cannot_be_one_is_a_sentence(number, capsys):
    code, _, said = code_of(OSError(number, "no such luck", "/mnt/x"), capsys)
    assert code == 2
    assert said == "Error: Expected a place to use at /mnt/x; the system refuses (no such luck). Name another place.\n"


def test_an_unforeseen_error_leaves_its_traceback_in_a_file(capsys, tmp_path):
    def command():
        log_into(tmp_path)
        raise RuntimeError("boom")

    with pytest.raises(typer.Exit) as ended:
        guarded(command)()
    said = capsys.readouterr().err
    assert ended.value.exit_code == 1
    assert "Something went wrong inside da_kd: RuntimeError: boom" in said
    assert str(tmp_path / "error.log") in said.replace("\n", "")
    assert "Traceback" not in said
    assert "Traceback" in (tmp_path / "error.log").read_text()


def test_without_a_run_the_log_lies_among_temporary_files(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(failures.tempfile, "gettempdir", lambda: str(tmp_path))
    assert code_of(RuntimeError("boom"), capsys)[0] == 1
    assert len(list(tmp_path.glob("da-kd-error-*.log"))) == 1


def test_debugging_shows_the_error_itself(monkeypatch):
    monkeypatch.setenv("DA_KD_DEBUG", "1")

    def command():
        raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        guarded(command)()
