"""Processes that share a folder: which one this is, and that no two write the same or count in another number."""

import subprocess
import sys
import time

import pytest

from image_exps.utils.process_locks import only_processes
from image_exps.utils.processes import Process


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, Process(0, 1, 0)),
        ({"LOCAL_RANK": "3"}, Process(0, 1, 0)),
        ({"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}, Process(3, 8, 1)),
        ({"RANK": "3", "WORLD_SIZE": "8"}, Process(3, 8, 3)),
        ({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}, Process(1, 2, 1)),
        ({"PMI_RANK": "1", "PMI_SIZE": "2", "MPI_LOCALRANKID": "0"}, Process(1, 2, 0)),
    ],
)
def test_launchers_say_which_process_this_is(variables, expected):
    assert Process.from_environment(variables) == expected
    assert expected.device("cpu") == "cpu"
    assert expected.device("cuda") == (f"cuda:{expected.local}" if expected.world > 1 else "cuda")


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"RANK": "one", "WORLD_SIZE": "2"}, "RANK must be an integer, got 'one'"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, r"rank must lie in \[0, 2\)"),
        ({"WORLD_SIZE": "4"}, "the environment has WORLD_SIZE=4 and no RANK: set it, or unset WORLD_SIZE"),
        ({"RANK": "1"}, "the environment has RANK=1 and no WORLD_SIZE"),
        # One launcher's rank is not another's.
        ({"WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "1"}, "WORLD_SIZE=4 and no RANK"),
        ({"PMI_SIZE": "4"}, "PMI_SIZE=4 and no PMI_RANK"),
    ],
)
def test_a_launcher_that_says_nonsense_or_half_is_refused(variables, message):
    with pytest.raises(ValueError, match=message):
        Process.from_environment(variables)


def test_processes_of_one_number_share_a_folder_and_leave_one_empty_file(tmp_path):
    with only_processes(tmp_path, Process(0, 2)), only_processes(tmp_path, Process(1, 2)):
        pass
    assert [(path.name, path.stat().st_size) for path in tmp_path.iterdir()] == [(".lock", 0)]


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (Process(1, 2), "no other process 1 of 2 writes, .* is written by one right now"),
        (Process(0, 1), "written right now by process 1 of 2, and this is 0 of 1"),
        (Process(1, 3), "written right now by process 1 of 2, and this is 1 of 3"),
    ],
)
def test_the_same_share_or_another_number_is_refused_while_a_process_lives(tmp_path, second, message):
    living = only_processes(tmp_path, Process(1, 2))
    with living, pytest.raises(ValueError, match=message), only_processes(tmp_path, second):
        pass
    with only_processes(tmp_path, second):
        pass


KILLED = """
import sys, time
from pathlib import Path
from image_exps.utils.process_locks import only_processes
from image_exps.utils.processes import Process
from toy.atomic import atomic
folder = Path(sys.argv[1])
with only_processes(folder, Process(1, 2)), atomic(folder / "file") as partial:
    partial.write_text("half")
    print("ready", flush=True)
    time.sleep(600)
"""


def test_what_a_killed_process_held_and_left_is_free_and_removed_at_once(tmp_path):
    running = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert running.stdout.readline() == "ready\n"
    names = {path.name for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match="process 1 of 2"), only_processes(tmp_path, Process()):
        pass
    assert {path.name for path in tmp_path.iterdir()} == names  # nothing of a living process is touched
    running.kill()
    running.wait()
    running.stdout.close()
    began = time.monotonic()
    with only_processes(tmp_path, Process()):
        assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", ".process-0-of-1.lock"]
    assert time.monotonic() - began < 5
