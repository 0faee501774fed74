"""One run at a time in a folder; what killed runs left is removed by the next."""

import subprocess
import sys

import pytest

from theory_checks.command_line.run_lock import only_run

KILLED = """
import sys, time
from pathlib import Path
from theory_checks.command_line.run_lock import only_run
from toy.atomic import atomic
folder = Path(sys.argv[1])
with only_run(folder):
    (folder / "deep").mkdir()
    with atomic(folder / "deep/file") as partial:
        partial.write_text("half")
        print("ready", flush=True)
        time.sleep(600)
"""


def test_a_second_run_is_refused_and_a_later_one_is_not(tmp_path):
    folder = tmp_path / "new/folder"
    with only_run(folder), pytest.raises(ValueError, match=f"{folder} is written by one right now"), only_run(folder):
        pass
    with only_run(folder):
        pass
    assert [path.name for path in folder.iterdir()] == [".lock"]


def test_a_killed_run_frees_the_folder_and_what_it_left_is_removed(tmp_path):
    running = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert running.stdout.readline() == "ready\n"
    (left,) = (tmp_path / "deep").iterdir()
    with pytest.raises(ValueError, match="is written by one right now"), only_run(tmp_path):
        pass
    assert left.exists()
    running.kill()
    running.wait()
    running.stdout.close()
    with only_run(tmp_path):
        assert not left.exists()
