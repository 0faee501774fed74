r"""One mechanism that puts LML before any diffusers scheduler.

``step(m, t, x)`` of a scheduler receives the output ``m`` of the network at the sample ``x``. Whatever the prediction
type, the noise in it is affine, ``eps = a x + b m`` (`lml.schedulers.coefficients`). LML turns it, ``eps'``, and the
base's own step is handed ``m' = m + (eps' - eps)/b``. So every evaluation of the network is corrected against the ones
before it, also the inner ones of a step that has several; and whatever the base does with an output (thresholding,
clipping, multistep terms, drawing noise) it does with the corrected one. In a stochastic base LML turns the noise
*prediction*, hence the drift; what is drawn stays as it is.

Nothing is changed, bit for bit, where there is nothing to correct: at ``mixing = 0``, at the first evaluation, outside
of ``[start, stop)``, and where ``b = 0`` (the output says nothing of the noise). A number that is not finite is passed
on as it is, and counts as no noise for the rest of its sample.

Which past noises a step remembers is decided by the sample that it continues (`lml.schedulers.generations`). They are
remembered without their graph: in a derivative of a step they are constants. So a loop that calls ``backward()`` in
every step works where the base's does, and no activation outlives its step. The derivative of a whole trajectory
through several steps lacks what flows through the remembered noises; `lml.samplers` has all of it.
"""

# mypy: disallow-subclassing-any=False
from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from diffusers.configuration_utils import register_to_config
from torch import Tensor

from lml.correction import Correction, Memory
from lml.schedulers.coefficients import IDENTITY, Affine, Evaluation, flow
from lml.schedulers.families import check_family
from lml.schedulers.generations import Counted, Generations, Past
from lml.schedulers.options import DEFAULTS, correction_of, parameters_of
from lml.schedulers.released import Step, Turn, ddim_direction

__all__ = ["LMLSchedulerMixin", "refusing_unknown"]

# Held while the state of a scheduler is exchanged. One for all: a lock of a scheduler's own could not be copied.
_EXCHANGE = threading.Lock()


