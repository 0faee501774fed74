"""Kill commands again and again, let them go on, and compare what they leave with an uninterrupted run, byte for byte.

    python tests/helpers/killed_runs.py FOLDER KILLS SEED [COMMAND ...]

The commands are imported once, and every run is a fork of this process: so a kill falls into the work and not into the
imports. Half of the kills come from outside, after a random time; the other half the process deals itself, at a random
one of the moments just before or after a file is brought to disk, renamed or removed, where a kill could do most harm.
A run that ends before its kill is compared, and everything begins anew. Prints one JSON object a command.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

TOML = """
name = "small"
repeats = 20
[[part]]
targets = ["ring-2d"]
arms = ["ddim", "ddim/noise", "unipc-2/lml"]
evaluations = [3, 4, 5, 6]
count = 300
distances = ["frechet", "endpoint-rmse"]
"""

#: Columns of a cell that say how long something took.
TIMES = ["seconds", "sampling_seconds", "distance_seconds"]


@dataclass(frozen=True)
class Command:
    """A command, and what is compared.

    Attributes:
        words: its arguments; OUT, CACHE, INPUT stand for folders.
        shown: whether its standard output is a result, too.
    """

    words: tuple[str, ...]
    shown: bool = False


COMMANDS = {
    "sample": Command(
        ("sample", "-m", "ddpm-ema-cifar10", "--model-dir", "INPUT/pipe", "-s", "ddim/lml", "-n", "3", "--batch", "3",
         "--threads", "1", "--device", "cpu", "--count", "40", "--out", "OUT/pictures")
    ),
    "sweep": Command(("sweep", "INPUT/small.toml", "--workers", "1", "--cache", "CACHE", "--out", "OUT/sweep")),
    "tune": Command(
        ("tune", "ring-2d", "-n", "4", "--count", "300", "--seeds", "2", "--held-out", "1", "--iterations", "5",
         "--cache", "CACHE"), shown=True,
    ),
    "evaluate": Command(
        ("evaluate", "INPUT/pictures", "--score", "colourfulness", "--score", "sharpness", "--repeats", "200",
         "--batch", "2", "--device", "cpu", "--out", "OUT/results.parquet"), shown=True,
    ),
}  # fmt: skip


def prepare(folder: Path) -> None:
    """Write a small pipeline, a small sweep and a folder of pictures."""
    from generated_folder import generated_folder
    from small_pipelines import save_pipeline

    folder.mkdir(parents=True)
    save_pipeline("DDPMPipeline", folder)
    (folder / "small.toml").write_text(TOML)
    generated_folder(folder / "pictures", 24)


def run(command: Command, folder: Path, kill: tuple[str, float] | None) -> bool:
    """Run a command in a fork; return whether it came to its end.

    Args:
        command: which.
        folder: of what it writes.
        kill: ``("time", seconds)``, ``("before", n)`` or ``("after", n)`` the n-th change of a file; ``None`` for none.
    """
    child = os.fork()
    if child == 0:
        _become(command, folder, kill)
    if kill is not None and kill[0] == "time":
        deadline = time.monotonic() + kill[1]
        while time.monotonic() < deadline:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                break
            time.sleep(0.002)
        else:
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
    else:
        _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return False
    assert os.WEXITSTATUS(status) == 0, (folder / "stderr").read_text()
    return True


def _become(command: Command, folder: Path, kill: tuple[str, float] | None) -> None:
    """Be the command, and end."""
    status = 1
    try:
        for name, number in (("stdout", 1), ("stderr", 2)):
            os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        if kill is not None and kill[0] != "time":
            _arm(kill[0], int(kill[1]))
        else:
            _count(folder)
        from image_exps.__main__ import main

        places = {"OUT": folder, "CACHE": folder / "cache", "INPUT": folder.parent / "input"}
        words = [_placed(word, places) for word in command.words]
        main(words, prog_name="image_exps", standalone_mode=True)
    except SystemExit as ended:
        status = int(ended.code or 0)
    except BaseException as error:
        print(repr(error), file=sys.stderr)  # noqa: T201
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _placed(word: str, places: dict[str, Path]) -> str:
    first, slash, rest = word.partition("/")
    return f"{places[first]}{slash}{rest}" if first in places else word


_CHANGES = ("fsync", "replace", "unlink", "mkdir")


def _arm(moment: str, which: int) -> None:
    """Let this process kill itself before or after the ``which``-th change of a file."""
    seen = [0]

    def killing(real):
        def change(*arguments, **options):
            seen[0] += 1
            mine = seen[0] == which
            if mine and moment == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            done = real(*arguments, **options)
            if mine:
                os.kill(os.getpid(), signal.SIGKILL)
            return done

        return change

    for name in _CHANGES:
        setattr(os, name, killing(getattr(os, name)))


def _count(folder: Path) -> None:
    """Write down how many changes of a file this process makes."""
    tally = os.open(folder.with_name(f"{folder.name}-changes"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)

    def counting(real):
        def change(*arguments, **options):
            os.write(tally, b".")
            return real(*arguments, **options)

        return change

    for name in _CHANGES:
        setattr(os, name, counting(getattr(os, name)))


def content(command: Command, folder: Path) -> dict[str, object]:
    """Return what a command left, file by file: bytes, but for the seconds that a run says of itself."""
    found: dict[str, object] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        if name == "stderr" or (name == "stdout" and not command.shown):
            continue
        if path.match("records-*.jsonl"):
            records = [record for line in path.read_text().splitlines() for record in json.loads(line)["pictures"]]
            assert len({record["index"] for record in records}) == len(records), f"{name} has a picture twice"
            found[name] = sorted((record["index"], {**record, "seconds": 0}) for record in records)
        elif path.parent.name == "cells":
            found[name] = pd.read_parquet(path).drop(columns=TIMES).to_json()
        else:
            found[name] = path.read_bytes()
    return found


def trial(name: str, folder: Path, kills: int, random_: random.Random) -> dict[str, object]:
    """Kill a command that often; return how many runs came to their end on the way, and what differed."""
    command = COMMANDS[name]
    whole = folder / f"{name}-whole"
    whole.mkdir()
    began = time.monotonic()
    assert run(command, whole, None)
    seconds = time.monotonic() - began
    expected = content(command, whole)
    changes = (folder / f"{whole.name}-changes").stat().st_size
    done, ended, differences = 0, 0, []
    attempt = folder / f"{name}-killed"
    attempt.mkdir()
    while done < kills:
        if done % 2:
            kill = ("time", random_.uniform(0, 1.1 * seconds))
        else:
            kill = (random_.choice(("before", "after")), random_.randint(1, max(1, changes)))
        if run(command, attempt, kill):
            ended += 1
            differences += _difference(expected, content(command, attempt))
            shutil.rmtree(attempt)
            attempt.mkdir()
        else:
            done += 1
    assert run(command, attempt, None)
    differences += _difference(expected, content(command, attempt))
    return {"command": name, "kills": done, "ended between": ended, "seconds of a whole run": round(seconds, 2),
            "changes of files": changes, "files": len(expected), "differences": differences}  # fmt: skip


def _difference(expected: dict[str, object], found: dict[str, object]) -> list[str]:
    return sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))


def main() -> None:
    folder, kills, seed, names = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:] or list(COMMANDS)
    import image_exps.commands.evaluate  # what the commands import is imported before the forks
    import image_exps.commands.sample
    import image_exps.commands.tune
    import image_exps.evaluation.scores
    import image_exps.pipelines.generation
    import image_exps.sweeps.run
    import image_exps.sweeps.tuning_objective  # noqa: F401

    prepare(folder / "input")
    random_ = random.Random(seed)
    for number, name in enumerate(names):
        share = kills // len(names) + (number < kills % len(names))
        print(json.dumps(trial(name, folder, share, random_)), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
