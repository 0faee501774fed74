"""Everything that needs a GPU, in one command of eight minutes at most: ``make gpu``.

Each part is a process of its own with its own limit, so that one that fails or hangs costs no other. Results are
written to ``benchmarks/results/<card>.json`` as they come; the tables of the documentation are drawn from these files.

- ``tests``: the tests that need CUDA.
- ``bandwidth``: bytes that one rotation moves a second, beside those of a copy.
- ``launches``: kernels that one rotation starts.
- ``waits``: steps of every scheduler with LML in which the host waits for the GPU. There should be none.
- ``cost``: LML beside the network and beside DDIM, on networks of full size with random weights (the paper's Table 5).
- ``generation``: a shipped network, from noise to pictures, with and without LML.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"

#: Seconds that each part may take, in the order in which they run; 8 minutes in all.
LIMITS = {"launches": 30, "bandwidth": 45, "waits": 45, "generation": 45, "cost": 195, "tests": 120}

#: Networks of full size and dtypes of the part ``cost``, the quickest first.
SIZES, DTYPES = ("sd15", "pixart", "sdxl"), ("float16", "bfloat16")


def rotation_pair(rows: int, d: int, dtype: str) -> tuple[Any, Any]:
    """Return a noise and a previous one on the GPU, (rows, d)."""
    import torch

    generator = torch.Generator("cuda").manual_seed(0)
    options: dict[str, Any] = {"device": "cuda", "dtype": getattr(torch, dtype), "generator": generator}
    return torch.randn((rows, d), **options), torch.randn((rows, d), **options)


def seconds_of(call: Callable[[], object], repetitions: int = 50) -> float:
    """Return the median seconds of a call on the GPU, by events in its stream."""
    import torch

    for _ in range(5):
        call()
    events = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(repetitions)]
    for start, stop in events:
        start.record()
        call()
        stop.record()
    torch.cuda.synchronize()
    return sorted(start.elapsed_time(stop) for start, stop in events)[repetitions // 2] / 1000


def bandwidth() -> list[dict[str, Any]]:
    """Measure one rotation against one copy, bytes a second: it reads two tensors and writes one."""
    import torch

    from lml import lml_direction

    rows = []
    for dtype in ("float32", "float16", "bfloat16"):
        for count, d in ((1024, 3072), (256, 16384), (64, 65536), (16, 1 << 20)):
            e, p = rotation_pair(count, d, dtype)
            out = torch.empty_like(e)
            size = e.numel() * e.element_size()
            copied = 2 * size / seconds_of(lambda out=out, e=e: out.copy_(e))
            turned = 3 * size / seconds_of(lambda e=e, p=p: lml_direction(e, p, damping=3.0, mixing=1e-3))
            rows.append({"dtype": dtype, "rows": count, "d": d, "copy_GB_s": copied / 1e9, "lml_GB_s": turned / 1e9,
                         "share_of_copy": turned / copied})  # fmt: skip
    return rows


def launches() -> list[dict[str, Any]]:
    """Count the kernels of one rotation."""
    import torch
    from torch.autograd import DeviceType

    from lml import lml_direction

    rows = []
    for d in (3072, 16384, 65536):
        e, p = rotation_pair(4, d, "float16")
        lml_direction(e, p, damping=3.0, mixing=1e-3)  # built, and compared once
        torch.cuda.synchronize()
        kinds = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
        with torch.profiler.profile(activities=kinds) as profile:
            lml_direction(e, p, damping=3.0, mixing=1e-3)
            torch.cuda.synchronize()
        names = [event.name for event in profile.events() if event.device_type == DeviceType.CUDA]
        rows.append({"d": d, "kernels": len(names), "names": names})
    return rows


def waits() -> list[dict[str, Any]]:
    """Take steps of every scheduler with LML where a wait of the host is an error; the base beside it."""
    import torch

    from lml.schedulers import SCHEDULERS

    rows = []
    for name, made in SCHEDULERS.items():
        base = made.__mro__[2]  # behind the mixin of LML
        for kind, cls in (("base", base), ("lml", made)):
            error = ""
            try:
                scheduler: Any = cls()
                scheduler.set_timesteps(8, device="cuda")
                x = torch.randn(2, 4, 32, 32, device="cuda", dtype=torch.float16)
                for i, t in enumerate(scheduler.timesteps):
                    if i == 2:  # tables have been moved, kernels built
                        torch.cuda.synchronize()
                        torch.cuda.set_sync_debug_mode("error")
                    model_input = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
                    x = scheduler.step(0.5 * model_input, t, x, return_dict=False)[0]
            except RuntimeError as failure:
                error = str(failure).splitlines()[0]
            finally:
                torch.cuda.set_sync_debug_mode("default")
            rows.append({"scheduler": name, "kind": kind, "waits": "synchroniz" in error, "error": error})
    return rows


def cost() -> list[dict[str, Any]]:
    """Time DDIM with and without LML on networks of full size, as many as the time allows; see claim T1."""
    import diffusers
    import torch

    from image_exps.timing.networks import predictor
    from image_exps.timing.shapes import full_size
    from image_exps.timing.timing import machine, median_ratio, spread, time_samplers

    rows, began = [], time.monotonic()
    for name in SIZES:
        for dtype in DTYPES:
            if time.monotonic() - began > 0.75 * LIMITS["cost"]:
                rows.append({"network": name, "dtype": dtype, "left_out": "no time was left"})
                continue
            shape = full_size(name)
            number = getattr(torch, dtype)
            network = predictor(shape, torch.device("cuda"), number)
            x = torch.randn((1, *shape.latent), generator=torch.Generator().manual_seed(0)).to("cuda", number)
            own: Any = diffusers.DDIMScheduler
            base, with_lml = time_samplers(network, x, own(clip_sample=False), evaluations=(10,), repetitions=10)
            added = (with_lml.seconds - with_lml.network) - (base.seconds - base.network)
            rows.append({
                "network": name, "dtype": dtype, "evaluations": 10, "repetitions": 10,
                "generation_s": spread(base.seconds)._asdict(),
                "network_s": spread(base.network)._asdict(),
                "time_ratio": median_ratio(with_lml.seconds, base.seconds)._asdict(),
                "lml_share_of_network": spread(added / base.network)._asdict(),
                "lml_over_rest_of_ddim": spread(added / (base.seconds - base.network))._asdict(),
                "machine": machine(torch.device("cuda")),
            })  # fmt: skip
            del network
            torch.cuda.empty_cache()
    return rows


def generation() -> list[dict[str, Any]]:
    """Draw pictures with a shipped network, from the request to the pixels."""
    import numpy as np
    import torch

    from image_exps.pipelines.models import model
    from image_exps.pipelines.session import Request, open_session
    from image_exps.samplers.pipeline_sampler import pipeline_sampler

    rows = []
    for name in ("ddim", "ddim/lml"):
        sampler = pipeline_sampler(name, 10)
        session = open_session(Request(model("fashion-mnist"), sampler, count=64, batch=64, device="cuda"))
        renderer = session.renderer(sampler)
        session.draw(renderer, range(64))
        torch.cuda.synchronize()
        start = time.perf_counter()
        pictures = session.draw(renderer, range(64))
        rows.append({"sampler": name, "evaluations": 10, "pictures": 64, "seconds": time.perf_counter() - start,
                     "finite": bool(np.isfinite(pictures).all()), "mean": float(pictures.mean())})  # fmt: skip
    return rows


def tests() -> dict[str, Any]:
    """Run the tests that need CUDA."""
    command = [sys.executable, "-m", "pytest", "tests/lml", "-m", "not slow", "-k", "gpu or cuda or GPU or CUDA", "-q"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stdout.strip().splitlines()
    counts = {
        kind: int(n) for n, kind in re.findall(r"(\d+) (passed|failed|skipped|error)", lines[-1] if lines else "")
    }
    return {"status": done.returncode, **counts, "failures": [line for line in lines if line.startswith("FAILED")]}


PARTS: dict[str, Callable[[], Any]] = {
    part.__name__: part for part in (launches, bandwidth, waits, generation, cost, tests)
}


def run_part(name: str) -> dict[str, Any]:
    """Run a part in a process of its own and return what it found, or what went wrong."""
    began = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, __file__, name], capture_output=True, text=True, timeout=LIMITS[name], check=False
        )
    except subprocess.TimeoutExpired:
        return {"error": f"it took more than {LIMITS[name]} s"}
    taken = {"seconds": round(time.monotonic() - began, 1)}
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or ["no output"])[-1], **taken}
    return {"found": json.loads(done.stdout.splitlines()[-1]), **taken}


def main() -> int:
    """Run all parts and write what they found."""
    try:
        import torch
    except ImportError:
        print("make gpu needs PyTorch: make setup", file=sys.stderr)
        return 2
    if os.environ.get("LML_OUTSIDE") == "none" or not torch.cuda.is_available():
        print("make gpu needs a GPU that PyTorch can use (a CUDA build); there is none here", file=sys.stderr)
        return 2
    card = torch.cuda.get_device_name()
    path = RESULTS / f"{re.sub(r'[^a-z0-9]+', '-', card.lower()).strip('-')}.json"
    path.parent.mkdir(exist_ok=True)
    facts = {"card": card, "torch": torch.__version__, "cuda": torch.version.cuda, "date": time.strftime("%Y-%m-%d")}
    found: dict[str, Any] = {**facts, "parts": {}}
    for i, name in enumerate(PARTS):
        left = sum(list(LIMITS.values())[i:])
        print(f"{name}: at most {LIMITS[name]} s; all that is left: at most {left} s", flush=True)
        found["parts"][name] = run_part(name)
        print(f"  {found['parts'][name].get('error', 'done')}", flush=True)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        partial.replace(path)
    print(f"Kept in {path}")
    return int(any("error" in part for part in found["parts"].values()))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(PARTS[sys.argv[1]]()))
    else:
        sys.exit(main())