class LMLSchedulerMixin:
    r"""Adds LML to the scheduler that follows it in a class statement.

    ``class LMLDDIMScheduler(LMLSchedulerMixin, DDIMScheduler, noise=table)`` has the constructor of the base with these
    keyword arguments besides, which are part of its config:

    Args:
        damping: ``lambda`` or its share of ``|eps|^2``, positive.
        mixing: ``kappa`` in [0, 1); zero is the base scheduler, bit for bit. The default is the class's own, and a
            default is not handed on: `from_config` keeps a mixing that was given, also by way of other classes, and
            otherwise takes the default of the new class. A saved file does not tell the two apart: what is read from
            one counts as given.
        damping_mode: one of `lml.damping.DAMPING_MODES`.
        rank: how many past noises span the geometry; the paper's is one.
        variant: ``algorithm1``, or ``released``: what the paper's published code does (claim K5,
            `lml.schedulers.released`: DDIM, the deterministic multistep DPM-Solvers, flow-matching Euler). That one
            evaluates its expression at ``mixing = 0`` too.
        start, stop: LML acts on the part ``[start, stop)`` of the schedule.
        norm: of the turned noise, one of `lml.extrapolated_norm.NORMS`: ``kept``, as in the paper and in files that
            were saved without this option, or ``extrapolated`` as the direction is.

    One scheduler can serve generations that take turns, also in several threads, where its base can, which is DDIM
    (`lml.schedulers.generations`); the others serve one at a time.

    Raises:
        ValueError: at construction, for an option out of range, naming it, and for a config of another family of
            models. From ``step``, where two generations are seen to take turns in a scheduler that serves one at a
            time.
    """

    _noise: ClassVar[Callable[[Any, Evaluation], Affine | None]]
    _released: ClassVar[Callable[[Any, Step, dict[str, Any], Turn], Any] | None] = None
    _base: ClassVar[Any]
    _flow: ClassVar[bool] = False
    _lml_past: Generations | Counted = Counted()
    _lml_schedule: tuple[int, ...] | None = None

    def __init_subclass__(
        cls,
        noise: Callable[[Any, Evaluation], Affine | None] | None = None,
        released: Callable[[Any, Step, dict[str, Any], Turn], Any] | None = None,
        counts: bool = True,
        mixing: float = DEFAULTS["mixing"],
        **kwargs: Any,
    ) -> None:
        """Give the class the constructor, ``step`` and ``set_timesteps`` of its base, with LML.

        Args:
            noise: gives the coefficients of the noise in an output.
            released: makes the step of the ``released`` variant, for bases that the published code has.
            counts: whether the base counts its steps, and so serves one generation at a time.
            mixing: the default of the class.
            **kwargs: for other classes in the statement.
        """
        super().__init_subclass__(**kwargs)
        if noise is None:
            return
        base: Any = cls.__bases__[1]
        cls._base = base
        cls._noise = staticmethod(noise)
        cls._flow = noise is flow
        cls._released = staticmethod(released) if released else None
        cls._lml_past = Counted() if counts else Generations()
        # Pipelines read these signatures to know what a scheduler takes.
        made: Any = cls
        made.__init__ = _constructor(base, {**DEFAULTS, "mixing": mixing})
        made.step = _step(base)
        made.set_timesteps = _set_timesteps(base)

    def _check(self, options: Mapping[str, Any]) -> None:
        """Refuse, at construction, options that do not fit."""
        if options["variant"] == "released" and self._released is None:
            raise ValueError(f"variant must be 'algorithm1' for {type(self).__name__}, got {options['variant']!r}")
        correction_of(options)
        if options["variant"] == "released" and options["start"] and type(self)._released is not ddim_direction:
            raise ValueError(f"start must be 0 with variant='released' but for DDIM, got {options['start']!r}")

    @classmethod
    def from_config(cls, config: Any = None, return_unused_kwargs: bool = False, **kwargs: Any) -> Any:
        """Return a scheduler of a config, as diffusers does; ``kwargs`` go before it.

        Raises:
            ValueError: for a config of another family of models.
        """
        if isinstance(config, Mapping):
            check_family(cls.__name__, {**config, **kwargs}, flow=cls._flow)
        made: Any = super()
        return made.from_config(config, return_unused_kwargs, **kwargs)

    @classmethod
    def _get_compatibles(cls) -> list[type]:
        return [cls, *cls._base._get_compatibles()]

    def _correction(self) -> Correction:
        return correction_of(self.config)  # type: ignore[attr-defined]

    def _evaluation(self, call: dict[str, Any], *, made: bool) -> Evaluation:
        """Return where the network was evaluated, for a ``step`` that is to be made or was made."""
        tokens = call.get("per_token_timesteps")
        place: int | None = getattr(self, "step_index", None)
        return Evaluation(call["timestep"], 0 if place is None else place - made, tokens)

    def _progress(self, at: Evaluation) -> float:
        """Return the part of the schedule that is done: its share of timesteps that lie before this one."""
        if self._lml_schedule is None:
            length: int = len(self.timesteps)  # type: ignore[attr-defined]
            return at.place / length
        earlier = [t for t in self._lml_schedule if t > at.timestep]
        return len(earlier) / max(1, len(self._lml_schedule))

    def _split(self, call: dict[str, Any], at: Evaluation) -> tuple[Tensor, Affine] | None:
        """Return the noise in an output, and what it was made with; ``None`` for an unknown prediction type."""
        m, x = call["model_output"], call["sample"]
        affine = type(self)._noise(self, at)
        if affine is None:
            return None
        if affine is IDENTITY:
            learned = self.config.get("variance_type") in ("learned", "learned_range")  # type: ignore[attr-defined]
            if learned and m.shape != x.shape:
                m = m[:, :3]  # the rest is a variance, which the base drops in the same way
            noise = m
        else:
            exact = torch.promote_types(torch.promote_types(m.dtype, x.dtype), torch.float32)
            noise = affine.a * x.to(exact) + affine.b * m.to(exact)
        # A copy in any case: a network may reuse the memory of its output.
        return torch.nan_to_num(noise, nan=0.0, posinf=0.0, neginf=0.0), affine

    def _turned(
        self, call: dict[str, Any], at: Evaluation, correction: Correction, memory: Memory
    ) -> tuple[Tensor, Memory]:
        """Return the output in which the noise is corrected, and what the next evaluation remembers."""
        m: Tensor = call["model_output"]
        split = self._split(call, at)
        if split is None:
            return m, Memory()
        noise, affine = split
        turned, memory = correction.correct(noise, self._fitting(memory, noise, at), self._progress(at))
        return m if turned is noise else _put_back(m, noise, turned, affine), memory

    def _fitting(self, memory: Memory, noise: Tensor, at: Evaluation) -> Memory:
        """Return the memory, or an empty one where its noises are not like this one: of another batch or dtype."""
        like = all(p.shape == noise.shape and p.dtype == noise.dtype and p.device == noise.device for p in memory[0])
        return memory if like else Memory()

    def _place(self) -> int | None:
        """Return the place of the next step in the schedule, of a base that counts; ``None`` where it begins."""
        place: int | None = getattr(self, "step_index", None)
        return place

    def _past(self, call: Mapping[str, Any]) -> Past:
        """Return what a step remembers.

        Raises:
            ValueError: where two generations take turns in a scheduler that serves one at a time.
        """
        state, x = self._lml_past, call["sample"]
        if isinstance(state, Generations):
            return state.past(x, call["timestep"], self._lml_schedule or ())
        place = self._place()
        if state.is_mixed(x, place):
            self._lml_past = state._replace(mixed=True)
            raise ValueError(
                f"sample must be what the step before handed out, but another generation has made that step: "
                f"{type(self).__name__} counts its steps, as its base does, and serves one generation at a time. Give "
                "each its own, copy.deepcopy(scheduler), and begin them again with set_timesteps"
            )
        return state.past(x, place)

    def _begin(self) -> None:
        """Take note that the timesteps have been set."""
        with _EXCHANGE:
            self._lml_past = self._lml_past.begun()

    def _keep(self, past: Past, call: Mapping[str, Any], handed: Tensor, memory: Memory) -> None:
        """Remember a step that was made, without graphs."""
        memory = Memory(tuple(p.detach() for p in memory.history))
        with _EXCHANGE:
            state = self._lml_past
            if isinstance(state, Generations):
                t, schedule = call["timestep"], self._lml_schedule or ()
                finished = t == schedule[-1] if schedule else False
                self._lml_past = state.after(past, call["sample"], handed, memory, t, finished=finished)
            else:
                self._lml_past = state.after(handed, memory, self._place() or 0)


