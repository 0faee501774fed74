"""Generations that take turns through one scheduler: recognised by what they continue, or refused by name."""

from __future__ import annotations

import copy
import gc
import itertools
import threading
import weakref
from functools import cache

import pytest
import torch
from exact_loop import BATCH, DIFFUSION, NAMES, NUMPY_2, SOLVER, denoiser, draws, make, make_base, run, start

from lml.schedulers.generations import Generations

pytestmark = pytest.mark.filterwarnings(*NUMPY_2)

# DDIM and the few-step solver take everything about a step from its arguments, so generations can share them; the
# others count their steps.
RELEASED = {"variant": "released", "damping_mode": "absolute", "damping": 30.0}
SHARED = [
    ("DDIMScheduler", {}),
    ("DDIMScheduler", {"damping_mode": "adaptive", "rank": 2}),
    ("DDIMScheduler", RELEASED),
    (SOLVER, {}),
]
COUNTED = [name for name in NAMES if name != "DDIMScheduler"]
EVERY = [*NAMES, SOLVER]
STEPS = 5
REFUSED = "sample must be what the step before handed out, but another generation has made that step: LML"


def blend(x, i):
    """Inpainting: half of every sample is the noised picture again."""
    known = torch.randn(x.shape[1:], generator=torch.Generator().manual_seed(100 + i)).to(x)
    return torch.where(torch.arange(x.shape[-1]) < 2, known, x)


def replace(x, i):
    """Nothing is left of a sample by which it could be known."""
    return torch.randn(x.shape, generator=torch.Generator().manual_seed(200 + i)).to(x)


KEPT = {"as handed out": lambda x, i: x, "detached": lambda x, i: x.detach(), "in place": lambda x, i: x.mul_(0.99)}
CHANGED = {"copied": lambda x, i: x.clone(), "cast": lambda x, i: x.half().to(x.dtype), "blended": blend}
CHANGES = KEPT | CHANGED


def evaluate(scheduler, name, x, t, **draw):
    """The next sample, as a pipeline makes it."""
    seen = scheduler.scale_model_input(x, t) if name in DIFFUSION else x
    return scheduler.step(denoiser(name)(seen, t).sample, t, x, **draw).prev_sample


def generation(scheduler, name, x, *, sets=False, change="as handed out", begin=0):
    """Copies of the samples of a generation, one at a time, so that others can go on between two steps."""
    if sets:
        scheduler.set_timesteps(STEPS)
    draw = draws(name)
    for i, t in enumerate(scheduler.timesteps[begin:]):
        x = evaluate(scheduler, name, x, t, **draw)
        yield x.clone()
        x = (CHANGES | {"replaced": replace})[change](x, i)


def prepared(name, options=None):
    scheduler = make(name, **(options or {}))
    scheduler.set_timesteps(STEPS)
    return scheduler


def alone(name, options=None, seed=0, *, batch=BATCH, **how):
    """The samples of a generation that has its scheduler for itself."""
    return _alone(name, tuple((options or {}).items()), seed, batch, tuple(how.items()))


@cache
def _alone(name, options, seed, batch, how):
    scheduler = prepared(name, dict(options))
    return list(generation(scheduler, name, start(scheduler, seed=seed, batch=batch), **dict(how)))


def same(found, expected):
    found = [x for x in found if x is not None]
    return len(found) == len(expected) and all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def in_turn(*generations):
    """What each yields, one after another in every round."""
    return list(zip(*itertools.zip_longest(*generations), strict=True))


