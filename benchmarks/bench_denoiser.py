"""The exact denoiser against the machine's own matrix products, in one run.

    python benchmarks/bench_denoiser.py [--threads 1 2] [--device cuda]

A noise prediction over N points in d dimensions is a product of the batch with the data and one back with the weights:
the rate is the time of those two products alone, in float32 and of the same shapes, over the time of the prediction.
Where the noise is low one product and a few differences do, and the rate may exceed 100 %.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

import toy
from toy import DataMixture

ROUNDS = 7
BATCHES = (64, 256)
TAU = 0.1
# Where a trajectory of the linear variance-preserving schedule starts, is half-way, and ends.
TIMES = (1.0, 0.5, 0.2, 0.05, 1e-3)
#: The least rate wanted at every level.
WANTED = 0.6


def targets(device: str) -> dict[str, DataMixture]:
    # White noise of a picture's size is harder than pictures: all its points are equally far from each other.
    noise = torch.randn((60_000, 784), generator=torch.Generator().manual_seed(0))
    made = {
        "emoji, 3786 x 3072": DataMixture(toy.dataset("emoji").images, TAU, dtype=torch.float32),
        "random, 60000 x 784": DataMixture(noise, TAU, dtype=torch.float32),
    }
    return {name: target.to(device=device) for name, target in made.items()}


def seconds(call, device: str) -> float:
    if device != "cpu":
        torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def rate(target: DataMixture, batch: int, moment: float, device: str) -> tuple[float, float, float]:
    """Return milliseconds of the products and of the prediction, and the median of their ratios, taken in turns."""
    schedule = toy.noise_schedule("vp-linear")
    level = target.diffuse(float(schedule.alpha(moment)), float(schedule.sigma(moment)))
    x = level.sample(batch, generator=torch.Generator().manual_seed(1))
    data = target.points.contiguous()
    weights = torch.rand((batch, target.count), generator=torch.Generator().manual_seed(2)).to(device)

    def products() -> None:
        torch.mm(x, data.mT)
        torch.mm(weights, data)

    products()
    level.noise(x)
    pairs = [(seconds(products, device), seconds(lambda: level.noise(x), device)) for _ in range(ROUNDS)]
    plain, prediction = (statistics.median(column) for column in zip(*pairs, strict=True))
    return 1e3 * plain, 1e3 * prediction, statistics.median(a / b for a, b in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[torch.get_num_threads()])
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    print("data                 threads  batch   time  products ms  prediction ms   rate")
    least = float("inf")
    with torch.no_grad():
        for name, target in targets(arguments.device).items():
            for threads in arguments.threads:
                torch.set_num_threads(threads)
                for batch in BATCHES:
                    for moment in TIMES:
                        plain, prediction, ratio = rate(target, batch, moment, arguments.device)
                        least = min(least, ratio)
                        row = f"{name:20} {threads:7} {batch:6} {moment:6g}"
                        print(f"{row} {plain:12.1f} {prediction:14.1f} {ratio:6.0%}", flush=True)
    print(f"least rate {least:.0%}, wanted {WANTED:.0%}")


if __name__ == "__main__":
    main()
