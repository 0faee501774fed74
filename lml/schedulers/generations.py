r"""Which generation a step belongs to: the one whose sample it continues.

A scheduler that does not count its steps (DDIM and `lml.schedulers.LMLSolverScheduler`) can serve any number of
generations in turn, from any number of threads. `Generations` finds what a step is to remember:

1. A sample that a step handed out, or a tensor in the same memory (``x.detach()``), goes on with the noises of the
   steps that made it. A step that is made again, at the same timestep and from the same sample, begins where it began
   the first time.
2. Any other sample was made outside (new noise), or was changed on its way (cast, blended with a picture, noised
   again). The first one after ``set_timesteps`` in a thread begins a generation there. A later one continues the
   generation under way in its thread (in any, if there is none in its own) that has this timestep next; of several,
   row by row, the one whose last sample it is most like: equal in most elements, then nearest. Where none is at an
   earlier step, it begins a generation.

A scheduler that counts its steps (the other eleven) serves one generation at a time, as its base does, and
``set_timesteps`` begins the next. `Counted` refuses a mixture where it sees one: a sample that was handed out by
another step than the one before.

Nothing here waits for a device: samples are recognised by their location in memory, and which is most alike is found on
the device. Samples are held weakly, but for the last one of a generation that is not finished.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lml.correction import Memory

__all__ = ["Counted", "Generation", "Generations", "Past"]

# Of how many unfinished generations the last sample is held, to recognise a sample that was changed on its way, and of
# how many steps of a scheduler that counts the samples are known.
_HELD = 8


class _Location(NamedTuple):
    """Where a tensor lies: its storage, held weakly, and its layout there."""

    storage: weakref.ReferenceType[torch.UntypedStorage] | None = None
    layout: tuple[Any, ...] = ()

    @classmethod
    def of(cls, x: Tensor) -> _Location:
        try:
            storage = x.untyped_storage()
        except (NotImplementedError, RuntimeError):  # a tensor without memory of its own
            return cls()
        return cls(weakref.ref(storage), (x.storage_offset(), x.shape, x.stride(), x.dtype))

    @property
    def alive(self) -> bool:
        """Whether a tensor is left in that storage."""
        return self.storage is not None and self.storage() is not None

    def is_that_of(self, x: Tensor) -> bool:
        """Whether ``x`` is that tensor, or another one of the same elements."""
        there = _Location.of(x)
        if self.storage is None or there.storage is None or there.layout != self.layout:
            return False
        return there.storage() is self.storage()


class Generation(NamedTuple):
    """A generation under way, after one of its steps.

    Attributes:
        timestep: of that step.
        given: where the sample lay that the step was given.
        before: what the step remembered.
        handed: where the sample lies that the step handed out.
        sample: that sample, held until ``set_timesteps`` is called in the thread.
        after: what the next step is to remember.
        thread: of the step.
        uses: how many steps have continued it or another of its pool, where which of them is known to the device alone.
    """

    timestep: int
    given: _Location
    before: Memory
    handed: _Location
    sample: Tensor | None
    after: Memory
    thread: int
    uses: int = 0

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles know the samples by what they hold, not by their location in memory."""
        return Generation, tuple(self._replace(given=_Location(), handed=_Location()))


class Past(NamedTuple):
    """What a step remembers.

    Attributes:
        memory: of the steps before.
        continued: the generations under way of which it continues one.
        recognised: whether its sample is one that was handed out, or handed in, before.
    """

    memory: Memory = Memory()
    continued: tuple[Generation, ...] = ()
    recognised: bool = False


class Generations(NamedTuple):
    """The generations under way in a scheduler that does not count its steps; every change makes a new one.

    Attributes:
        under_way: by their last step, the latest last.
        beginning: threads that have called ``set_timesteps`` and begun no generation since.
    """

    under_way: tuple[Generation, ...] = ()
    beginning: frozenset[int] = frozenset()

    def begun(self) -> Generations:
        """Return the state after ``set_timesteps`` in this thread."""
        me = threading.get_ident()
        kept = tuple(g._replace(sample=None) if g.thread == me else g for g in self.under_way)
        return _pruned(kept, self.beginning | {me})

    def past(self, x: Tensor, timestep: int, schedule: Sequence[int]) -> Past:
        """Return what a step from the sample ``x``, shape (B, ...), at ``timestep`` is to remember."""
        for g in reversed(self.under_way):
            if timestep < g.timestep and g.handed.is_that_of(x):
                return Past(g.after, (g,), recognised=True)
            if timestep == g.timestep and g.given.is_that_of(x):
                return Past(g.before, recognised=True)
        me = threading.get_ident()
        if me in self.beginning:
            return Past()
        pool = [g for g in self.under_way if g.timestep > timestep and _fits(x, g.sample)]
        pool = [g for g in pool if g.thread == me] or pool
        pool = [g for g in pool if _next(schedule, g.timestep) == timestep] or pool
        pool = [g for g in pool if _kind(g.after) == _kind(pool[-1].after)]
        if not pool:
            return Past()
        memory = _most_alike(x, pool) if len(pool) > 1 and x.numel() else pool[-1].after
        return Past(memory, tuple(pool))

    def after(
        self, past: Past, given: Tensor, handed: Tensor, memory: Memory, timestep: int, *, finished: bool
    ) -> Generations:
        """Return the state after a step from ``given`` to ``handed``, after which ``memory`` is to be remembered."""
        me, pool = threading.get_ident(), len(past.continued)
        kept = []
        for g in self.under_way:
            if any(g is each for each in past.continued):
                g = g._replace(uses=g.uses + 1)
                if g.uses >= pool:
                    continue
            kept.append(g)
        if not finished:
            lay, lies = _Location.of(given), _Location.of(handed)
            kept.append(Generation(timestep, lay, past.memory, lies, handed.detach(), memory, me))
        return _pruned(kept, self.beginning if past.recognised else self.beginning - {me})


