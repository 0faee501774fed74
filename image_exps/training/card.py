"""The card of an exported network, with its loss curve and its pictures."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from image_exps.images.pixels import as_image, pixels
from image_exps.networks import NetworkModel, load_network
from image_exps.training.export import FACTS
from image_exps.training.measure import EVALUATIONS, SOLVER, Measured, draw
from toy import Pictures

__all__ = ["ABOUT", "About", "draw_loss", "draw_samples", "write_card"]


@dataclass(frozen=True)
class About:
    """What only an author can say of a network.

    Attributes:
        title: of the card.
        data: the pictures: their source, number and size.
        licence: of the data and of the weights.
        limits: what the network is not good at.
    """

    title: str
    data: str
    licence: str
    limits: str


#: What the cards say, by network.
ABOUT: dict[str, About] = {
    "fashion-mnist": About(
        "Clothes at 28x28",
        "The 60,000 training pictures of Fashion-MNIST (Xiao, Rasul & Vollgraf 2017), grey, 28x28, in [-1, 1]. The "
        "10,000 test pictures were not seen.",
        "Fashion-MNIST: MIT, Copyright (c) 2017 Zalando SE. Weights: MIT, as this repository.",
        "An hour on a share of a CPU is little. Outlines are right and most kinds of clothes appear; fabric is "
        "blotchy, prints, straps and laces are smeared, some samples are two things at once. What is measured on it is "
        "measured on an imperfect score, which is what it is for: compare samplers on it, not it with other networks.",
    ),
    "emoji": About(
        "Emoji at 32x32, by category",
        "The 3786 colour pictures of Noto Emoji v2.048 on white, 32x32, in [-1, 1], with the category of each "
        "(`toy.dataset('emoji')`). All were trained on: no picture is held out. 2261 of them are of *People & Body*, "
        "5 of *Component*.",
        "Pictures: Apache-2.0, Copyright Google LLC and contributors; `toy/data/NOTICE`. Weights: Apache-2.0 likewise.",
        "An hour on a share of a CPU is little for 3786 pictures of so many kinds. Colours, the white ground and the "
        "outlines of the large classes are right; faces, flags and fine lines are not, and small classes are mostly "
        "coloured shapes. What is measured on it is measured on an imperfect score, which is what it is for: compare "
        "samplers on it, not it with other networks.",
    ),
}


def draw_loss(folder: Path) -> None:
    """Write ``loss.png``: the training loss over steps, from the facts of an exported network."""
    losses = np.array(json.loads((folder / FACTS).read_text())["losses"])
    figure = Figure(figsize=(5, 2.8), layout="constrained")
    axes = figure.subplots()
    axes.loglog(losses[:, 0], losses[:, 1], color="#1f4e79")
    axes.set_xlabel("steps")
    axes.set_ylabel("mean squared error")
    axes.grid(visible=True, which="both", alpha=0.3)
    figure.savefig(folder / "loss.png", dpi=110)


def draw_samples(folder: Path, pictures: Pictures, samples: Tensor) -> None:
    """Write ``samples.png``: eight columns of samples, then eight of real pictures; with classes, each has a row.

    Args:
        folder: of the exported network.
        pictures: that it was trained on.
        samples: of no class, at least 64, shown if there are no classes.
    """
    net, classes, prediction = load_network(folder)
    drawn, real = samples[:64], pictures.images[:64]
    if classes:
        shape = tuple(pictures.images.shape[1:])
        drawn = torch.cat(
            [draw(NetworkModel(net, prediction, classes, c), 8, shape, seed=1 + i) for i, c in enumerate(classes)]
        )
        held = [[i for i, label in enumerate(pictures.labels) if label == c] for c in classes]
        real = pictures.images[[numbers[len(numbers) * k // 8] for numbers in held for k in range(8)]]
    left, right = _sheet(drawn), _sheet(real)
    gap = np.full((len(left), left.shape[1] // 16, left.shape[2]), 255, np.uint8)
    image = as_image(np.concatenate((left, gap, right), 1))
    image = image.resize((2 * image.width, 2 * image.height), Image.Resampling.NEAREST)
    image.save(folder / "samples.png", optimize=True)


def _sheet(pictures: Tensor) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return pictures in [-1, 1], eight in a row, as bytes (height, width, channels)."""
    n, channels, height, width = pictures.shape
    tiled = pictures.reshape(n // 8, 8, channels, height, width).permute(0, 3, 1, 4, 2)
    joined = tiled.reshape(n // 8 * height, 8 * width, channels)
    made: np.ndarray[Any, np.dtype[np.uint8]] = pixels(joined).numpy()
    return made


def write_card(folder: Path, name: str, measured: Measured) -> None:
    """Write ``README.md`` of an exported network."""
    facts, about = json.loads((folder / FACTS).read_text()), ABOUT[name]
    classes = load_network(folder).classes
    f = measured.frechet
    losses = "; ".join(f"{which}: {value:.4f}" for which, value in measured.losses.items())
    shown = "one row a class" if classes else "no choice among them"
    usage = f'model = network_model("{name}"' + (f', labels="{classes[0]}")' if classes else ")")
    floor = f"As many real pictures have {f.floor:.3g}." if f.floor == f.floor else f"{f.remark.capitalize()}."
    told = (
        f"\nClasses: {', '.join(classes)}. `DDPMPipeline` of stock diffusers draws from all of them; "
        "`image_exps.networks` tells the network one. A class was withheld in "
        f"{facts['null_rate']:.0%} of the steps, so that guidance is possible.\n"
        if classes
        else ""
    )
    begun = ""
    if facts["earlier"]:
        prediction, steps, seconds = facts["earlier"]
        begun = (
            f"\nIt began with the averaged weights (decay 0.999) of {steps:,} steps, {seconds:,} s, of a run that was "
            f"given up because its samples diverged, whose target was `{prediction}`: `--prediction {prediction}` "
            "there, `--begin` here. The loss curve is that of this run alone.\n"
        )
    text = f"""# {about.title}

A diffusion network for the experiments of this repository: {facts["parameters"]:,} parameters in float16, small enough
to be evaluated thousands of times on a CPU ({measured.milliseconds:.1f} ms of processor time a picture and evaluation,
on one thread of a busy machine).

```python
from diffusers import DDPMPipeline

pipeline = DDPMPipeline.from_pretrained("image_exps/networks/{name}")

from image_exps.networks import network_model  # the noise prediction, for lml.samplers

{usage}
```
{told}
![Samples on the left, real pictures on the right](samples.png)

Left: samples, {shown}, none picked, {EVALUATIONS} evaluations of {SOLVER}. Right: real pictures.

## Data and licence
{about.data}

{about.licence}

## Training
{facts["steps"]:,} steps of {facts["batch"]} pictures in {facts["seconds"]:,} s on {facts["machine"]}.
{begun}
The network returns the velocity `v = alpha z - sigma y` of `x = alpha y + sigma z` (`prediction_type: v_prediction`,
Salimans & Ho 2022), from which the noise is `alpha v + sigma x`. The loss is its mean squared error on DDPM's 1000
timesteps, beta linear from 1e-4 to 0.02 (`vp-linear`). A network that returns the noise itself has its error multiplied
by `sigma/alpha`, at the first timestep 157, in the picture that is read from it.

AdamW, learning rate {facts["learning_rate"]:g} falling along a half cosine over that time, weights averaged with decay
{facts["decay"]:g}, no augmentation.

![Loss over steps](loss.png)

## Measured
- Mean squared error of the noise prediction of the averaged weights (1 is that of answering zero): {losses}.
- Frechet distance within 64 principal components, no class given: {f.value:.3g} (95 % interval
  {f.low:.3g} to {f.high:.3g}) of {f.count} samples, {EVALUATIONS} evaluations of {SOLVER}. {floor}

## Limits
{about.limits}

## The same again
`python -m image_exps.training {name} --minutes {facts["seconds"] / 60:.0f} --bfloat16 --out RUN`, then
`python -m image_exps.training.publish {name} --run RUN`. With a budget in minutes the learning rate follows the clock:
another run has the same recipe, not the same bits; with `--steps` it has the same bits on the same machine.
"""
    (folder / "README.md").write_text(text, encoding="utf-8")
