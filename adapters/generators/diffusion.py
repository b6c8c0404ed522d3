"""A latent diffusion model as a port: conditioning in, media out, by a thin loop over unet, scheduler and decoder.

The modules are those of diffusers, the loop is ours: two of the three pipelines are deprecated there, and an adapter
must not stop drawing when they go. Tests hold it equal to each pipeline. Classifier-free guidance (Ho and Salimans,
2022, https://arxiv.org/abs/2207.12598) runs the conditioning and a negative one side by side:
``e = e_negative + scale (e_conditioning - e_negative)``.
"""

from __future__ import annotations

import copy
import inspect
from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from inlay.adapters.compatibility.digest import weights_digest
from inlay.adapters.generators.noise import (
    Prediction,
    add_noise,
    draw,
    min_snr_weights,
    prediction_of,
    random_sources,
    target_of,
)
from inlay.adapters.generators.protocol import GeneratorError, Made, Seed, Size
from inlay.adapters.generators.text import TextEncoder
from inlay.adapters.language.freeze import freeze
from inlay.adapters.media.modality import Modality
from inlay.hub.format.manifest import PortSpec, Scalar

__all__ = ["LatentDiffusion"]


class LatentDiffusion(nn.Module):
    """What the generators share; each says how latents are shaped, denoised and decoded.

    Args:
        unet: of diffusers; its configuration says how wide the conditioning is.
        vae: an ``AutoencoderKL``.
        scheduler: of diffusers; it is copied for every call and never changed.
        text: its own text encoder; None where an output projector stands in for it.
        tokens: vectors of the conditioning, where there is no text encoder to ask.
        unconditional: ``[1, tokens, width]``, the conditioning of an empty text, for guidance without a text encoder.
        source: the Hub id, or another name by which the same weights can be found again.
        revision: the commit on the Hub, 40 hex digits.

    Raises:
        GeneratorError: text encoder, empty text and unet do not agree on the conditioning.
    """

    modality: ClassVar[Modality]
    family: ClassVar[str]
    reads: ClassVar[str]
    """How the unet takes the conditioning in: ``cross_attention`` or ``class_labels``."""
    default_steps: ClassVar[int]
    default_guidance: ClassVar[float]

    def __init__(
        self,
        unet: nn.Module,
        vae: nn.Module,
        scheduler: Any,
        text: TextEncoder | None = None,
        *,
        tokens: int | None = None,
        unconditional: Tensor | None = None,
        source: str | None = None,
        revision: str | None = None,
    ) -> None:
        super().__init__()
        self.unet: Any = freeze(unet)
        self.vae: Any = freeze(vae)
        self.scheduler = scheduler
        self.text = cast("nn.Module | None", text)
        self.source, self.revision = source, revision
        self.prediction: Prediction = prediction_of(scheduler)
        self.width = self._width()
        self.tokens = self._count(text, tokens)
        if text is not None and text.width != self.width:
            raise GeneratorError(
                f"{self.family}: the text encoder gives vectors of {text.width} values, the unet reads {self.width}; "
                "they belong to different models"
            )
        if unconditional is not None and tuple(unconditional.shape) != (1, self.tokens, self.width):
            raise GeneratorError(
                f"{self.family}: unconditional: expected the shape (1, {self.tokens}, {self.width}), got "
                f"{tuple(unconditional.shape)}"
            )
        self.unconditional: Tensor | None
        self.register_buffer("unconditional", unconditional, persistent=False)

    def _count(self, text: TextEncoder | None, tokens: int | None) -> int:
        if text is None and tokens is None:
            raise GeneratorError(
                f"{self.family}: without a text encoder say how many vectors: tokens=77, or 1 if pooled"
            )
        if text is not None and tokens is not None and text.tokens != tokens:
            raise GeneratorError(f"{self.family}: tokens: the text encoder gives {text.tokens} vectors, got {tokens}")
        return int(text.tokens if text is not None else tokens or 0)

    @abstractmethod
    def _width(self) -> int:
        """Values per vector of the conditioning that the unet was made for."""

    @abstractmethod
    def latent_shape(self, size: Size = None) -> tuple[int, ...]:
        """Of one medium, without the batch.

        Raises:
            GeneratorError: a size that this model cannot make.
        """

    @abstractmethod
    def denoised(self, latents: Tensor, step: Tensor, conditioning: Tensor) -> Tensor:
        """What the unet says of latents ``[n, ...]`` at a step, under ``[n, tokens, width]``."""

    @abstractmethod
    def decode(self, latents: Tensor, size: Size = None) -> list[Made]:
        """Media from latents ``[n, ...]``."""

    def prepared(self, conditioning: Tensor) -> Tensor:
        """Conditioning ``[n, tokens, width]`` as the unet was trained to see it."""
        return conditioning

    @property
    def device(self) -> torch.device:
        """Where the unet is."""
        place: torch.device = next(self.unet.parameters()).device
        return place

    @property
    def dtype(self) -> torch.dtype:
        """Of the unet's weights, and so of the latents."""
        kind: torch.dtype = next(self.unet.parameters()).dtype
        return kind

    @property
    def scale_factor(self) -> int:
        """Values of a medium in each direction for one of its latents."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @cached_property
    def port(self) -> PortSpec:
        """What an adapter has to know: the weights are those of unet and decoder, the text encoder may be absent."""
        settings: dict[str, Scalar] = {"prediction_type": self.prediction, "conditioning": self.reads}
        return PortSpec(
            kind="generator",
            family=self.family,
            width=self.width,
            tokens=self.tokens,
            source=self.source,
            revision=self.revision,
            tokenizer=None,
            weights=weights_digest(self._drawing()),
            settings=settings,
        )

    def _drawing(self) -> nn.Module:
        return nn.ModuleList([self.unet, self.vae])

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Conditioning ``[n, tokens, width]`` by its own text encoder.

        Raises:
            GeneratorError: that was not loaded.
        """
        if self.text is None:
            raise GeneratorError(
                f"{self.source or self.family}: this generator was loaded without its text encoder, so it reads the "
                "conditioning of an output projector only; load it with text_encoder=True"
            )
        return cast(TextEncoder, self.text).encode(texts)

    def checked(self, conditioning: Tensor, name: str = "conditioning") -> Tensor:
        """The same on this device, in this dtype, as the unet was trained to see it.

        Raises:
            GeneratorError: another shape.
        """
        if conditioning.dim() != 3 or tuple(conditioning.shape[1:]) != (self.tokens, self.width):
            raise GeneratorError(
                f"{self.family}: {name}: expected the shape [n, {self.tokens}, {self.width}], got "
                f"{list(conditioning.shape)}"
            )
        return self.prepared(conditioning.to(device=self.device, dtype=self.dtype))

    @torch.no_grad()
    def generate(
        self,
        conditioning: Tensor,
        *,
        negative: Tensor | None = None,
        guidance_scale: float | None = None,
        steps: int | None = None,
        seed: Seed = None,
        size: Size = None,
    ) -> list[Made]:
        """Media from conditioning.

        Args:
            conditioning: ``[n, tokens, width]``.
            negative: ``[n, tokens, width]`` or ``[1, tokens, width]``: what to move away from; an empty text if not
                given.
            guidance_scale: how far; up to 1 there is no guidance and no second pass.
            steps: of the scheduler.
            seed: see :data:`inlay.adapters.generators.Seed`.
            size: see :data:`inlay.adapters.generators.Size`.

        Raises:
            GeneratorError: a shape or a size that this model cannot take, or guidance without an empty text.
        """
        if not len(conditioning):
            return []
        latents = self.sample(
            conditioning, negative=negative, guidance_scale=guidance_scale, steps=steps, seed=seed, size=size
        )
        return self.decode(latents, size)

    @torch.no_grad()
    def sample(
        self,
        conditioning: Tensor,
        *,
        negative: Tensor | None = None,
        guidance_scale: float | None = None,
        steps: int | None = None,
        seed: Seed = None,
        size: Size = None,
    ) -> Tensor:
        """Denoised latents ``[n, ...]``; arguments as of :meth:`generate`."""
        positive = self.checked(conditioning)
        count, scale = len(positive), self.default_guidance if guidance_scale is None else float(guidance_scale)
        guided = scale > 1.0
        both = torch.cat([self._negative(negative, count), positive]) if guided else positive
        scheduler = copy.deepcopy(self.scheduler)
        scheduler.set_timesteps(_positive("steps", self.default_steps if steps is None else steps), device=self.device)
        sources = random_sources(seed, count)
        latents = draw((count, *self.latent_shape(size)), sources, device=self.device, dtype=self.dtype)
        latents = latents * scheduler.init_noise_sigma
        more = {"generator": sources} if "generator" in inspect.signature(scheduler.step).parameters else {}
        for step in scheduler.timesteps:
            twice = torch.cat([latents, latents]) if guided else latents
            said = self.denoised(scheduler.scale_model_input(twice, step), step, both)
            if guided:
                without, under = said.chunk(2)
                said = without + scale * (under - without)
            latents = self.stepped(scheduler, said, step, latents, more)
        return latents

    def stepped(self, scheduler: Any, said: Tensor, step: Tensor, latents: Tensor, more: dict[str, Any]) -> Tensor:
        """Latents one step further."""
        after: Tensor = scheduler.step(said, step, latents, **more, return_dict=False)[0]
        return after.to(latents.dtype)

    def _negative(self, negative: Tensor | None, count: int) -> Tensor:
        if negative is None:
            negative = self.unconditional if self.text is None else self.encode_text([""])
        if negative is None:
            raise GeneratorError(
                f"{self.family}: guidance needs the conditioning of an empty text; load the generator with "
                "from_pretrained, which keeps it, or give negative=..., or guidance_scale=1"
            )
        checked = self.checked(negative, "negative")
        if len(checked) not in (1, count):
            raise GeneratorError(f"{self.family}: negative: expected 1 or {count} rows, got {len(checked)}")
        return checked.expand(count, -1, -1)

    def diffusion_loss(
        self,
        conditioning: Tensor,
        latents: Tensor,
        *,
        noise: Tensor | None = None,
        timesteps: Tensor | None = None,
        snr_gamma: float | None = None,
    ) -> Tensor:
        """Squared error of what the unet says of noised latents, by what *this* scheduler says it predicts.

        Args:
            conditioning: ``[n, tokens, width]``; the gradient goes through the frozen unet into it.
            latents: ``[n, ...]`` of the media, see :meth:`encode_media`.
            noise: of the same shape; drawn if not given.
            timesteps: ``[n]``; drawn if not given.
            snr_gamma: min-SNR weighting; 5 is usual, None for none.

        Returns:
            A scalar in float32.
        """
        clean = latents.to(device=self.device, dtype=self.dtype)
        noise = torch.randn_like(clean) if noise is None else noise.to(clean)
        table = self.scheduler.alphas_cumprod.to(self.device)
        if timesteps is None:
            timesteps = torch.randint(len(table), (len(clean),), device=self.device)
        timesteps = timesteps.to(self.device)
        alphas = table[timesteps].float()
        said = self.denoised(add_noise(clean, noise, alphas), timesteps, self.checked(conditioning))
        wanted = target_of(self.prediction, clean, noise, alphas)
        errors = (said.float() - wanted.float()).square().flatten(1).mean(dim=1)
        if snr_gamma is not None:
            errors = errors * min_snr_weights(alphas, self.prediction, snr_gamma)
        return errors.mean()


def _positive(name: str, value: int) -> int:
    if value < 1:
        raise GeneratorError(f"{name}: expected at least 1, got {value}")
    return int(value)
