"""The setting that the search froze and its controls, by the names of their arms."""

from __future__ import annotations

__all__ = ["CONTROLS", "TUNED"]

#: The arm that the search is judged by.
TUNED = "ddim@tuned/tuned"

#: Its controls: the same weights with the norm restored or free, and noise of the size of its own change.
CONTROLS = ("ddim@tuned/tuned(restored=1.0)", "ddim@tuned/tuned(restored=0.0)", "ddim@tuned/tuned-noise")
