"""One process at a time in a folder, also where flock does nothing."""

import json
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from training.resume.lock import LOCK, _create, folder_lock, process_start
from weightgpt.errors import InputError


def write_lock(folder, **changes):
    values = {"pid": os.getppid(), "host": socket.gethostname(), "since": "2026-01-01T00:00:00+00:00"}
    values |= {"process_start": process_start(os.getppid())} | changes
    (folder / LOCK).write_text(json.dumps(values))


def ended_process():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_fault_09_a_folder_in_use_is_refused_with_process_host_and_start(tmp_path):
    write_lock(tmp_path)
    with pytest.raises(InputError, match="in use by process") as error, folder_lock(tmp_path):
        pass
    for part in (str(os.getppid()), socket.gethostname(), "2026-01-01", LOCK):
        assert part in str(error.value)
    assert (tmp_path / LOCK).is_file()


def test_fault_09_the_lock_is_one_file_that_goes_with_the_block(tmp_path):
    with folder_lock(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [LOCK]
        with pytest.raises(InputError, match="in use by process"), folder_lock(tmp_path):
            pass
    with pytest.raises(KeyboardInterrupt), folder_lock(tmp_path):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_fault_09_only_one_of_many_creates_the_lock(tmp_path):
    with ThreadPoolExecutor(16) as pool:
        created = list(pool.map(lambda number: _create(tmp_path / LOCK, str(number)), range(64)))
    assert sum(created) == 1
    assert (tmp_path / LOCK).read_text() == str(created.index(True))


def test_fault_10_the_lock_of_a_dead_process_is_taken_over_with_a_word(tmp_path, capsys):
    pid = ended_process()
    write_lock(tmp_path, pid=pid, process_start="1")
    with folder_lock(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
    assert f"was in use by process {pid}, which has ended" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_fault_10_a_process_number_that_was_used_again_is_another_process(tmp_path, capsys):
    write_lock(tmp_path, process_start="1")
    with folder_lock(tmp_path):
        pass
    assert "has ended" in capsys.readouterr().err


def test_a_lock_of_another_host_is_left_alone(tmp_path):
    write_lock(tmp_path, host="elsewhere", pid=ended_process())
    with pytest.raises(InputError, match="on elsewhere"), folder_lock(tmp_path):
        pass


def test_fault_23_a_lock_that_is_no_file_is_one_sentence(tmp_path):
    (tmp_path / LOCK).mkdir()
    with pytest.raises(InputError, match="cannot be read: Is a directory; delete it"), folder_lock(tmp_path):
        pass


@pytest.mark.parametrize("content", ["", "[]", "{}", "half of a lo"])
def test_a_broken_lock_is_one_sentence(tmp_path, content):
    (tmp_path / LOCK).write_text(content)
    with pytest.raises(InputError, match="is not a lock"), folder_lock(tmp_path):
        pass
