r"""CLIP score: how near a picture and its prompt lie in the space of a CLIP model, from a local folder.

``s = 100 max(cos(f(picture), g(prompt)), 0)`` for the projected embeddings ``f, g``; the mean over pictures is the
score. The paper does not name its model; figures of different models do not compare, so the folder's name is part of
what is reported.

Source: Hessel et al. 2021, CLIPScore, Eq. 1, with the factor 100 of common use in place of 2.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from image_exps.images.pixels import pixels
from image_exps.pipelines.component_files import check_component, read_object
from image_exps.pipelines.components import component_class, load_component

__all__ = ["ClipScore"]

_ADVICE = (
    "Fetch one, e.g. hf download openai/clip-vit-large-patch14 --local-dir models/clip-vit-large-patch14, and give its "
    "folder with --clip-dir"
)


class ClipScore:
    """The score, as a plug-in of `image_exps.evaluation.scores`.

    Args:
        folder: of a CLIP model in the layout of transformers: config.json, model.safetensors, the tokenizer's and the
            picture processor's files. Nothing is fetched, and weights that are pickles are refused.
        device: where it runs.

    Raises:
        ValueError: if the folder is not there or is no such model, saying what to fetch.
    """

    higher_is_better = True

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        if not folder.is_dir():
            raise ValueError(f"clip_dir must be the folder of a CLIP model, {folder} is not there. {_ADVICE}")
        try:
            check_component(folder, folder)
            if (found := read_object(folder / "config.json").get("model_type")) != "clip":
                raise ValueError(f"{folder / 'config.json'} names another model_type, {found!r}")
            named = read_object(folder / "tokenizer_config.json").get("tokenizer_class", "CLIPTokenizerFast")
        except ValueError as error:
            raise ValueError(f"clip_dir must be the folder of a CLIP model: {error}. {_ADVICE}") from error
        import transformers

        # The variant in pure Python, where there is one: the other one needs torchvision.
        processor = getattr(transformers, "CLIPImageProcessorPil", transformers.CLIPImageProcessor)
        try:
            self._model: Any = load_component(folder, transformers.CLIPModel, torch.float32)
            self._tokenizer: Any = load_component(folder, component_class("transformers", named, "tokenizer"), None)
            self._processor: Any = load_component(folder, processor, None)
        except ValueError as error:
            raise ValueError(f"clip_dir must be the folder of a CLIP model: {error}") from error
        model: Any = self._model
        self._model = model.eval().requires_grad_(False).to(device)
        self._device = device
        self.name = f"CLIP {folder.resolve().name}"

    def __call__(self, pictures: Tensor, prompts: Sequence[str | None]) -> Tensor:
        """Return ``s``, shape (n,).

        Raises:
            ValueError: for a picture that was made without a prompt.
        """
        texts = [prompt for prompt in prompts if prompt is not None]
        if len(texts) < len(prompts):
            raise ValueError("prompts must be known for a CLIP score, some pictures were made without one")
        images = list(pixels(pictures).movedim(1, -1).numpy())
        seen = self._processor(images=images, return_tensors="pt")
        # Longer prompts are cut at the model's 77 tokens, as the text encoders of the pipelines do.
        limit = self._model.config.text_config.max_position_embeddings
        read = self._tokenizer(texts, return_tensors="pt", padding=True, truncation=True, max_length=limit)
        with torch.inference_mode():
            out = self._model(
                pixel_values=seen["pixel_values"].to(self._device),
                input_ids=read["input_ids"].to(self._device),
                attention_mask=read["attention_mask"].to(self._device),
            )
        f, g = (torch.nn.functional.normalize(e.double(), dim=1) for e in (out.image_embeds, out.text_embeds))
        cosine: Tensor = (f * g).sum(1)
        return 100 * cosine.clamp_min(0).cpu()
