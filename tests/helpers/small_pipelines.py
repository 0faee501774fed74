"""Small random pipelines of every class that the toolkit names: real classes, real loading, no download.

The models come from configs, the tokenizers from vocabularies written here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

transformers = pytest.importorskip("transformers")

WIDTH = 32  # of every text encoder
CALL: dict[str, Any] = {"num_inference_steps": 3, "output_type": "np"}
TEXT = {**CALL, "prompt": "a red fox", "guidance_scale": 3.0}
SD = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def _clip_tokenizer(folder: Path) -> Any:
    words = ["<|startoftext|>", "<|endoftext|>", *"abcdefghijklmnopqrstuvwxyz", *(f"{c}</w>" for c in "adefox")]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return transformers.CLIPTokenizer.from_pretrained(folder, model_max_length=16)


def _t5_tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁a", -1.0), ("▁red", -2.0), ("▁fox", -2.0)]
    core = Tokenizer(models.Unigram(vocabulary, unk_id=2))
    core.pre_tokenizer = pre_tokenizers.Metaspace()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=16
    )


def _clip(cls: str = "CLIPTextModel") -> Any:
    config = transformers.CLIPTextConfig(
        vocab_size=64,
        hidden_size=WIDTH,
        intermediate_size=37,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=16,
        projection_dim=WIDTH,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
        hidden_act="gelu",
    )
    return getattr(transformers, cls)(config).eval()


def _t5(width: int = WIDTH) -> Any:
    config = transformers.T5Config(vocab_size=64, d_model=width, d_ff=37, d_kv=8, num_layers=2, num_heads=4)
    return transformers.T5EncoderModel(config).eval()


def _vae(channels: int, **options: Any) -> Any:
    return diffusers.AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=channels,
        norm_num_groups=4,
        sample_size=32,
        **options,
    ).eval()


UNET = {
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "in_channels": 4,
    "cross_attention_dim": WIDTH,
    "norm_num_groups": 4,
    "attention_head_dim": 4,
}


def _unet(**options: Any) -> Any:
    return diffusers.UNet2DConditionModel(
        **{
            **UNET,
            "out_channels": 4,
            "sample_size": 16,
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
            **options,
        }
    ).eval()


def pixel_pipeline(**options: Any) -> Any:
    """Return an unconditional pipeline of 8x8 pictures; ``options`` go to its network."""
    unet = diffusers.UNet2DModel(
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        sample_size=8,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=4,
        **options,
    )
    return diffusers.DDPMPipeline(unet.eval(), diffusers.DDIMScheduler())


def _pixels(folder: Path) -> tuple[Any, dict[str, Any]]:
    return pixel_pipeline(), {**CALL, "batch_size": 2}


def _latents(folder: Path) -> tuple[Any, dict[str, Any]]:
    pixels, call = _pixels(folder)
    vq = diffusers.VQModel(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=3,
        norm_num_groups=4,
        num_vq_embeddings=16,
    )
    return diffusers.LDMPipeline(vq.eval(), pixels.unet, diffusers.DDIMScheduler(**SD, clip_sample=False)), call


def _stable_diffusion(folder: Path) -> tuple[Any, dict[str, Any]]:
    pipe = diffusers.StableDiffusionPipeline(
        vae=_vae(4),
        text_encoder=_clip(),
        tokenizer=_clip_tokenizer(folder),
        unet=_unet(),
        scheduler=diffusers.PNDMScheduler(**SD, skip_prk_steps=True, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    return pipe, TEXT


def _control_net(folder: Path) -> tuple[Any, dict[str, Any]]:
    plain, _ = _stable_diffusion(folder)
    net = diffusers.ControlNetModel(
        **UNET,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        conditioning_embedding_out_channels=(8, 16),
    )
    pipe = diffusers.StableDiffusionControlNetPipeline(
        **plain.components | {"controlnet": net.eval()}, requires_safety_checker=False
    )
    hint = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    return pipe, {**TEXT, "image": hint}


def _stable_diffusion_xl(folder: Path) -> tuple[Any, dict[str, Any]]:
    pipe = diffusers.StableDiffusionXLPipeline(
        vae=_vae(4),
        text_encoder=_clip(),
        text_encoder_2=_clip("CLIPTextModelWithProjection"),
        tokenizer=_clip_tokenizer(folder),
        tokenizer_2=_clip_tokenizer(folder),
        unet=_unet(
            cross_attention_dim=2 * WIDTH,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + WIDTH,
            transformer_layers_per_block=1,
            use_linear_projection=True,
        ),
        scheduler=diffusers.EulerDiscreteScheduler(**SD, timestep_spacing="leading", steps_offset=1),
        add_watermarker=False,
    )
    return pipe, TEXT


def _pixart(folder: Path) -> tuple[Any, dict[str, Any]]:
    transformer = diffusers.PixArtTransformer2DModel(
        sample_size=8,
        num_layers=2,
        patch_size=2,
        attention_head_dim=8,
        num_attention_heads=3,
        caption_channels=WIDTH,
        in_channels=4,
        cross_attention_dim=24,
        out_channels=8,
        num_embeds_ada_norm=1000,
        norm_type="ada_norm_single",
        use_additional_conditions=False,
    )
    pipe = diffusers.PixArtAlphaPipeline(
        tokenizer=_t5_tokenizer(),
        text_encoder=_t5(),
        vae=_vae(4),
        transformer=transformer.eval(),
        scheduler=diffusers.DPMSolverMultistepScheduler(),
    )
    return pipe, {**TEXT, "height": 16, "width": 16, "use_resolution_binning": False, "clean_caption": False}


def _flux(folder: Path) -> tuple[Any, dict[str, Any]]:
    transformer = diffusers.FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        pooled_projection_dim=WIDTH,
        axes_dims_rope=(4, 4, 8),
    )
    pipe = diffusers.FluxPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=_vae(4, shift_factor=0.0, scaling_factor=1.0),
        text_encoder=_clip(),
        tokenizer=_clip_tokenizer(folder),
        text_encoder_2=_t5(),
        tokenizer_2=_t5_tokenizer(),
        transformer=transformer.eval(),
    )
    return pipe, {**TEXT, "height": 16, "width": 16, "max_sequence_length": 16}


def _stable_diffusion_3(folder: Path) -> tuple[Any, dict[str, Any]]:
    transformer = diffusers.SD3Transformer2DModel(
        sample_size=16,
        patch_size=1,
        in_channels=4,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=4,
        joint_attention_dim=2 * WIDTH,
        caption_projection_dim=WIDTH,
        pooled_projection_dim=2 * WIDTH,
        out_channels=4,
    )
    pipe = diffusers.StableDiffusion3Pipeline(
        transformer=transformer.eval(),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=_vae(4, shift_factor=0.0, scaling_factor=1.0),
        text_encoder=_clip("CLIPTextModelWithProjection"),
        tokenizer=_clip_tokenizer(folder),
        text_encoder_2=_clip("CLIPTextModelWithProjection"),
        tokenizer_2=_clip_tokenizer(folder),
        text_encoder_3=_t5(2 * WIDTH),
        tokenizer_3=_t5_tokenizer(),
    )
    return pipe, {**TEXT, "height": 32, "width": 32, "max_sequence_length": 16}


MAKERS = {
    "DDPMPipeline": _pixels,
    "LDMPipeline": _latents,
    "StableDiffusionPipeline": _stable_diffusion,
    "StableDiffusionXLPipeline": _stable_diffusion_xl,
    "PixArtAlphaPipeline": _pixart,
    "StableDiffusionControlNetPipeline": _control_net,
    "FluxPipeline": _flux,
    "StableDiffusion3Pipeline": _stable_diffusion_3,
}


def save_pipeline(kind: str, root: Path, **options: Any) -> Path:
    """Save a pipeline of a class, with the weights of seed 0, into a folder below ``root``; return that folder.

    Args:
        kind: one of `MAKERS`.
        root: an empty folder.
        options: of ``save_pretrained``.
    """
    (root / "tokens").mkdir()
    torch.manual_seed(0)
    MAKERS[kind](root / "tokens")[0].save_pretrained(root / "pipe", **options)
    return root / "pipe"


def save_velocity(root: Path) -> Path:
    """Save a pipeline of pixels whose network predicts v, on a cosine schedule, below ``root``; return its folder."""
    torch.manual_seed(0)
    pipe = pixel_pipeline()
    pipe.scheduler = diffusers.DDIMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction")
    pipe.save_pretrained(root / "pipe")
    return root / "pipe"