@pytest.mark.parametrize(
    ("change", "sets"), [(c, False) for c in CHANGES] + [(c, True) for c in KEPT], ids=lambda v: str(v)
)
@pytest.mark.parametrize(("name", "options"), SHARED)
def test_generations_that_take_turns_are_what_each_is_alone(name, options, change, sets):
    scheduler = prepared(name, options)
    xs = [start(scheduler, seed=seed) for seed in range(3)]
    found = in_turn(*(generation(scheduler, name, x, sets=sets, change=change) for x in xs))
    expected = [alone(name, options, seed, change=change) for seed in range(3)]
    assert all(same(a, b) for a, b in zip(found, expected, strict=True))
    assert not any(same(a, b) for a, b in itertools.combinations(expected, 2))


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(("name", "options"), SHARED)
def test_one_generation_may_wait_for_another(name, options, change):
    scheduler = prepared(name, options)
    first, second = (generation(scheduler, name, start(scheduler, seed=seed), change=change) for seed in range(2))
    mine, other = [next(first), next(first)], [next(second)]
    mine.append(next(first))
    other += second
    mine += first
    assert same(mine, alone(name, options, 0, change=change))
    assert same(other, alone(name, options, 1, change=change))


@pytest.mark.parametrize(("name", "options"), SHARED)
def test_generations_of_other_sizes_and_beginnings_take_turns(name, options):
    scheduler = prepared(name, options)
    plans = [{"seed": 0, "batch": 2}, {"seed": 1, "batch": 1}, {"seed": 2, "begin": 2}]
    xs = [start(scheduler, seed=p["seed"], batch=p.get("batch", BATCH)) for p in plans]
    steps = [generation(scheduler, name, x, begin=p.get("begin", 0), sets=True) for x, p in zip(xs, plans, strict=True)]
    for found, plan in zip(in_turn(*steps), plans, strict=True):
        assert same(found, alone(name, options, **plan))


@pytest.mark.parametrize(("name", "options"), SHARED)
def test_generations_from_one_noise_by_two_networks_take_turns(name, options):
    def towards(sign, scheduler, y):
        for t in scheduler.timesteps:
            y = scheduler.step(sign * denoiser(name)(y, t).sample, t, y).prev_sample
            yield y

    shared = prepared(name, options)
    x = start(shared)
    found = in_turn(towards(1, shared, x), towards(-1, shared, x))
    assert all(same(f, list(towards(s, prepared(name, options), x))) for f, s in zip(found, (1, -1), strict=True))


@pytest.mark.parametrize("change", [*CHANGES, "replaced"])
@pytest.mark.parametrize(("name", "options"), SHARED)
def test_threads_do_not_disturb_each_other(name, options, change):
    scheduler = prepared(name, options)
    found, failed, together = {}, [], threading.Barrier(3, timeout=60)

    def work(seed):
        try:
            path = []
            for x in generation(scheduler, name, start(scheduler, seed=seed), sets=True, change=change):
                path.append(x)
                together.wait()  # no thread is more than a step ahead
            found[seed] = path
        except Exception as error:
            failed.append(error)
            together.abort()

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not failed
    assert all(same(found[seed], alone(name, options, seed, change=change)) for seed in range(3))


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(("name", "options"), SHARED)
def test_a_thread_begins_in_the_middle_whatever_another_one_is_at(name, options, change):
    scheduler, found = prepared(name, options), []
    one = generation(scheduler, name, start(scheduler, seed=1), sets=True, change=change)
    mine = [next(one), next(one)]  # the other begins where this one goes on
    other = generation(scheduler, name, start(scheduler), sets=True, change=change, begin=2)
    thread = threading.Thread(target=lambda: found.extend(other))
    thread.start()
    thread.join()
    mine += one
    assert same(found, alone(name, options, begin=2, change=change))
    assert same(mine, alone(name, options, 1, change=change))


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(("name", "options"), SHARED)
def test_a_generation_may_go_on_in_another_thread(name, options, change):
    scheduler, path = prepared(name, options), []
    steps = generation(scheduler, name, start(scheduler), change=change)
    for _ in range(STEPS):
        thread = threading.Thread(target=lambda: path.append(next(steps)))
        thread.start()
        thread.join()
    assert same(path, alone(name, options, change=change))


