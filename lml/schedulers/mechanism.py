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
"""

# mypy: disallow-subclassing-any=False
from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from diffusers.configuration_utils import register_to_config
from torch import Tensor

from lml.correction import Correction, Memory
from lml.schedulers.coefficients import IDENTITY, Affine, Evaluation
from lml.schedulers.options import DEFAULTS, correction_of, parameters_of

__all__ = ["LMLSchedulerMixin", "constructor"]


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
        variant: ``algorithm1``, or ``released``: what the paper's published code does (claim K5; DDIM with ``eta = 0``
            and the deterministic multistep DPM-Solvers). That one evaluates its expression at ``mixing = 0`` too.
        start, stop: LML acts on the part ``[start, stop)`` of the schedule.

    Raises:
        ValueError: at construction, for an option out of range, naming it.
    """

    _noise: ClassVar[Callable[[Any, Evaluation], Affine | None]]
    _update: ClassVar[Callable[..., tuple[Tensor, Any]] | None] = None
    _base: ClassVar[Any]
    _lml_memory: Memory = Memory()
    _lml_timestep: int | None = None
    _lml_schedule: tuple[float, ...] | None = None

    def __init_subclass__(
        cls,
        noise: Callable[[Any, Evaluation], Affine | None] | None = None,
        update: Callable[..., tuple[Tensor, Any]] | None = None,
        mixing: float = DEFAULTS["mixing"],
        **kwargs: Any,
    ) -> None:
        """Give the class the constructor, ``step`` and ``set_timesteps`` of its base, with LML.

        Args:
            noise: gives the coefficients of the noise in an output.
            update: gives the vector that the ``released`` variant turns, for bases that have one.
            mixing: the default of the class.
            **kwargs: for other classes in the statement.
        """
        super().__init_subclass__(**kwargs)
        if noise is None:
            return
        base: Any = cls.__bases__[1]
        cls._base = base
        cls._noise = staticmethod(noise)
        cls._update = staticmethod(update) if update else None
        # Pipelines read these signatures to know what a scheduler takes.
        made: Any = cls
        made.__init__ = constructor(base, {**DEFAULTS, "mixing": mixing})
        made.step = _step(base)
        made.set_timesteps = _set_timesteps(base)

    def _check(self, options: Mapping[str, Any]) -> None:
        """Refuse, at construction, options that do not fit."""
        if options["variant"] == "released" and self._update is None:
            raise ValueError(f"variant must be 'algorithm1' for {type(self).__name__}, got {options['variant']!r}")
        correction_of(options)

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

    def _turned(self, call: dict[str, Any], at: Evaluation, correction: Correction) -> tuple[Tensor, Memory]:
        """Return the output in which the noise is corrected, and what the next evaluation remembers."""
        m: Tensor = call["model_output"]
        split = self._split(call, at)
        if split is None:
            return m, Memory()
        noise, affine = split
        turned, memory = correction.correct(noise, self._remembered(noise, at.timestep), self._progress(at))
        return m if turned is noise else _put_back(m, noise, turned, affine), memory

    def _remembered(self, noise: Tensor, timestep: Any) -> Memory:
        """Return the memory, or an empty one where it belongs to another generation."""
        memory = self._lml_memory
        like = all(p.shape == noise.shape and p.dtype == noise.dtype and p.device == noise.device for p in memory[0])
        return memory if like and not self._restarts(timestep) else Memory()

    def _restarts(self, timestep: Any) -> bool:
        """Whether this timestep begins a generation, in a base that does not count its steps."""
        return False


def _put_back(m: Tensor, noise: Tensor, turned: Tensor, affine: Affine) -> Tensor:
    """Return the output in which the noise is ``turned``: ``m + (turned - noise)/b``, in the dtype of ``m``."""
    if affine is IDENTITY:
        m = m[:, : turned.shape[1]] if m.ndim > 1 else m
        return torch.where(torch.isfinite(m), turned, m)
    b = torch.as_tensor(affine.b)
    inverse = torch.where(b == 0, torch.zeros_like(b), 1 / b)
    return (m.to(turned.dtype) + (turned - noise) * inverse).to(m.dtype)


def constructor(base: Any, defaults: Mapping[str, Any]) -> Any:
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


def _set_timesteps(base: Any) -> Callable[..., None]:
    @functools.wraps(base.set_timesteps)
    def set_timesteps(self: Any, *args: Any, **kwargs: Any) -> None:
        self._lml_memory = Memory()
        self._lml_timestep = None
        base.set_timesteps(self, *args, **kwargs)
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
        if correction.site == "update":
            return _released(self, base, bound, correction)
        # At the first evaluation the base goes first, with all of its own checks: there is nothing to correct.
        first = not self._lml_memory.history
        result = base.step(*bound.args, **bound.kwargs) if first else None
        at = self._evaluation(call, made=first)
        call["model_output"], memory = self._turned(call, at, correction)
        if not first:
            result = base.step(*bound.args, **bound.kwargs)
        self._lml_memory, self._lml_timestep = memory, at.timestep
        return result

    return step


def _released(self: Any, base: Any, bound: inspect.BoundArguments, correction: Correction) -> Any:
    """Make the base's step, then turn what it added: ``rest + scale u`` becomes ``rest + scale u'``."""
    call = bound.arguments
    if call.get("eta") or self.config.get("algorithm_type", "").startswith("sde-"):
        raise ValueError("variant must be 'algorithm1' where the base draws noise, got 'released'")
    result = base.step(*bound.args, **bound.kwargs)
    at = self._evaluation(call, made=True)
    split = self._split(call, at)
    after = result[0]
    if split is None:
        return result
    u, scale = type(self)._update(self, split[0], at, call["sample"], after)
    turned, self._lml_memory = correction.correct(u, self._remembered(u, at.timestep))
    self._lml_timestep = at.timestep
    after = after + (scale * (turned - u)).to(after)
    if isinstance(result, tuple):
        return (after, *result[1:])
    result.prev_sample = after
    return result
