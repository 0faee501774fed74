"""What goes wrong outside of the code is one sentence with the file and what to do, exit status 2, and no traceback."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from theory_checks.command_line.plain_errors import PlainError, plain_errors, sentence_of


def failing(error):
    @click.command()
    @plain_errors
    def command():
        raise error

    return command


OUTSIDE = {
    "full disk": (OSError(errno.ENOSPC, "No space left on device", "out/a.png"), "out/a.png: no space is left on its"),
    "quota": (OSError(errno.EDQUOT, "x", "out/a"), "out/a: your quota of its disk is used up: free some space"),
    "permission": (PermissionError(errno.EACCES, "x", "out/a"), "out/a: you have no permission for it: change that"),
    "read-only": (OSError(errno.EROFS, "x", "out/a"), "out/a: its disk can only be read: choose another place"),
    "below a file": (NotADirectoryError(errno.ENOTDIR, "x", "a/b"), "a/b: it lies below a file, which is no folder"),
    "absent": (FileNotFoundError(errno.ENOENT, "x", "a/b"), "a/b: it is not there: check the name"),
    "folder": (IsADirectoryError(errno.EISDIR, "x", "a"), "a: it is a folder, and must be a file: give another name"),
    "long name": (OSError(errno.ENAMETOOLONG, "x", "y" * 300), "its name is too long: give a shorter one"),
    "a number without a meaning of ours": (OSError(errno.ELOOP, "Too many links", "a"), "a: Too many links"),
    "no number": (OSError("the library says so"), "Error: the library says so"),
    "neither": (OSError(), "Error: OSError"),
    "bytes": (OSError(errno.ENOENT, "x", b"a\xff"), "a"),
    "value": (ValueError("count must be 1,\n  got 0"), "count must be 1, got 0"),
    "reason": (PlainError("a worker was ended"), "a worker was ended"),
    "memory": (MemoryError(), "the memory is too small for this: ask for less at a time, such as a smaller --batch"),
    "package": (ModuleNotFoundError("x", name="cv2.dnn"), "the package cv2 is not installed: pip install"),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_reasons_outside_of_the_code_are_one_sentence(name, monkeypatch):
    error, sentence = OUTSIDE[name]
    monkeypatch.delenv("LML_TRACEBACK", raising=False)
    result = CliRunner().invoke(failing(error), [])
    assert result.exit_code == 2
    assert result.output.startswith("Error: ")
    assert sentence in result.output
    assert result.output.count("\n") == 1
    monkeypatch.setenv("LML_TRACEBACK", "1")
    assert CliRunner().invoke(failing(error), []).exception is error


@pytest.mark.parametrize(
    "error", [KeyError("x"), TypeError("x"), RuntimeError("x"), ModuleNotFoundError("x", name="lml.nothing")]
)
def test_faults_of_the_code_keep_their_traceback(error):
    assert sentence_of(error) is None
    assert CliRunner().invoke(failing(error), []).exception is error


def test_memory_of_a_gpu_is_memory():
    torch = pytest.importorskip("torch")
    assert "smaller --batch" in sentence_of(torch.OutOfMemoryError("CUDA out of memory"))


def test_messages_of_click_are_left_to_it():
    result = CliRunner().invoke(failing(click.BadParameter("no", param_hint="--x")), [])
    assert result.exit_code == 2
    assert "Invalid value for --x: no" in result.output


def test_an_interruption_is_one_line_and_status_130():
    result = CliRunner().invoke(failing(KeyboardInterrupt()), [])
    assert result.exit_code == 130
    assert result.output == "Interrupted: what is finished is kept.\n"


def python(*arguments, **options):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, **options)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_an_output_that_is_full_is_named():
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "image_exps", "models"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    # What fails first depends on the encoding of the output: the text, or the flush behind it, which has a name.
    rest = ": no space is left on its disk: free some, or choose another place\n"
    assert done.stderr in ("Error: standard output, or a file" + rest, "Error: standard output" + rest)


def test_a_reader_that_leaves_is_no_error():
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "image_exps", "models"], stdout=write, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(write)
    assert done.stderr == ""


def test_the_mechanism_loads_nothing_heavy():
    code = (
        "import sys, theory_checks.command_line.plain_errors, theory_checks.command_line.outputs, image_exps.__main__;"
        "print({'torch', 'numpy', 'scipy', 'pandas', 'matplotlib'} & set(sys.modules))"
    )
    assert python("-c", code).stdout == "set()\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("image_exps", "sweep", "no-such-grid"),
        ("image_exps", "sweep", "quick", "--out", "FILE/x"),
        ("image_exps", "sweep", "quick", "--workers", "1000000000"),
        ("image_exps", "sample", "-m", "no-such-model", "--out", "x"),
        ("image_exps", "sample", "-m", "fashion-mnist", "--out", "FILE/x"),
        ("image_exps", "sample", "-m", "fashion-mnist", "--count", "1000000000000000", "--out", "x"),
        ("image_exps", "grid", "-m", "fashion-mnist", "--out", "FILE/x.png"),
        ("image_exps", "grid", "-m", "fashion-mnist", "-s", "nothing", "--out", "x.png"),
        ("image_exps", "time", "--out", "FILE/x.parquet"),
        ("image_exps", "time", "--evaluations", "1,x"),
        ("image_exps", "tune", "digits", "--count", "1000000000000000"),
        ("image_exps", "tune", "digits", "--cache", "FILE/x"),
        ("image_exps", "tune", "no-such-target"),
        ("image_exps", "tune", "digits", "--model", "network"),
        ("image_exps", "tune", "digits", "--model", "white(colour=1)"),
        ("image_exps", "sweep", "FILE.toml"),
        ("image_exps", "table", "no-such-file"),
        ("paper_figures", "no-such-figure"),
        ("paper_figures", "--out", "FILE/x"),
    ],
    ids=" ".join,
)
def test_what_can_be_refused_at_once_is_refused_before_anything_heavy_is_loaded(arguments, tmp_path):
    file = tmp_path / "file"
    file.touch()
    part = 'targets = ["no"]\narms = ["ddim"]\nevaluations = [5]\ncount = 9\ndistances = ["w2"]'
    file.with_suffix(".toml").write_text(f'name = "x"\n[[part]]\n{part}')
    arguments = [str(file) + word[4:] if word.startswith("FILE") else word for word in arguments]
    code = (
        "import runpy, sys\n"
        "name, sys.argv[1:] = sys.argv[1], sys.argv[2:]\n"
        "try: runpy.run_module(name, run_name='__main__')\n"
        "finally: print(sorted({'torch', 'scipy', 'pandas', 'sklearn', 'matplotlib', 'diffusers'} & set(sys.modules)))"
    )
    done = python("-c", code, *arguments, cwd=Path(__file__).parents[3])
    assert done.returncode == 2, done.stderr
    assert done.stdout == "[]\n"
    assert done.stderr.splitlines()[-1].startswith("Error: ")
    assert "Traceback" not in done.stderr
