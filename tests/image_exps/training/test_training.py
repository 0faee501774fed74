"""Training of networks: a killed run goes on as if it had not been killed, and what it leaves can be exported."""

import math
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from tiny_recipe import TINY, tiny_pictures

from image_exps.training.__main__ import main
from image_exps.training.loop import CHECKPOINT, Budget, draw, learning_rate, resumed, train
from image_exps.training.recipes import RECIPES, recipe
from theory_checks.command_line.run_lock import only_run
from toy import Pictures


def state(run):
    return [
        *run.net.state_dict().values(),
        *run.average,
        *(m for s in run.optimizer.state.values() for m in s.values()),
    ]


def _stop_at(step):
    """Return a listener of a run with an entry of its loss curve at every step, which stops it at one."""
    seen = []

    def stop(line):
        seen.append(line)
        if len(seen) == step:
            raise KeyboardInterrupt

    return stop


def assert_same(a, b):
    assert (a.step, a.losses, a.pending) == (b.step, b.losses, b.pending)
    for one, other in zip(state(a), state(b), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_training_in_two_parts_equals_training_in_one_to_the_bit(tmp_path, prediction):
    made, pictures = replace(TINY, prediction=prediction), tiny_pictures()
    whole = train(made, pictures, Budget(steps=4), tmp_path / "whole", log_every=3)
    halves, budget = tmp_path / "halves", Budget(steps=4)
    saved = []

    def stop(line):
        saved.append(line)
        raise KeyboardInterrupt

    # Stopped after the third step, between two checkpoints: of which every step leaves one here.
    with pytest.raises(KeyboardInterrupt):
        train(made, pictures, budget, halves, log_every=3, save_every=0.0, report=stop)
    assert resumed(made, pictures, halves).step == 2
    assert_same(train(made, pictures, budget, halves, resume=True, log_every=3), whole)


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[1])
from tiny_recipe import TINY, tiny_pictures
from image_exps.training import checkpoint
from image_exps.training.loop import Budget, train
replaced = os.replace
def die(source, target):
    count.append(source)
    if len(count) == 5:  # one for the first checkpoint, two for each further one
        os.kill(os.getpid(), signal.SIGKILL)
    return replaced(source, target)
