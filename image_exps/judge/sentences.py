"""What was found, in sentences that a referee would sign: the same on the card, on the page and in `judge.json`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from image_exps.judge.verdict import PARTS, Verdict

__all__ = ["TITLES", "sentences"]

#: The questions as a reader asks them.
TITLES = {
    "right": "Right?",
    "good": "Good?",
    "robust": "Robust?",
    "behaviour": "Well-behaved?",
    "cost": "Cheap?",
    "same": "The same?",
}


def sentences(verdict: Verdict) -> dict[str, str]:
    """Return the sentence of each question that was asked."""
    made = {}
    for part in PARTS:
        if part not in verdict.content["parts"]:
            continue
        error = verdict.error(part)
        made[part] = f"Not answered: {error}." if error else _SENTENCES[part](verdict, verdict.part(part))
    return made


def _right(verdict: Verdict, found: dict[str, Any]) -> str:
    if found["draws"]:
        return _law(found)
    order, claimed = found["order"], verdict.content["claimed_order"]
    if found["consistent"] is False:
        limit = max((on["errors"][-1] for on in found["on"]), default=math.nan)
        left = f": in {found['on'][0]['counts'][-1]} steps an error of {limit:.2g} is left" if found["on"] else ""
        text = f"No: it does not tend to the exact flow{left}."
    else:
        text = "It tends to the exact flow" if found["consistent"] else "Whether it tends to the exact flow is open"
        if order["reason"]:
            text += f"; its order is not known, {order['reason']}."
        else:
            text += (
                f", with order {order['value']:.2f} [{order['low']:.2f}, {order['high']:.2f}]{_claim(order, claimed)}"
            )
            text += ", in float64." if found["exact"] else ", down to the rounding of float32."
    causes = [each for each in found["symptoms"] if not each.startswith("order lower")]
    return f"{text} Symptom: {'; '.join(causes)}." if causes else text


def _claim(order: dict[str, Any], claimed: float | None) -> str:
    if claimed is None:
        return "; it claims none"
    if order["low"] <= claimed <= order["high"]:
        return ", as it claims"
    return (
        f", not {claimed:g} as it claims" if order["high"] < claimed else f", more than the {claimed:g} that it claims"
    )


def _law(found: dict[str, Any]) -> str:
    last = [(each["target"], each["counts"][-1]) for each in found["law"]]
    if found["consistent"]:
        return (
            f"It draws. In {last[0][1]} steps its ends cannot be told from exact samples on "
            f"{' and '.join(name for name, _ in last)}, at an error of 1 %: right in law, as far as "
            f"{found['law'][0]['samples']} samples show."
        )
    over = max(
        max(each["frechet"][-1] / each["frechet_limit"], each["sliced"][-1] / each["sliced_limit"])
        for each in found["law"]
    )
    if found["consistent"] is None:
        return (
            f"It draws. In {last[0][1]} steps its ends are still {over:.2g} times as far as exact samples, and falling."
        )
    return (
        f"No: it draws, and in {last[0][1]} steps its ends are {over:.2g} times as far as exact samples, and stay so."
    )


def _behaviour(verdict: Verdict, found: dict[str, Any]) -> str:
    judged = [check for check in found["checks"] if check["ok"] is not None]
    failed = [check for check in judged if not check["ok"]]
    if not failed:
        return f"Yes, in all {len(judged)} things that were looked at."
    return "Not in: " + "; ".join(f"{check['name']} ({check['text']})" for check in failed) + "."


def _same(verdict: Verdict, found: dict[str, Any]) -> str:
    text = str(found["sentence"])
    return text[0].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _good(verdict: Verdict, found: dict[str, Any]) -> str:
    cells = [cell for cell in found["cells"] if cell["own"]]
    if not cells:
        return f"Not measured: {found['cells'][0]['reason']}." if found["cells"] else "Not measured."
    arms = [arm["verdict"] for cell in cells for arm in cell["baselines"]]
    best = [cell["baselines"][0]["verdict"] for cell in cells]
    low, high = (f(cell["best_ratio"] for cell in cells) for f in (min, max))
    return (
        f"Its mean distance to the flow's end is {low:.2f} to {high:.2f} times that of the best baseline; nearer than "
        f"the best in {best.count('nearer')} of {len(best)} cases, further in {best.count('further')}. Of all "
        f"{len(arms)} comparisons with baselines it is nearer in {arms.count('nearer')} and further in "
        f"{arms.count('further')} (Holm, 5 %)."
    )


def _robust(verdict: Verdict, found: dict[str, Any]) -> str:
    parts = []
    scales = [f["at"] for f in found["guidance"]]
    breaks = found["breaks"]
    if scales:
        parts.append(f"breaks at guidance {breaks:g}" if breaks else f"stands guidance up to {scales[-1]}")
    plain = next((f["value"] for f in found["errors"] if f["at"] == "none"), None)
    worst = max(
        (f for f in found["errors"] if f["value"] and f["at"] != "none"), key=lambda f: f["value"], default=None
    )
    if plain and worst:
        parts.append(
            f"a {worst['at']} error of the score takes its distance from {plain:.2g} to {worst['value']:.2g}, "
            f"DDIM's to {worst['other']:.2g}"
        )
    parts.append(found["worsens"] or "more evaluations never hurt")
    half = next((f for f in found["precision"] if f["at"] == "float16"), None)
    if half:
        parts.append(f"float16 moves it by {half['value']:.1%}" if half["value"] is not None else "float16 fails")
    text = "; ".join(parts)
    return text[0].upper() + text[1:] + "."


def _cost(verdict: Verdict, found: dict[str, Any]) -> str:
    rows, width = found["shape"]
    return (
        f"A step costs {found['step']:.2g} ms [{found['low']:.2g}, {found['high']:.2g}] beside the network, "
        f"{found['ratio']:.2g} times DDIM's, on {rows} x {width} numbers in float32 and one thread."
    )


_SENTENCES: dict[str, Callable[[Verdict, dict[str, Any]], str]] = {
    "right": _right,
    "behaviour": _behaviour,
    "same": _same,
    "good": _good,
    "robust": _robust,
    "cost": _cost,
}
