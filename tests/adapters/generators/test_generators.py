"""Generators as ports: what they promise, what they refuse, and what they leave as it was."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from inlay.adapters.backbone import Backbone
from inlay.adapters.generators import GeneratorError
from inlay.adapters.generators.denoising.noise import add_noise, target_of
from inlay.adapters.loading.generators import load_generator
from inlay.adapters.loading.pretrained import BackboneError
from inlay.adapters.media.audio import Sound
from inlay.adapters.media.video import Video

MODALITIES = ["image", "audio", "video"]
SIZES: dict[str, Any] = {"image": (8, 16), "audio": 0.05, "video": (2, 8, 8)}


def numbers(medium: Any) -> np.ndarray:
    if isinstance(medium, Sound):
        return medium.samples
    frames = medium.frames if isinstance(medium, Video) else [medium]
    return np.stack([np.asarray(frame, dtype=np.float32) / 255 for frame in frames])


def same(one: Any, other: Any, atol: float = 0.0) -> bool:
    return bool(np.allclose(numbers(one), numbers(other), atol=atol, rtol=0))


@pytest.mark.parametrize("modality", MODALITIES)
def test_media_have_the_asked_size_and_the_seed_decides(generator_of: Any, modality: str) -> None:
    generator = generator_of(modality)
    conditioning = generator.encode_text(["a small blue star"] * 2)
    assert conditioning.shape == (2, generator.tokens, generator.width)
    options = {"steps": 2, "size": SIZES[modality]}
    first, second = generator.generate(conditioning, seed=[3, 4], **options)
    assert not same(first, second, atol=0.05)
    # Alone and in a batch the arithmetic is the same up to its order; a value may fall on the other side of a half.
    assert same(second, generator.generate(conditioning[:1], seed=4, **options)[0], atol=1.01 / 255)
    assert same(second, generator.generate(conditioning, seed=3, **options)[1])
    if isinstance(first, Image.Image):
        assert (first.mode, first.size) == ("RGB", (16, 8))
    elif isinstance(first, Sound):
        assert (len(first.samples), first.rate) == (80, 1600)
        assert first.samples.dtype == np.float32
        assert np.abs(first.samples).max() <= 1
    else:
        assert (len(first.frames), first.frames[0].size, first.fps) == (2, (8, 8), 8.0)


@pytest.mark.parametrize("modality", MODALITIES)
def test_own_sizes_and_no_media(generator_of: Any, modality: str) -> None:
    generator = generator_of(modality)
    assert generator.generate(torch.zeros(0, generator.tokens, generator.width), steps=2) == []
    shape = generator.latent_shape()
    assert shape == {"image": (4, 8, 8), "audio": (4, 8, 4), "video": (4, 16, 4, 4)}[modality]


@pytest.mark.parametrize("modality", MODALITIES)
def test_use_changes_no_tensor_and_no_scheduler(generator_of: Any, modality: str) -> None:
    generator = generator_of(modality)
    before = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    settings = dict(vars(generator.scheduler))
    conditioning = generator.encode_text(["red"]).requires_grad_()
    generator.generate(conditioning, steps=2, size=SIZES[modality], seed=0)
    generator.diffusion_loss(conditioning, torch.randn(1, *generator.latent_shape(SIZES[modality]))).backward()
    assert all(torch.equal(tensor, before[name]) for name, tensor in generator.state_dict().items())
    assert {name for name, value in vars(generator.scheduler).items() if value is not settings[name]} == set()
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in generator.parameters())


def test_audio_conditioning_is_brought_to_length_one(generator_of: Any) -> None:
    generator = generator_of("audio")
    text = generator.encode_text(["red", "two"])
    torch.testing.assert_close(text.norm(dim=-1), torch.ones(2, 1))
    options = {"steps": 2, "seed": 0, "size": 0.05}
    scaled = generator.generate(text * 3, negative=text.flip(0) * 0.1, **options)
    plain = generator.generate(text, negative=text.flip(0), **options)
    np.testing.assert_allclose(scaled[0].samples, plain[0].samples, atol=1e-5)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_the_loss_takes_what_the_scheduler_says_is_predicted(generator_of: Any, parts_of: Any, prediction: str) -> None:
    generator = generator_of("image", parts_of("image", prediction=prediction))
    conditioning = generator.encode_text(["red", "two"]).requires_grad_()
    latents, noise, steps = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8), torch.tensor([5, 40])
    alphas = generator.scheduler.alphas_cumprod[steps]
    said = generator.unet(add_noise(latents, noise, alphas), steps, encoder_hidden_states=conditioning).sample
    wanted = {
        "epsilon": noise,
        "sample": latents,
        "v_prediction": target_of("v_prediction", latents, noise, alphas),
    }[prediction]
    errors = (said - wanted).square().mean(dim=(1, 2, 3))
    ratio = alphas / (1 - alphas)
    weights = ratio.clamp(max=5) / {"epsilon": ratio, "v_prediction": ratio + 1, "sample": torch.ones(2)}[prediction]
    given = {"noise": noise, "timesteps": steps}
    torch.testing.assert_close(generator.diffusion_loss(conditioning, latents, **given), errors.mean())
    weighted = generator.diffusion_loss(conditioning, latents, **given, snr_gamma=5.0)
    torch.testing.assert_close(weighted, (errors * weights).mean())
    weighted.backward()
    assert conditioning.grad is not None
    assert conditioning.grad.abs().max() > 0


def test_media_become_latents_of_the_right_shape_and_order(generator_of: Any) -> None:
    pictures = [Image.new("RGB", (16, 8), colour) for colour in ("red", "blue", "green", "white")]
    image, video = generator_of("image"), generator_of("video")
    assert image.encode_media(pictures).shape == (4, *image.latent_shape((8, 16)))
    clips = [Video(tuple(pictures[:2]), 8.0), Video(tuple(pictures[2:]), 8.0)]
    latents = video.encode_media(clips)
    assert latents.shape == (2, *video.latent_shape((2, 8, 16)))
    frames = video.vae.encode(torch.from_numpy(np.array(pictures[3])).permute(2, 0, 1)[None].float() / 127.5 - 1)
    torch.testing.assert_close(latents[1, :, 1], frames.latent_dist.mode()[0] * video.vae.config.scaling_factor)
    audio = generator_of("audio")
    assert audio.encode_spectrograms(torch.randn(2, 20, 8)).shape == (2, *audio.latent_shape(0.05))
    with pytest.raises(GeneratorError, match="one size"):
        image.encode_media([pictures[0], Image.new("RGB", (8, 8))])
    with pytest.raises(GeneratorError, match="one length"):
        video.encode_media([clips[0], Video(tuple(pictures[:1]), 8.0)])


@pytest.mark.parametrize(
    ("modality", "size", "said"),
    [
        ("image", (8, 7), "that are multiples of 2"),
        ("image", 5, r"\(height, width\)"),
        ("image", (0, 8), "sides from 2"),
        ("video", (8, 8), r"\(frames, height, width\)"),
        ("audio", (1, 2), "seconds"),
        ("audio", 0.001, "seconds"),
        ("audio", float("nan"), "seconds"),
    ],
)
def test_sizes_that_cannot_be_made(generator_of: Any, modality: str, size: Any, said: str) -> None:
    generator = generator_of(modality)
    with pytest.raises(GeneratorError, match=said):
        generator.generate(torch.zeros(1, generator.tokens, generator.width), steps=1, size=size)


def test_conditioning_of_another_shape_is_refused(generator_of: Any) -> None:
    generator = generator_of("image")
    with pytest.raises(GeneratorError, match=r"expected the shape \[n, 9, 16\], got \[2, 9, 8\]"):
        generator.generate(torch.zeros(2, 9, 8))
    with pytest.raises(GeneratorError, match="negative: expected 1 or 2 rows, got 3"):
        generator.generate(torch.zeros(2, 9, 16), negative=torch.zeros(3, 9, 16), steps=2)
    with pytest.raises(GeneratorError, match="steps: expected a whole number from 1 to 50, got 0"):
        generator.generate(torch.zeros(2, 9, 16), steps=0)


def test_parts_of_different_models_are_refused(generator_of: Any, parts_of: Any) -> None:
    wide = parts_of("image", width=32)
    with pytest.raises(GeneratorError, match="gives vectors of 16 values, the unet reads 32"):
        generator_of("image", parts_of("image") | {"unet": wide["unet"]})
    with pytest.raises(GeneratorError, match="simple_projection"):
        generator_of("audio", parts_of("audio") | {"unet": wide["unet"]})
    with pytest.raises(GeneratorError, match="cross_attention_dim"):
        generator_of("image", parts_of("image") | {"unet": parts_of("audio")["unet"]})
    with pytest.raises(GeneratorError, match="the number of vectors is needed"):
        generator_of("image", text=False)
    with pytest.raises(GeneratorError, match="unconditional"):
        generator_of("image", text=False, tokens=9, unconditional=torch.zeros(1, 9, 8))


def test_without_text_encoder_texts_are_refused_and_guidance_needs_the_empty_one(
    generator_of: Any, parts_of: Any
) -> None:
    parts = parts_of("image")
    whole = generator_of("image", parts)
    bare = generator_of("image", parts, text=False, tokens=9)
    with pytest.raises(GeneratorError, match="text_encoder=True"):
        bare.encode_text(["red"])
    conditioning = whole.encode_text(["red"])
    with pytest.raises(GeneratorError, match="conditioning of an empty text"):
        bare.generate(conditioning, steps=1)
    assert len(bare.generate(conditioning, steps=1, guidance_scale=1.0)) == 1
    kept = generator_of("image", parts, text=False, tokens=9, unconditional=whole.encode_text([""]))
    options = {"steps": 2, "seed": 1}
    assert same(kept.generate(conditioning, **options)[0], whole.generate(conditioning, **options)[0])
    assert kept.port == whole.port


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_folder_gives_the_same_generator(folder_of: Any, generator_of: Any, modality: str) -> None:
    folder = folder_of(modality)
    loaded, made = load_generator(folder), generator_of(modality)
    assert loaded.modality == modality
    assert loaded.port.weights == made.port.weights
    assert (loaded.port.width, loaded.port.tokens) == (16, 1 if modality == "audio" else 9)
    assert loaded.port.source == modality
    options = {"steps": 2, "seed": 1, "size": SIZES[modality]}
    conditioning = made.encode_text(["two squares"])
    (expected,) = made.generate(conditioning, **options)
    assert same(loaded.generate(loaded.encode_text(["two squares"]), **options)[0], expected)
    bare = load_generator(folder, text_encoder=False)
    assert bare.text is None
    assert same(bare.generate(conditioning, **options)[0], expected)


def test_the_backbone_loads_and_names_its_generators(folder_of: Any, llm_of: Any, tmp_path: Path) -> None:
    llm = llm_of("llama")
    llm.model.save_pretrained(tmp_path / "llm")
    llm.tokenizer.save_pretrained(tmp_path / "llm")
    sound = folder_of("audio")
    backbone = Backbone.from_pretrained(
        tmp_path / "llm", generate_image=folder_of("image"), generate_audio=sound, generator_text=False
    )
    assert [name for name in backbone.ports if name.startswith("generate")] == ["generate.image", "generate.audio"]
    assert backbone.generator("image").text is None
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    with pytest.raises(BackboneError, match=r"generate_video=\.\.\."):
        backbone.generator("video")
    with pytest.raises(GeneratorError, match="expected modality 'image', AudioLdm has 'audio'"):
        Backbone(llm, generators={"image": load_generator(sound)})


def test_a_missing_tensor_is_an_error(folder_of: Any) -> None:
    from safetensors.torch import load_file, save_file

    folder = folder_of("image")
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    tensors.pop("conv_in.weight")
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(BackboneError, match=r"conv_in\.weight"):
        load_generator(folder)


def test_what_is_no_generator_is_named(tmp_path: Path, folder_of: Any) -> None:
    with pytest.raises(BackboneError, match="no such folder"):
        load_generator(tmp_path / "nothing")
    folder = folder_of("image")
    index = folder / "model_index.json"
    text = index.read_text(encoding="utf-8")
    index.write_text(text.replace("StableDiffusionPipeline", "ShapEPipeline"), encoding="utf-8")
    with pytest.raises(BackboneError, match="'ShapEPipeline' are not supported"):
        load_generator(folder)
    index.write_text(text.replace("DDIMScheduler", "UNet2DModel"), encoding="utf-8")
    with pytest.raises(BackboneError, match="expected a scheduler"):
        load_generator(folder)


def test_without_diffusers_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(GeneratorError, match=r"pip install 'inlay\[generate\]'"):
        load_generator(tmp_path)


def test_stable_diffusion_1_5_and_2_are_told_apart(generator_of: Any, parts_of: Any) -> None:
    one = generator_of("image").port
    two = generator_of("image", parts_of("image", width=32, prediction="v_prediction")).port
    assert (one.width, one.settings["prediction_type"]) == (16, "epsilon")
    assert (two.width, two.settings["prediction_type"]) == (32, "v_prediction")