def _pruned(under_way: Sequence[Generation], beginning: frozenset[int]) -> Generations:
    """Let go of samples that are too many, and of generations that nothing can continue."""
    holding = [i for i, g in enumerate(under_way) if g.sample is not None]
    too_many = set(holding[:-_HELD])
    kept = (g._replace(sample=None) if i in too_many else g for i, g in enumerate(under_way))
    return Generations(tuple(g for g in kept if g.sample is not None or g.handed.alive), beginning)


class _Handed(NamedTuple):
    """A sample that a counted step handed out.

    Attributes:
        sample: where it lies.
        place: of the next step in the schedule.
        memory: of the next step.
        old: whether ``set_timesteps`` was called since.
    """

    sample: _Location
    place: int
    memory: Memory
    old: bool = False


class Counted(NamedTuple):
    """The one generation of a scheduler that counts its steps; every change makes a new one.

    Attributes:
        memory: of the next step.
        handed: the samples that were handed out, the latest last.
        mixed: whether two generations were seen to take turns; until ``set_timesteps``.
    """

    memory: Memory = Memory()
    handed: tuple[_Handed, ...] = ()
    mixed: bool = False

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles know no samples: they go on with the memory."""
        return Counted, (self.memory, (), self.mixed)

    def begun(self) -> Counted:
        """Return the state after ``set_timesteps``."""
        return Counted(handed=tuple(h._replace(old=True) for h in self.handed))

    def is_mixed(self, x: Tensor, place: int | None) -> bool:
        """Whether ``x`` was handed out by another step than the one before ``place``, which is ``None`` at a start."""
        known = self._known(x)
        return self.mixed or (place is not None and known is not None and not known.old and known.place != place)

    def past(self, x: Tensor, place: int | None) -> Past:
        """Return what a step from ``x`` at ``place`` is to remember."""
        if place is None:
            return Past()
        known = self._known(x)
        return Past(known.memory if known is not None and known.place == place else self.memory)

    def after(self, handed: Tensor, memory: Memory, place: int) -> Counted:
        """Return the state after a step that handed out ``handed``; the next one is at ``place``."""
        alive = tuple(h for h in self.handed if h.sample.alive)
        return Counted(memory, (*alive, _Handed(_Location.of(handed), place, memory))[-_HELD:])

    def _known(self, x: Tensor) -> _Handed | None:
        return next((h for h in reversed(self.handed) if h.sample.is_that_of(x)), None)


def _fits(x: Tensor, y: Tensor | None) -> bool:
    return y is not None and x.shape == y.shape and x.device == y.device


def _kind(memory: Memory) -> Any:
    return [(p.shape, p.dtype, p.device) for p in memory.history[:1]]


def _next(schedule: Sequence[int], timestep: int) -> int | None:
    """Return the timestep after this one in a falling schedule."""
    return next((t for t in schedule if t < timestep), None)


def _most_alike(x: Tensor, pool: Sequence[Generation]) -> Memory:
    """Return, row by row, what the generation remembers whose last sample ``x``, shape (B, ...), is most like.

    A sample that was blended with a picture keeps some elements as they were, and may be nearer to another generation
    of the same picture: elements that are equal count first, and the distance where they do not decide.
    """
    exact = torch.promote_types(x.dtype, torch.float32)
    samples = torch.stack([g.sample.to(exact) for g in pool if g.sample is not None])
    apart = (samples - x.to(exact)).reshape(len(pool), len(x), -1)
    equal = (apart == 0).sum(2)
    distance = apart.square().sum(2).masked_fill(equal < equal.amax(0), torch.inf)
    found, rows = distance.argmin(0), torch.arange(len(x), device=x.device)
    histories = zip(*(g.after.history for g in pool), strict=False)  # to the depth that all of them have
    return Memory(tuple(torch.stack(past)[found, rows] for past in histories))
