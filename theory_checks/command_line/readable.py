"""Output for any terminal: what its encoding does not have is spelled out, and nothing stops because of it."""

from __future__ import annotations

import codecs
import sys
import unicodedata

__all__ = ["readable_output", "spelled_out"]

_NAME = "lml-spelled-out"

_WORDS = {
    "±": "+/-", "×": "x", "·": "*", "−": "-", "–": "-", "—": "-", "…": "...", "→": "->", "≤": "<=", "≥": ">=",
    "≈": "~", "√": "sqrt", "∇": "grad ", "∞": "inf", "°": " deg", "²": "^2", "³": "^3", "½": "1/2",
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "eps", "η": "eta", "θ": "theta", "κ": "kappa",
    "λ": "lambda", "μ": "mu", "π": "pi", "ρ": "rho", "σ": "sigma", "τ": "tau", "φ": "phi", "ψ": "psi", "Σ": "Sigma",
    "“": '"', "”": '"', "‘": "'", "’": "'",
}  # fmt: skip


def readable_output() -> None:
    """Let standard output and error spell out what they cannot encode, in place of a ``UnicodeEncodeError``."""
    codecs.register_error(_NAME, _spell)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # what stands in for a stream in a test may have none
        if reconfigure is not None:
            reconfigure(errors=_NAME)


def spelled_out(text: str) -> str:
    """Return a text in ASCII: a symbol as its word, a letter without its accent, anything else by its number."""
    return "".join(character if character.isascii() else _word(character) for character in text)


def _word(character: str) -> str:
    plain = _WORDS.get(character)
    if plain is None:
        plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return plain or character.encode("ascii", "backslashreplace").decode()


def _spell(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return spelled_out(error.object[error.start : error.end]), error.end
