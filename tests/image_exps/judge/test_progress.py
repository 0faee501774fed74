"""What the line of the judge says of the time that is left."""

from types import SimpleNamespace

from image_exps.judge import progress
from image_exps.judge.progress import SECONDS, Line


def test_the_time_left_is_what_the_weights_say_and_then_what_was_spent(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now[0]))
    part = next(iter(SECONDS["quick"]))
    with Line([part], "quick") as line:
        (task,) = line._progress.tasks
        line(part, 0.01)
        assert task.description == f"{part}, about {0.99 * SECONDS['quick'][part]:.0f} s left"
        now[0] = 130.0
        line(part, 0.25)  # a quarter in 30 s
        assert task.description == f"{part}, about 90 s left"
        assert task.completed == 0.25
