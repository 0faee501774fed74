"""The weights of an exported folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from image_exps.networks.files import UNet

__all__ = ["stored_unet"]


def stored_unet(kind: Any, folder: Path, dtype: torch.dtype) -> UNet:
    """Return the network of a folder as one of class ``kind``, with weights of this dtype, from safetensors alone."""
    net: UNet = kind.from_pretrained(
        folder / "unet", torch_dtype=dtype, use_safetensors=True, low_cpu_mem_usage=False, local_files_only=True
    )
    return net.eval().requires_grad_(False)
