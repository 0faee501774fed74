"""The page on networks that nobody here trained, from the rows of the sweep `outside`: tables, and what they say.

``python -m image_exps.results.outside`` writes docs/explanation/outside-networks.md.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import click
import pandas as pd

from image_exps.samplers.baselines import is_baseline
from image_exps.samplers.names import parse_name
from image_exps.samplers.table import algorithm
from image_exps.sweeps.store import read_results
from image_exps.sweeps.tables import quality_table
from image_exps.utils.markup import markdown_table, markdown_text
from theory_checks.command_line.plain_errors import plain_errors
from toy.atomic import atomic

__all__ = ["best_baseline", "outside_rows", "page", "tables"]

_ROWS = Path(__file__).parent / "outside" / "results.parquet"
_PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "outside-networks.md"

_MEAN, _DISTRIBUTION = "endpoint-rmse", ("flow-frechet", "flow-sliced")
_TUNED = "ddim@tuned/tuned"

_LML = ("ddim/lml", "ddim@log-snr/lml", "ddim@karras/lml")
_FEW = 10
_ON_THIRD = ("dpm-solver-3m/lml", "dpm-solver-3m@karras/lml")

# The rows of the tables of this page; TABLES.md has all.
_SHOWN = (
    "ddim", "ddim@log-snr", "ddim/lml", "ddim@log-snr/lml", "ddim@karras/lml", "ddim@log-snr/noise", _TUNED, "pndm",
    "ipndm-4@log-snr", "ipndm-4@karras", "dpm-solver-3m", "dpm-solver-3m/lml", "dpm-solver++-2m", "dpm-solver++-3m",
    "unipc-2", "unipc-2@karras", "unipc-3",
)  # fmt: skip


def outside_rows(path: Path = _ROWS) -> pd.DataFrame:
    """Return the rows of the sweep."""
    return read_results(path)


def page(rows: pd.DataFrame) -> str:
    """Return the page."""
    head = [_wrapped(paragraph) for paragraph in _HEAD.format(**_facts(rows)).strip().split("\n\n")]
    said = "\n".join(_wrapped(f"- {sentence}", "  ") for sentence in _sentences(rows))
    return "\n\n".join([*head, said, *tables(rows), _END.strip()]) + "\n"


def _wrapped(text: str, indent: str = "") -> str:
    together = " ".join(text.split()).replace(" %", "\N{NO-BREAK SPACE}%")  # a percentage stays in its line
    lines = textwrap.fill(together, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return lines.replace("\N{NO-BREAK SPACE}", " ")


def tables(rows: pd.DataFrame) -> list[str]:
    """Return the tables of the page: of each network, of LML against DDIM, and of the distributions."""
    networks = _networks(rows)
    shown = rows[rows["arm"].isin(_SHOWN)]
    parts = ["## Distance to the network's own flow"]
    for name in networks:
        parts += [f"### {_short(name)}", _layout(shown, name, _MEAN)]
    parts += ["## LML against DDIM, noise by noise", _paired(rows, networks)]
    for name in networks:
        found = [d for d in _DISTRIBUTION if ((rows["target"] == name) & (rows["distance"] == d)).any()]
        if found:
            parts.append(f"## Does it look like the model? {_short(name)}")
            parts += [_layout(rows, name, distance) for distance in found]
    return [part.strip() for part in parts]


def _layout(rows: pd.DataFrame, name: str, distance: str) -> str:
    return quality_table(rows, target=name, distance=distance, model="network").to_markdown()


def _paired(rows: pd.DataFrame, networks: list[str]) -> str:
    """Return what LML takes away of DDIM's error at each spacing, and the share of samples that it brings nearer."""
    lines, columns = [], sorted(set(rows.loc[rows["arm"].isin(_LML) & (rows["distance"] == _MEAN), "evaluations"]))
    for name in networks:
        for arm in _LML:
            cells = [_gain(rows, name, arm, n) if _has(rows, name, arm, n) else "" for n in columns]
            if any(cells):
                lines.append([_short(name), _spacing(arm), *cells])
    head = ["network", "levels", *(f"{n} evaluations" for n in columns)]
    return (
        "Share of DDIM's mean error that is gone with LML, with its paired 95 % interval, the same of the median error "
        "and the share of samples that end nearer.\n\n" + markdown_table(head, lines, names=2)
    )


def _gain(rows: pd.DataFrame, name: str, arm: str, n: int) -> str:
    gain, nearer = (_row(rows, name, arm, n, f"endpoint-{kind}") for kind in ("gain", "nearer"))
    base = arm.partition("/")[0]
    median = 1 - _value(rows, name, arm, n, "endpoint-median") / _value(rows, name, base, n, "endpoint-median")
    return f"{gain['value']:.0%} [{gain['low']:.0%}, {gain['high']:.0%}]; median {median:.0%}; {nearer['value']:.0%}"