@pytest.mark.parametrize("change", ["as handed out", "blended"])
@pytest.mark.parametrize("name", EVERY)
def test_an_interrupted_generation_leaves_nothing_to_the_next(name, change):
    scheduler = make(name)
    for stop in range(STEPS):
        broken = generation(scheduler, name, start(scheduler, seed=9), sets=True, change=change)
        list(itertools.islice(broken, stop))  # it is not closed: its last sample is alive
        found = list(generation(scheduler, name, start(scheduler), sets=True, change=change))
        assert same(found, alone(name, change=change))


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(("name", "options"), SHARED)
def test_after_an_interruption_the_next_needs_no_set_timesteps(name, options, change):
    scheduler = prepared(name, options)
    for stop in range(STEPS):
        broken = generation(scheduler, name, start(scheduler, seed=9), change=change)
        list(itertools.islice(broken, stop))
        found = list(generation(scheduler, name, start(scheduler), change=change))
        assert same(found, alone(name, options, change=change))


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(("name", "options"), SHARED)
def test_image_to_image_after_an_interruption_begins_afresh(name, options, change):
    scheduler = make(name, **options)
    for stop in range(1, STEPS):
        broken = generation(scheduler, name, start(scheduler, seed=9), sets=True, change=change)
        list(itertools.islice(broken, stop))
        found = list(generation(scheduler, name, start(scheduler), sets=True, begin=2, change=change))
        assert same(found, alone(name, options, begin=2, change=change))


@pytest.mark.parametrize(("name", "options"), SHARED)
def test_a_step_that_is_made_again_is_made_as_before(name, options):
    scheduler = prepared(name, options)
    x = start(scheduler)
    for t, after in zip(scheduler.timesteps, alone(name, options), strict=True):
        scheduler.step(torch.sin(3 * x), t, x)  # to look at a step is not to take it
        tries = [evaluate(scheduler, name, x, t) for _ in range(3)]
        assert all(torch.equal(each, after) for each in tries)
        x = tries[1]


@pytest.mark.parametrize("change", ["detached", "copied"])
@pytest.mark.parametrize("name", EVERY)
def test_another_tensor_of_the_same_numbers_is_the_same_generation(name, change):
    assert same(alone(name, change=change), alone(name))


def test_a_changed_sample_is_corrected_against_its_own_past():
    scheduler, base = prepared("DDIMScheduler"), make_base("DDIMScheduler")
    base.set_timesteps(STEPS)
    x = start(scheduler)
    for i, t in enumerate(scheduler.timesteps):
        ours, theirs = (evaluate(each, "DDIMScheduler", x, t) for each in (scheduler, base))
        assert torch.equal(ours, theirs) == (i == 0)
        x = blend(ours, i)


@pytest.mark.parametrize("name", EVERY)
def test_a_second_generation_is_like_the_first_in_any_size(name):
    scheduler = make(name)
    for batch in (3, 1, 2, 3, 1):
        x = start(scheduler, batch=batch, seed=batch)
        assert same(list(generation(scheduler, name, x, sets=True)), alone(name, seed=batch, batch=batch))


@pytest.mark.parametrize("sets", [False, True], ids=["set once", "each sets its timesteps"])
@pytest.mark.parametrize("name", COUNTED)
def test_a_mixture_is_refused_by_those_that_count_and_they_begin_again(name, sets):
    scheduler = prepared(name)
    one, other = (generation(scheduler, name, start(scheduler, seed=seed), sets=sets) for seed in (1, 2))
    with pytest.raises(ValueError, match=REFUSED + name):
        in_turn(one, other)
    # What was mixed stays refused, also to a sample that says nothing of it.
    with pytest.raises(ValueError, match=REFUSED + name):
        evaluate(scheduler, name, start(scheduler), scheduler.timesteps[0], **draws(name))
    assert same(list(generation(scheduler, name, start(scheduler), sets=True)), alone(name))


@pytest.mark.parametrize("name", COUNTED)
def test_without_mixing_a_mixture_is_the_base_s_own_affair(name):
    results = []
    for scheduler in (make(name, mixing=0.0), make_base(name)):
        scheduler.set_timesteps(STEPS)
        one, other = (generation(scheduler, name, start(scheduler, seed=seed)) for seed in (1, 2))
        results.append([next(each) for each in (one, other, one, other)])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("name", COUNTED)
