"""Plain text with formulas in it, as claims and findings write them for the terminal, set for a page."""

from __future__ import annotations

import re

from markupsafe import Markup, escape

__all__ = ["typeset"]

_WORDS = {
    "alpha": "α",
    "delta": "δ",
    "eps": "ε",
    "eta": "η",
    "eta0": "η<sub>0</sub>",
    "kappa": "κ",
    "lambda": "λ",
    "mu": "μ",
    "phi": "φ",
    "rho": "ρ",
    "sigma": "σ",
    "tau": "τ",
    "zeta": "ζ",
    "div": "∇·",
    "grad": "∇",
    "hess": "∇²",
    "sqrt": "√",
}
_SIGNS = {"&lt;=": "≤", "&gt;=": "≥", "-&gt;": "→", "+-": "±"}

_WORD = re.compile(r"(?<![\w.])(" + "|".join(sorted(_WORDS, key=len, reverse=True)) + r")(?![\w.]\w)(?!\w)")
# Not within a name: of dpm-solver++-3m the last two signs are a plus and a hyphen.
_SIGN = re.compile(r"(?<!\+)(?:" + "|".join(re.escape(sign) for sign in _SIGNS) + ")")
_ROOT = re.compile(r"√\((\w)\)")
_POWER = re.compile(r"\^(?:\{([^{}]*)\}|\(([^()]*)\)|(-?[\w]+))")
_INDEX = re.compile(r"(?<![\w.])([A-Za-z]|[α-ω])_([a-z0-9]{1,3})(?![\w.(])")


def typeset(text: str) -> Markup:
    """Return HTML in which Greek letters, powers, indices and relations look as in print; everything is escaped."""
    html = str(escape(text))
    html = _SIGN.sub(lambda m: _SIGNS[m[0]], html)
    html = _INDEX.sub(r"\1<sub>\2</sub>", html)
    html = _WORD.sub(lambda m: _WORDS[m[1]], html)
    html = _ROOT.sub(r"√\1", html).replace("∇· ", "∇·")
    html = _POWER.sub(lambda m: f"<sup>{m[1] or m[2] or m[3]}</sup>", html)
    return Markup(html)
