r"""From a checkpoint to a folder for `diffusers.DDPMPipeline.from_pretrained`: averaged weights in float16.

The time embedding ends in a linear map with a bias ``b``, to which the embedding ``e_c`` of a class is added. With
``b' = b + e_null`` and ``e'_c = e_c - e_null`` the sum is the same, and the network without class embeddings is that of
no class: the stock folder. The ``e'_c`` lie beside it, and `image_exps.networks.load_network` puts them back.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import diffusers
import torch
from safetensors.torch import save_file

from image_exps.networks.files import CLASSES, EMBEDDING, SUMS, UNet
from image_exps.training.checkpoint import Run
from image_exps.training.recipes import Recipe, small_unet

__all__ = ["FACTS", "averaged", "export"]

#: How a network was trained, inside its folder.
FACTS = "training.json"


def averaged(run: Run) -> UNet:
    """Write the averaged weights of a run into its network, and return it."""
    with torch.no_grad():
        for weight, average in zip(run.net.parameters(), run.average, strict=True):
            weight.copy_(average)
    return run.net.eval()


def export(made: Recipe, run: Run, classes: tuple[str, ...], folder: Path, machine: str) -> None:
    """Write the network of a run: what the stock pipeline reads, classes, how it was trained, and checksums.

    Args:
        made: the recipe.
        run: its end; the averaged weights replace the others.
        classes: that the network was given.
        folder: may exist; files of the same names are replaced.
        machine: in words, for the card.
    """
    net = averaged(run)
    stock, differences = _folded(made, net) if classes else (net, None)
    pipeline: Any = diffusers.DDPMPipeline
    scheduler: Any = diffusers.DDPMScheduler
    pipeline(stock.half(), scheduler(prediction_type=made.prediction)).save_pretrained(folder)
    if differences is not None:
        save_file({"weight": differences.half()}, folder / EMBEDDING)
        _write(folder / CLASSES, classes)
    facts = {
        "recipe": made.name,
        "prediction": made.prediction,
        "earlier": run.earlier,
        "steps": run.step,
        "seconds": round(run.seconds),
        "batch": made.batch,
        "learning_rate": made.learning_rate,
        "decay": made.decay,
        "null_rate": made.null_rate if classes else None,
        "parameters": sum(p.numel() for p in net.parameters()),
        "machine": machine,
        "losses": [[step, round(loss, 5)] for step, loss in run.losses],
    }
    _write(folder / FACTS, facts)
    names = ["model_index.json", "scheduler/scheduler_config.json", "unet/config.json"]
    names += ["unet/diffusion_pytorch_model.safetensors", *((EMBEDDING, CLASSES) if classes else ())]
    sums = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (folder / SUMS).write_text("".join(sums), encoding="utf-8")


def _folded(made: Recipe, net: UNet) -> tuple[UNet, torch.Tensor]:
    """Return the network of no class, and what the class embeddings add to it, shape (classes + 1, width)."""
    weights = {key: value.clone() for key, value in net.state_dict().items()}
    embedding = weights.pop("class_embedding.weight")
    weights["time_embedding.linear_2.bias"] += embedding[-1]
    stock = small_unet(net.config["sample_size"], net.config["in_channels"], made.channels)
    stock.load_state_dict(weights)
    return stock, embedding - embedding[-1]


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")