count = []
os.replace = die
train(TINY, tiny_pictures(), Budget(steps=4), Path(sys.argv[2]), save_every=0.0)
"""


def test_a_run_that_is_killed_while_it_writes_a_checkpoint_goes_on_from_the_one_before(tmp_path):
    here = str(Path(__file__).parents[2] / "helpers")
    killed = subprocess.run([sys.executable, "-c", KILLED, here, str(tmp_path / "killed")], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert resumed(TINY, tiny_pictures(), tmp_path / "killed").step == 2
    whole = train(TINY, tiny_pictures(), Budget(steps=4), tmp_path / "whole")
    assert_same(train(TINY, tiny_pictures(), Budget(steps=4), tmp_path / "killed", resume=True), whole)


def test_the_draws_of_a_step_depend_on_seed_and_step_alone_and_cover_all_timesteps():
    pictures = tiny_pictures().images
    first = draw(TINY, pictures, 0, 7)
    torch.rand(3)
    for one, other in zip(first, draw(TINY, pictures, 0, 7), strict=True):
        assert torch.equal(one, other)
    for other in (draw(TINY, pictures, 1, 7), draw(TINY, pictures, 0, 8)):
        assert not torch.equal(first.noise, other.noise)
    times = torch.cat([draw(TINY, pictures, 0, k).timestep for k in range(300)])
    assert torch.equal((times.view(300, 4) // 250), torch.arange(4).expand(300, 4))  # one in each quarter
    assert times.min() >= 0
    assert times.max() <= 999


@pytest.mark.parametrize(("seed", "step"), [(4096, 0), (-1, 0), (0, 1 << 20)])
def test_seeds_and_steps_that_would_share_their_draws_with_others_are_refused(seed, step):
    with pytest.raises(ValueError, match=f"got {seed} and {step}"):
        draw(TINY, tiny_pictures().images, seed, step)


def test_labels_are_withheld_as_often_as_the_recipe_says():
    made = replace(TINY, batch=100, null_rate=0.1)
    share = torch.cat([draw(made, tiny_pictures().images, 0, k).withheld for k in range(40)]).double().mean()
    # 4000 draws: a deviation of sqrt(0.09/4000) = 0.005, here five of them.
    assert abs(share - 0.1) < 0.025


def test_the_learning_rate_rises_and_falls_to_zero(tmp_path):
    run = train(TINY, tiny_pictures(), Budget(steps=1), tmp_path)
    budget = Budget(steps=1000)
    rates = []
    for step in (0, 199, 500, 1000):
        run.step = step
        rates.append(learning_rate(TINY, run, budget) / TINY.learning_rate)
    expected = [1 / 200, (1 + math.cos(math.pi * 0.199)) / 2, 0.5, 0]
    assert rates == pytest.approx(expected, abs=1e-12)


def test_what_can_be_told_exactly_is_learned(tmp_path):
    # All pictures are one, so that the noise can be told from x: the least loss is 0, that of answering zero is 1.
    pictures = Pictures(torch.full((2, 1, 8, 8), 0.5), ("a", "a"), "one")
    made = replace(TINY, conditional=False, batch=16, learning_rate=1e-2, prediction="epsilon")
    run = train(made, pictures, Budget(steps=80), tmp_path, log_every=20)
    assert run.losses[-1][1] < 0.2


def test_minutes_are_a_budget_too(tmp_path):
    lines = []
    run = train(TINY, tiny_pictures(), Budget(minutes=0.005), tmp_path, log_every=1, report=lines.append)
    assert run.seconds >= 0.3
    assert len(lines) == run.step
    assert "min left" in lines[-1]


def test_another_run_is_begun_with_averaged_weights(tmp_path):
    earlier = train(replace(TINY, prediction="epsilon"), tiny_pictures(), Budget(steps=2), tmp_path / "earlier")
    run = train(TINY, tiny_pictures(), Budget(steps=1), tmp_path / "later", begin=tmp_path / "earlier")
    assert run.earlier == ("epsilon", 2, round(earlier.seconds))
    fresh = resumed(TINY, tiny_pictures(), tmp_path / "later")
    assert fresh.earlier == run.earlier
    # One step of AdamW at the first rate of the warm-up moves a weight by at most 1e-3/200 and its decay.
    for weight, mean in zip(run.net.parameters(), earlier.average, strict=True):
        assert (weight - mean).abs().max() < 2e-5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:1000]), "is not a checkpoint"),
        (lambda path: path.write_bytes(b"nothing"), "is not a checkpoint"),
        (lambda path: torch.save({"a": 1}, path), "is not a checkpoint"),
    ],
)
def test_damaged_checkpoints_are_refused(tmp_path, change, message):
    train(TINY, tiny_pictures(), Budget(steps=1), tmp_path)
    change(tmp_path / CHECKPOINT)
    with pytest.raises(ValueError, match=message):
        train(TINY, tiny_pictures(), Budget(steps=2), tmp_path, resume=True)


@pytest.mark.parametrize("damage", [lambda b: b[:1000], lambda b: b"", None], ids=["cut off", "empty", "a weight"])
def test_a_damaged_checkpoint_is_named_and_the_run_goes_on_from_the_one_before(tmp_path, damage):
    made, pictures = TINY, tiny_pictures()
    whole = train(made, pictures, Budget(steps=4), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(made, pictures, Budget(steps=4), tmp_path / "run", save_every=0.0, report=_stop_at(3), log_every=1)
    path = tmp_path / "run" / CHECKPOINT
    if damage is None:
        content = torch.load(path)
        content["average"][0].view(-1)[0] += 1
        torch.save(content, path)
    else:
        path.write_bytes(damage(path.read_bytes()))
    said = []
    again = train(made, pictures, Budget(steps=4), tmp_path / "run", resume=True, report=said.append)
    assert re.search(
        r"checkpoint.pt' is not a checkpoint .*; it goes on from checkpoint-before.pt, the one before", said[0]
    )
    assert said[1].startswith("resumed at step 1")
    assert (again.step, again.net.state_dict().keys()) == (whole.step, whole.net.state_dict().keys())
    for one, other in zip(state(again), state(whole), strict=True):
        assert torch.equal(one, other)


def test_two_trainings_in_one_folder_at_once_are_refused(tmp_path):
    with only_run(tmp_path), pytest.raises(ValueError, match="is written by one right now"):
        train(TINY, tiny_pictures(), Budget(steps=1), tmp_path)


def test_a_checkpoint_is_neither_overwritten_nor_taken_for_that_of_another_run(tmp_path):
    train(TINY, tiny_pictures(), Budget(steps=1), tmp_path)
    before = (tmp_path / CHECKPOINT).read_bytes()
    with pytest.raises(ValueError, match="must hold no checkpoint unless resume is set"):
        train(TINY, tiny_pictures(), Budget(steps=2), tmp_path)
    with pytest.raises(ValueError, match="cannot go on as"):
        train(TINY, tiny_pictures(), Budget(steps=2), tmp_path, seed=1, resume=True)
    with pytest.raises(ValueError, match="cannot go on as"):
        train(replace(TINY, prediction="epsilon"), tiny_pictures(), Budget(steps=2), tmp_path, resume=True)
    other = replace(TINY, name="other")
    with pytest.raises(ValueError, match="do not fit other"):
        train(other, tiny_pictures(), Budget(steps=2), tmp_path / "other", begin=tmp_path)
    assert (tmp_path / CHECKPOINT).read_bytes() == before
    with pytest.raises(ValueError, match=f"must hold {CHECKPOINT}"):
        resumed(TINY, tiny_pictures(), tmp_path / "nowhere")


@pytest.mark.parametrize(
    "budget", [{}, {"minutes": 1, "steps": 1}, {"minutes": 0}, {"steps": -1}, {"minutes": math.inf}]
)
def test_budgets_that_are_none_are_refused(budget):
    with pytest.raises(ValueError, match="must be"):
        Budget(**budget)


def test_unknown_recipes_are_refused():
    with pytest.raises(ValueError, match="recipe must be one of fashion-mnist, emoji, got 'celeba'"):
        recipe("celeba")


def test_the_command_line_trains_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.setitem(RECIPES, "emoji", replace(TINY, name="emoji"))
    out = tmp_path / "run"
    for steps in ("1", "2"):
        result = CliRunner().invoke(main, ["emoji", "--steps", steps, "--resume", "--out", str(out)])
        assert result.exit_code == 0, result.output
    assert "resumed at step 1" in result.output
    assert resumed(recipe("emoji"), tiny_pictures(), out).step == 2
    result = CliRunner().invoke(main, ["emoji", "--out", str(tmp_path / "none")])
    assert result.exit_code == 2
    assert "exactly one of minutes and steps must be given" in result.output