def best_baseline(rows: pd.DataFrame, name: str, n: int) -> str:
    """Return the sampler without a correction that ends nearest to a network's flow, in the mean."""
    found = rows[(rows["target"] == name) & (rows["evaluations"] == n) & (rows["distance"] == _MEAN)]
    found = found[[is_baseline(arm) for arm in found["arm"]]]
    return str(found.loc[found["value"].idxmin(), "arm"])


def _sentences(rows: pd.DataFrame) -> list[str]:
    """Return what the tables say, in five sentences; four where no distribution was compared."""
    cells = _cells(rows)
    gains = [_row(rows, name, arm, n, "endpoint-gain") for name, n in cells for arm in _LML if _has(rows, name, arm, n)]
    sure = sum(row["low"] > 0 for row in gains)
    noise = [_row(rows, name, "ddim@log-snr/noise", n, "endpoint-gain")["value"] for name, n in cells]
    best = {cell: best_baseline(rows, *cell) for cell in cells}
    at_best = {(name, n): _value(rows, name, arm, n, _MEAN) for (name, n), arm in best.items()}
    ratios = _ratios(rows, at_best, _LML)
    on_third = _ratios(rows, at_best, _ON_THIRD)
    third = {
        (name, n, arm): 1 - _value(rows, name, arm, n, _MEAN) / _value(rows, name, arm.removesuffix("/lml"), n, _MEAN)
        for name, n in cells
        for arm in _ON_THIRD
        if _has(rows, name, arm, n)
    }
    at_each = {n: [gain for (_, m, _), gain in third.items() if m == n] for _, n in cells}
    by_evaluations = ", ".join(f"{min(found):.0%} to {max(found):.0%} in {n}" for n, found in sorted(at_each.items()))
    tuned = {
        (name, n): _value(rows, name, _TUNED, n, _MEAN) / found
        for (name, n), found in at_best.items()
        if _has(rows, name, _TUNED, n)
    }
    names = pd.Series(best).value_counts()
    often = ", ".join(f"{markdown_text(name)} ({times})" for name, times in names.items())
    return [
        f"LML on DDIM ends nearer to the flow than DDIM, with its whole interval in {sure} of {len(gains)} cells: it "
        f"takes {min(g['value'] for g in gains):.0%} to {max(g['value'] for g in gains):.0%} of DDIM's mean error "
        f"away, noise of the same size {min(noise):.0%} to {max(noise):.0%}.",
        f"The best baseline is of higher order in every cell, {often}: the best LML on DDIM is "
        f"{_range(ratios)} times as far from the flow, the best LML on multistep DPM-Solver-3 {_range(on_third)} "
        f"times; they are nearer in {_below_one(ratios)} and {_below_one(on_third)} of {len(ratios)} cells.",
        f"On multistep DPM-Solver-3, levels equal in log-SNR or Karras', LML takes of the mean error away: "
        f"{by_evaluations} evaluations.",
        f"The learned setting, which was learned on other targets, is {_range(tuned)} times as far as the best "
        f"baseline: {_by_evaluations(tuned)}.",
        *_distributions(rows),
    ]


Ratios = dict[tuple[str, int], float]


def _ratios(rows: pd.DataFrame, to: Ratios, arms: Sequence[str]) -> Ratios:
    """Return the distance of the best of some arms over another, by network and evaluations."""
    return {
        (name, n): min(_value(rows, name, arm, n, _MEAN) for arm in arms if _has(rows, name, arm, n)) / other
        for (name, n), other in to.items()
    }


def _range(ratios: Ratios) -> str:
    return f"{min(ratios.values()):.2f} to {max(ratios.values()):.2f}"


def _below_one(ratios: Ratios) -> int:
    return sum(ratio < 1 for ratio in ratios.values())


def _by_evaluations(ratios: Ratios) -> str:
    parts = []
    for n in sorted({n for _, n in ratios}):
        found = [ratio for (_, m), ratio in ratios.items() if m == n]
        parts.append(f"{min(found):.2f} to {max(found):.2f} in {n}")
    return ", ".join(parts)


def _distributions(rows: pd.DataFrame) -> list[str]:
    """Return what the distances in distribution say, in a sentence; none where there are none."""
    if not (rows["distance"] == _DISTRIBUTION[0]).any():
        return []
    parts = []
    for name in _networks(rows):
        at = rows[(rows["target"] == name) & (rows["distance"] == _DISTRIBUTION[0])]
        for n in sorted(set(at["evaluations"])):
            found = at[at["evaluations"] == n].set_index("arm")
            base, lml = found.loc["ddim@log-snr"], found.loc["ddim@log-snr/lml"]
            parts.append(f"from {base['value']:.3g} to {lml['value']:.3g} in {n} evaluations on {_short(name)}")
    floor = rows[rows["distance"] == _DISTRIBUTION[0]].groupby("target")["floor"].first()
    beside = " and ".join(f"{value:.3g} on {_short(name)}" for name, value in floor.items())
    return [
        f"In distribution, too, LML brings DDIM nearer to the network's flow: the Frechet distance falls "
        f"{' and '.join(parts)}; that of two sets of draws of the flow itself is {beside}."
    ]


