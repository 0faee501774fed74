"""The league: the judge's questions to every sampler in use, one after another, as rows of one table.

python -m image_exps.judge.league --out out/league

A run that was stopped goes on where it was: every answer is kept as `image_exps.judge.records` keeps it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from image_exps.judge.judged import CannotRunError
from image_exps.judge.run import judge
from image_exps.judge.sentences import sentences
from image_exps.judge.verdict import PARTS
from theory_checks.command_line.plain_errors import plain_errors
from toy.atomic import atomic

__all__ = ["ENTRIES", "Entry", "row"]


class Entry(NamedTuple):
    """A sampler of the league.

    Attributes:
        what: as of `image_exps.judge.what`.
        interface: what the web interfaces call it; empty if they do not.
        same_as: the sampler that this name means there; empty if there is none to compare with.
    """

    what: str
    interface: str = ""
    same_as: str = ""


def _diffusers(name: str, options: str = "", interface: str = "", same_as: str = "") -> Entry:
    of = f"k_diffusion.sampling:sample_{same_as}" if same_as else ""
    return Entry(f"diffusers:{name}Scheduler{options}", interface, of)


_KARRAS = '{"use_karras_sigmas": true}'
_K = ("euler", "euler_ancestral", "heun", "dpm_2", "dpm_2_ancestral", "lms", "dpm_fast", "dpmpp_2s_ancestral",
      "dpmpp_sde", "dpmpp_2m", "dpmpp_2m_sde", "dpmpp_3m_sde")  # fmt: skip
_OURS = ("ddim", "pndm", "ipndm-4", "dpm-solver-3m", "dpm-solver++-2m", "dpm-solver++-3m", "unipc-2", "unipc-3", "heun")

#: Every entry: schedulers of diffusers that sample continuous data, with the options that change the algorithm; the
#: samplers of k-diffusion; ours, without and with LML.
ENTRIES: tuple[Entry, ...] = (
    _diffusers("DDIM"),
    _diffusers("DDIM", '{"timestep_spacing": "trailing"}'),
    _diffusers("DDIM", '{"timestep_spacing": "linspace"}'),
    _diffusers("DDPM"),
    _diffusers("PNDM"),
    _diffusers("PNDM", '{"skip_prk_steps": true}'),
    _diffusers("LMSDiscrete", "", "LMS", "lms"),
    _diffusers("LMSDiscrete", _KARRAS, "LMS Karras", "lms"),
    _diffusers("EulerDiscrete", "", "Euler", "euler"),
    _diffusers("EulerAncestralDiscrete", "", "Euler a", "euler_ancestral"),
    _diffusers("HeunDiscrete", "", "Heun", "heun"),
    _diffusers("KDPM2Discrete", "", "DPM2", "dpm_2"),
    _diffusers("KDPM2Discrete", _KARRAS, "DPM2 Karras", "dpm_2"),
    _diffusers("KDPM2AncestralDiscrete", "", "DPM2 a", "dpm_2_ancestral"),
    _diffusers("DPMSolverMultistep", "", "DPM++ 2M", "dpmpp_2m"),
    _diffusers("DPMSolverMultistep", _KARRAS, "DPM++ 2M Karras", "dpmpp_2m"),
    _diffusers("DPMSolverMultistep", '{"solver_order": 3}'),
    _diffusers("DPMSolverMultistep", '{"solver_type": "heun"}'),
    _diffusers("DPMSolverMultistep", '{"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min"}'),
    _diffusers("DPMSolverMultistep", '{"algorithm_type": "sde-dpmsolver++"}', "DPM++ 2M SDE", "dpmpp_2m_sde"),
    _diffusers("DPMSolverSinglestep"),
    _diffusers("DPMSolverSinglestep", '{"solver_order": 3}'),
    _diffusers("DPMSolverSinglestep", _KARRAS, "DPM++ SDE Karras", "dpmpp_sde"),
    _diffusers("DPMSolverSDE", "", "DPM++ SDE", "dpmpp_sde"),
    _diffusers("DPMSolverSDE", _KARRAS, "DPM++ SDE Karras", "dpmpp_sde"),
    _diffusers("DEISMultistep"),
    _diffusers("DEISMultistep", '{"solver_order": 3}'),
    _diffusers("UniPCMultistep", "", "UniPC"),
    _diffusers("UniPCMultistep", '{"solver_order": 3}'),
    _diffusers("UniPCMultistep", '{"solver_order": 3, "final_sigmas_type": "sigma_min"}'),
    _diffusers("SASolver"),
    _diffusers("IPNDM"),
    _diffusers("LCM"),
    _diffusers("TCD"),
    _diffusers("UnCLIP"),
    _diffusers("CogVideoXDDIM"),
    _diffusers("CogVideoXDPM"),
    _diffusers("EDMEuler"),
    _diffusers("EDMDPMSolverMultistep"),
    _diffusers("CosineDPMSolverMultistep"),
    _diffusers("FlowMatchEulerDiscrete"),
    _diffusers("FlowMatchHeunDiscrete"),
    _diffusers("FlowMatchLCM"),
    *(Entry(f"k_diffusion.sampling:sample_{name}") for name in _K),
    *(Entry(name) for name in _OURS),
    *(Entry(f"{name}/lml") for name in _OURS),
)


def row(entry: Entry, out: Path, *, profile: str = "quick", parts: Sequence[str] = PARTS) -> dict[str, Any]:
    """Return one row of the table; what cannot be judged is a row that says why.

    Args:
        entry: of the league.
        out: folder of the answers, one folder an entry.
        profile: "quick" or "full".
        parts: the questions.
    """
    made: dict[str, Any] = {"what": entry.what, "interface": entry.interface, "same_as": entry.same_as}
    folder = out / "".join(c if c.isalnum() or c in "-+." else "_" for c in f"{entry.what} {entry.same_as}".strip())
    try:
        found = judge(entry.what, profile=profile, parts=parts, same_as=entry.same_as or None, out=folder, resume=True)
    except CannotRunError as error:
        return {**made, "remark": str(error)}
    order = found.part("right").get("order") or {}
    for cell in found.part("good").get("cells", []):
        made[f"ratio {cell['target']} {cell['evaluations']}"] = cell["best_ratio"]
    return {
        **made,
        "claimed order": found.content["claimed_order"],
        "order": order.get("value"),
        "order low": order.get("low"),
        "order high": order.get("high"),
        "draws": found.draws,
        "consistent": found.consistent,
        "symptoms": "; ".join(found.part("right").get("symptoms", [])),
        "is what it is called": found.part("same").get("same"),
        "worst ratio": found.ratio,
        "cost": found.part("cost").get("ratio"),
        "remark": " ".join(sentences(found).get(part, "") for part in ("right", "same")).strip(),
    }


@click.command()
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("out/league"), show_default=True,
              help="Folder of the answers and of league.parquet.")  # fmt: skip
@click.option("--profile", type=click.Choice(["quick", "full"]), default="quick", show_default=True)
@click.option("--only", "parts", multiple=True, type=click.Choice(PARTS), help="This question only. Can be repeated.")
@click.option("--match", default="", help="Entries whose name holds this text.")
@plain_errors
def main(out: Path, profile: str, parts: tuple[str, ...], match: str) -> None:
    """Judge every entry, and write league.parquet: a row an entry."""
    import pandas as pd

    out.mkdir(parents=True, exist_ok=True)
    entries = [entry for entry in ENTRIES if match in entry.what]
    if not entries:
        raise click.BadParameter(f"no entry's name holds {match!r}", param_hint="--match")
    rows = []
    for i, entry in enumerate(entries):
        rows.append(row(entry, out / "answers", profile=profile, parts=parts or PARTS))
        click.echo(f"{i + 1} of {len(entries)}  {entry.what}: {rows[-1]['remark']}")
        with atomic(out / "league.parquet") as path:
            pd.DataFrame(rows).to_parquet(path)


if __name__ == "__main__":
    main()
