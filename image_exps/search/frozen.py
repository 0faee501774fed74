"""The setting that the search froze, as arms: ``ddim@tuned/tuned``, its controls, and every baseline ``@tuned``.

Importing this module adds them to `image_exps.samplers.arms.CORRECTIONS`.
"""

from __future__ import annotations

from image_exps.samplers.arms import BASES, CORRECTIONS, Setting
from lml.controls import MatchedNoise
from lml.profile import Profile
from lml.tuned import tuned_profile

__all__ = ["CONTROLS", "TUNED", "tuned"]

#: The arm that is to win.
TUNED = "ddim@tuned/tuned"

#: Its controls: the same weights with the norm restored or free, and noise of the size of its own change.
CONTROLS = ("ddim@tuned/tuned(restored=1.0)", "ddim@tuned/tuned(restored=0.0)", "ddim@tuned/tuned-noise")


def tuned(setting: Setting, restored: float | None = None) -> Profile:
    """Return the profile for the evaluations of a setting.

    Raises:
        ValueError: for a base other than DDIM, or evaluations that no profile was learned for.
    """
    if setting.base is not BASES["ddim"]:
        raise ValueError("base must be ddim: the weights of the tuned profile are those of a whole method on it")
    return tuned_profile(setting.evaluations, restored=restored)


def _noise(setting: Setting) -> MatchedNoise:
    return MatchedNoise(tuned(setting), setting.generators)


CORRECTIONS["tuned"] = tuned
CORRECTIONS["tuned-noise"] = _noise