def _put_back(m: Tensor, noise: Tensor, turned: Tensor, affine: Affine) -> Tensor:
    """Return the output in which the noise is ``turned``: ``m + (turned - noise)/b``, in the dtype of ``m``."""
    if affine is IDENTITY:
        m = m[:, : turned.shape[1]] if m.ndim > 1 else m
        return torch.where(torch.isfinite(m), turned, m)
    b = torch.as_tensor(affine.b)
    inverse = torch.where(b == 0, torch.zeros_like(b), 1 / b)
    return (m.to(turned.dtype) + (turned - noise) * inverse).to(m.dtype)


def _constructor(base: Any, defaults: Mapping[str, Any]) -> Any:
    """Return the constructor of a base with more options: keywords, part of the config, refused by ``_check``.

    Args:
        base: a class of diffusers.
        defaults: of the options, by name.
    """
    undecorated = inspect.unwrap(base.__init__)
    signature = inspect.signature(undecorated)

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        options = {name: kwargs.pop(name, default) for name, default in defaults.items()}
        undecorated(self, *args, **kwargs)  # the config is registered once, by the decorator of this function
        self._check(options)

    __init__.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*signature.parameters.values(), *parameters_of(defaults)]
    )
    return register_to_config(__init__)  # type: ignore[no-untyped-call]


def refusing_unknown(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method of a scheduler that refuses arguments which it does not have by a ``ValueError``."""
    signature = inspect.signature(method)
    names = ", ".join(list(signature.parameters)[1:])

    @functools.wraps(method)
    def checked(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            signature.bind(self, *args, **kwargs)
        except TypeError as error:
            raise ValueError(f"{method.__name__} of {type(self).__name__} takes {names}: {error}") from None
        return method(self, *args, **kwargs)

    return checked


def _set_timesteps(base: Any) -> Callable[..., None]:
    @refusing_unknown
    @functools.wraps(base.set_timesteps)
    def set_timesteps(self: Any, *args: Any, **kwargs: Any) -> None:
        base.set_timesteps(self, *args, **kwargs)
        self._begin()
        if not hasattr(base, "step_index"):
            self._lml_schedule = tuple(self.timesteps.tolist())

    return set_timesteps


def _step(base: Any) -> Callable[..., Any]:
    signature = inspect.signature(base.step)

    @functools.wraps(base.step)
    def step(self: Any, *args: Any, **kwargs: Any) -> Any:
        correction = self._correction()
        if correction.depth == 0:
            return base.step(self, *args, **kwargs)
        bound = signature.bind(self, *args, **kwargs)
        call = bound.arguments
        if self._lml_schedule is not None:
            # Looked up in a table several times by the base: one wait for the device here, none there.
            call["timestep"] = int(call["timestep"])
        past = self._past(call)
        if correction.site == "update":
            return _step_as_released(self, base, bound, correction, past)
        # At the first evaluation the base goes first, with all of its own checks: there is nothing to correct.
        first = not past.memory.history
        result: Any = base.step(*bound.args, **bound.kwargs) if first else None
        at = self._evaluation(call, made=first)
        call["model_output"], memory = self._turned(call, at, correction, past.memory)
        if not first:
            result = base.step(*bound.args, **bound.kwargs)
        self._keep(past, call, result[0], memory)
        return result

    return step


def _step_as_released(self: Any, base: Any, bound: inspect.BoundArguments, correction: Correction, past: Past) -> Any:
    """Make the step of the published code, in which one vector is turned."""
    call, kept = bound.arguments, Memory()

    def turn(vector: Tensor, rounded: torch.dtype | None = None) -> Tensor:
        nonlocal kept
        at = self._evaluation(call, made=False)
        memory, kept = self._fitting(past.memory, vector, at), Memory((vector,))
        # Rounded where the published code rounds; what is remembered is not, and decides the dtype from then on.
        v = vector if rounded is None else vector.to(rounded)
        exact = functools.reduce(torch.promote_types, (p.dtype for p in memory.history), v.dtype)
        turned, _ = correction.correct(v.to(exact), Memory(tuple(p.to(exact) for p in memory.history)))
        return turned

    result = type(self)._released(self, lambda: base.step(*bound.args, **bound.kwargs), call, turn)
    self._keep(past, call, result[0], kept)
    return result