def test_a_state_that_is_put_back_is_no_mixture(name):
    # As the panorama pipeline does for its views, and a search over trajectories.
    scheduler, path, saved = prepared(name), [], []
    x = start(scheduler)
    for t in scheduler.timesteps[:4]:
        saved.append(copy.deepcopy(scheduler.__dict__))
        path.append(x)
        x = evaluate(scheduler, name, x, t, **draws(name))
    scheduler.__dict__.update(saved[3])
    again = evaluate(scheduler, name, path[3], scheduler.timesteps[3], **draws(name))
    assert torch.equal(again, x)


@pytest.mark.parametrize("name", ["EulerDiscreteScheduler", "FlowMatchEulerDiscreteScheduler"])
def test_a_counter_that_is_set_back_takes_the_sample_of_its_place_and_its_past(name):
    scheduler = prepared(name)
    path = [start(scheduler)]
    for t in scheduler.timesteps:
        path.append(evaluate(scheduler, name, path[-1], t))
    scheduler._step_index = 2
    assert torch.equal(evaluate(scheduler, name, path[2], scheduler.timesteps[2]), path[3])


@pytest.mark.parametrize("name", EVERY)
def test_other_timesteps_may_be_set_on_the_way(name):
    # First few steps coarse, then fine: the sample is one that was handed out, and its place is another one now.
    scheduler = make(name)
    x = list(itertools.islice(generation(scheduler, name, start(scheduler), sets=True), 2))[-1]
    x = evaluate(scheduler, name, x, scheduler.timesteps[2], **draws(name))
    scheduler.set_timesteps(10)
    last = len(scheduler.timesteps) - 4
    for t in scheduler.timesteps[last - last % 2 :]:  # a whole step of Heun's two
        x = evaluate(scheduler, name, x, t, **draws(name))
    assert torch.isfinite(x).all()


@pytest.mark.parametrize("name", [n for n in COUNTED if n != "PNDMScheduler"])
def test_begin_index_begins_a_generation(name):
    scheduler = make(name)
    x = start(scheduler) / float(getattr(scheduler, "init_noise_sigma", 1.0))
    first = run(scheduler, denoiser(name), x, begin=4, **draws(name))
    list(itertools.islice(generation(scheduler, name, start(scheduler, seed=3), sets=True), 2))
    again = run(scheduler, denoiser(name), x, begin=4, **draws(name))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize(("name", "options"), SHARED)
def test_a_finished_generation_holds_nothing(name, options):
    scheduler = make(name, **options)
    list(generation(scheduler, name, start(scheduler), sets=True))
    assert scheduler._lml_past == Generations()


@pytest.mark.parametrize(("name", "options"), SHARED)
def test_of_generations_that_end_early_few_are_held(name, options):
    scheduler = prepared(name, options)
    for seed in range(20):
        list(itertools.islice(generation(scheduler, name, start(scheduler, seed=seed)), 3))
    assert len(scheduler._lml_past.under_way) <= 8
    list(itertools.islice(generation(scheduler, name, start(scheduler), sets=True), 1))
    assert len(scheduler._lml_past.under_way) == 1


@pytest.mark.parametrize("name", COUNTED)
def test_those_that_count_hold_no_sample(name):
    alive = []
    for scheduler in (make(name), make_base(name)):
        scheduler.set_timesteps(STEPS)
        x, path = start(scheduler), []
        for t in scheduler.timesteps:
            x = evaluate(scheduler, name, x, t, **draws(name))
            path.append(weakref.ref(x))
        del x
        gc.collect()
        alive.append([each() is not None for each in path])
    assert alive[0] == alive[1]  # a base may hold one, as UniPC does


@pytest.mark.parametrize("name", EVERY)
def test_a_copy_goes_on_by_itself(name):
    scheduler = make(name)
    x = next(generation(scheduler, name, start(scheduler), sets=True))
    twin = copy.deepcopy(scheduler)
    results = [evaluate(each, name, x, each.timesteps[1], **draws(name)) for each in (twin, scheduler)]
    assert torch.equal(*results)