def _cells(rows: pd.DataFrame) -> list[tuple[str, int]]:
    """Return the networks and evaluations of which there are distances to the flow with LML."""
    found = rows[(rows["distance"] == _MEAN) & (rows["arm"] == _LML[1])]
    return list(dict.fromkeys(zip(found["target"], found["evaluations"], strict=True)))


def _has(rows: pd.DataFrame, name: str, arm: str, n: int) -> bool:
    return bool(((rows["target"] == name) & (rows["arm"] == arm) & (rows["evaluations"] == n)).any())


def _row(rows: pd.DataFrame, name: str, arm: str, n: int, distance: str) -> pd.Series:
    found = rows[
        (rows["target"] == name) & (rows["arm"] == arm) & (rows["evaluations"] == n) & (rows["distance"] == distance)
    ]
    return found.iloc[0]


def _value(rows: pd.DataFrame, name: str, arm: str, n: int, distance: str) -> float:
    return float(_row(rows, name, arm, n, distance)["value"])


def _networks(rows: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(rows["target"]))


def _short(name: str) -> str:
    return name.removeprefix("galaxy-")


def _spacing(arm: str) -> str:
    parts = parse_name(arm)
    return parts.spacing or algorithm(parts.base).spacing


def _facts(rows: pd.DataFrame) -> dict[str, str]:
    mean = rows[rows["distance"] == _MEAN]
    counts = "; ".join(f"{_short(name)} {found['count'].iloc[0]}" for name, found in mean.groupby("target", sort=False))
    errors = "; ".join(
        f"{_short(name)} {found['floor'].iloc[0]:.1g}" for name, found in mean.groupby("target", sort=False)
    )
    few = mean[mean["evaluations"] <= _FEW]
    worst = max(float(found["floor"].iloc[0] / found["value"].min()) for _, found in few.groupby("target", sort=False))
    return {
        "networks": ", ".join(_short(name) for name in _networks(rows)),
        "seed": ", ".join(map(str, sorted(set(rows["seed"])))),
        "counts": counts,
        "errors": errors,
        "worst": f"{worst:.0%}",
    }


_HEAD = """
# Networks that nobody here trained

Score networks of galaxies, {networks}, with the weights that their authors published (Sampson & Melchior 2024; the
package `galaxygrad`, which `make outside` installs). Nothing was tuned on them. A sampler is held against the network's
own flow: each noise has one end, and the distance to it is `|x - x_flow|/sqrt(d)` in the units of the network. Seed
{seed}, drawn for this alone; samples: {counts}. Intervals are of 95 %, by a bootstrap of the samples; those
of gains and shares are paired. All samplers start from the same noises, so that two of them differ with far more
certainty than their own intervals say; and the best of many was chosen on these noises.

The ends of the flow are those of 60 steps of DPM-Solver++ of third order. Half as many steps change them in the mean
by: {errors}. Held against 640 steps of DPM-Solver++ 2M on 16 noises of hsc-32 and ztf-32, their own error was about a
quarter of that. In up to 10 evaluations the change is at most {worst} of a distance; in 20 it is about as large as the
distances of the best, which are not to be told apart there.

What the tables say:
"""

_END = """
## All of it

Every sampler, spacing and distance (mean, root mean square, median, gain, share nearer):
`image_exps/results/outside/TABLES.md`. The rows are from

    python -m image_exps sweep outside

on a CPU. The complete grid, with every baseline, every control, LML on six bases, 1024 samples and 5 to 20 evaluations,
is one command on a GPU:

    python -m image_exps sweep outside-full --device cuda --workers 1

Distances in distribution are to draws of the flow from other noises, within 16 principal components of the pixels:
features of natural pictures are not asked about galaxies. The claims are [Q5](../ledger/Q5.md) and
[Q6](../ledger/Q6.md), on noises of their own.

```{figure} ../pictures/galaxies.png
:alt: Galaxies from the same noises by the network's flow, DDIM, LML on DDIM and the best baseline, with error maps

The same noises through the flow, DDIM, LML on DDIM and the best baseline.
```
"""


@click.command()
@plain_errors
def main() -> None:
    """Write the page of the documentation."""
    with atomic(_PAGE) as partial:
        partial.write_text(page(outside_rows()), encoding="utf-8")
    click.echo(_PAGE)


if __name__ == "__main__":
    main()
