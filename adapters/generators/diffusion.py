"""A latent diffusion model as a generator (Rombach et al., 2022, https://arxiv.org/abs/2112.10752).

The modules are those of diffusers, the loop over them (:mod:`inlay.adapters.generators.denoising.sampling`) is our own,
because two of the three pipelines are deprecated there; tests compare it with each pipeline.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from inlay.adapters.compatibility.digest import weights_digest
from inlay.adapters.generators.denoising.arguments import check_guidance, check_texts
from inlay.adapters.generators.denoising.conditioning import check_conditioning, check_given
from inlay.adapters.generators.denoising.finite import check_finite
from inlay.adapters.generators.denoising.noise import draw, random_sources
from inlay.adapters.generators.denoising.sampling import denoise
from inlay.adapters.generators.denoising.schedule import (
    Prediction,
    alphas_of,
    draws_noise,
    prediction_of,
    scheduler_for,
)
from inlay.adapters.generators.denoising.training_loss import denoising_loss
from inlay.adapters.generators.protocol import GeneratorError, Made, MediaSize, Seed
from inlay.adapters.generators.text import TextEncoder
from inlay.adapters.language.freeze import freeze
from inlay.adapters.media.modality import Modality
from inlay.hub.format.manifest import PortSpec, Scalar

__all__ = ["LatentDiffusion"]


class LatentDiffusion(nn.Module):
    """The common part of the generators; each subclass defines how latents are shaped, denoised and decoded.

    Args:
        unet: a unet of diffusers; its configuration has the width of the conditioning.
        vae: an ``AutoencoderKL``.
        scheduler: a scheduler of diffusers; every call works on a copy.
        text: the generator's own text encoder; None if an output projector replaces it.
        tokens: vectors of the conditioning; needed without a text encoder.
        unconditional: ``[1, tokens, width]``, the conditioning of an empty text, for guidance without a text encoder.
        source: the Hub id, or another name under which the same weights can be found again.
        revision: the commit on the Hub, 40 hex digits.

    Raises:
        GeneratorError: text encoder, ``unconditional`` and unet do not agree on the conditioning.
    """

    modality: ClassVar[Modality]
    family: ClassVar[str]
    pipeline: ClassVar[str]
    """Class name of the pipeline in diffusers, as ``model_index.json`` has it."""
    reads: ClassVar[str]
    """How the unet takes the conditioning: ``cross_attention``, ``class_labels`` or ``joint_attention``."""
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
        self.tokens = self._tokens(text, tokens)
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
        self._alphas: tuple[Tensor, Tensor] | None = None
        """The scheduler's table, and its copy on the device of the unet."""

    def _tokens(self, text: TextEncoder | None, tokens: int | None) -> int:
        if text is None and (tokens is None or tokens < 1):
            raise GeneratorError(
                f"{self.family}: without a text encoder the number of vectors is needed: tokens=77, or 1 if pooled; "
                f"got {tokens}"
            )
        if text is not None and tokens is not None and text.tokens != tokens:
            raise GeneratorError(f"{self.family}: tokens: the text encoder gives {text.tokens} vectors, got {tokens}")
        return int(text.tokens if text is not None else tokens or 0)

    @abstractmethod
    def _width(self) -> int:
        """Values per vector of the conditioning, from the unet's configuration."""

    @abstractmethod
    def latent_shape(self, size: MediaSize = None) -> tuple[int, ...]:
        """The shape of the latents of one medium, without the batch.

        Raises:
            GeneratorError: a size that this model cannot generate.
        """

    @abstractmethod
    def denoised(self, latents: Tensor, step: Tensor, conditioning: Tensor) -> Tensor:
        """The unet's prediction for latents ``[n, ...]`` at a timestep, under ``[n, tokens, width]``."""

    @abstractmethod
    def decoded(self, latents: Tensor, size: MediaSize = None) -> Tensor:
        """Pixels or samples ``[n, ...]``, about between -1 and 1, from latents ``[n, ...]``."""

    @abstractmethod
    def media_of(self, values: Tensor, size: MediaSize = None) -> list[Made]:
        """Media from the values that :meth:`decoded` gives."""

    def decode(self, latents: Tensor, size: MediaSize = None) -> list[Made]:
        """Media from latents ``[n, ...]``.

        Raises:
            GeneratorError: the decoder gave NaN or infinite values.
        """
        return self.media_of(check_finite(self.decoded(latents, size), f"{self.family}: decoding"), size)

    def prepared(self, conditioning: Tensor) -> Tensor:
        """Conditioning ``[n, tokens, width]`` in the form in which the unet was trained on it."""
        return conditioning

    @property
    def device(self) -> torch.device:
        """Device of the unet."""
        place: torch.device = next(self.unet.parameters()).device
        return place

    @property
    def dtype(self) -> torch.dtype:
        """Data type of the unet's weights and of the latents."""
        kind: torch.dtype = next(self.unet.parameters()).dtype
        return kind

    @property
    def scale_factor(self) -> int:
        """Pixels (or columns of a spectrogram) per latent, in each direction."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @cached_property
    def port(self) -> PortSpec:
        """The interface that an adapter stores; the digest leaves out the text encoder, which may be absent."""
        settings: dict[str, Scalar] = {"prediction_type": self.prediction, "conditioning": self.reads}
        return PortSpec(
            kind="generator",
            family=self.family,
            width=self.width,
            tokens=self.tokens,
            source=self.source,
            revision=self.revision,
            tokenizer=None,
            weights=weights_digest(self._digested()),
            settings=settings,
        )

    def _digested(self) -> nn.Module:
        return nn.ModuleList([self.unet, self.vae])

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Conditioning ``[n, tokens, width]`` by its own text encoder.

        Raises:
            GeneratorError: the text encoder was not loaded, or the argument is not a list of texts.
        """
        if self.text is None:
            raise GeneratorError(
                f"{self.source or self.family}: this generator was loaded without its text encoder, so it takes the "
                "conditioning of an output projector only; load it with text_encoder=True"
            )
        if not check_texts(texts):
            return torch.zeros(0, self.tokens, self.width, device=self.device, dtype=self.dtype)
        return cast(TextEncoder, self.text).encode(texts)

    def checked(self, conditioning: Tensor, name: str = "conditioning") -> Tensor:
        """Check conditioning and convert it to the unet's device, dtype and form of training.

        Raises:
            GeneratorError: no floating-point tensor of the shape ``[n, tokens, width]``.
        """
        given = check_conditioning(conditioning, f"{self.family}: {name}", self.tokens, self.width)
        return self.prepared(given.to(self.device)).to(self.dtype)

    @torch.no_grad()
    def generate(
        self,
        conditioning: Tensor,
        *,
        negative: Tensor | None = None,
        guidance_scale: float | None = None,
        steps: int | None = None,
        seed: Seed = None,
        size: MediaSize = None,
    ) -> list[Made]:
        """Media from conditioning.

        Args:
            conditioning: ``[n, tokens, width]``.
            negative: ``[n, tokens, width]`` or ``[1, tokens, width]``, for guidance; by default that of an empty text.
            guidance_scale: strength of the guidance; up to 1 there is none, and no second pass.
            steps: denoising steps; the generator's default if None.
            seed: see :data:`inlay.adapters.generators.Seed`.
            size: see :data:`inlay.adapters.generators.MediaSize`.

        Raises:
            GeneratorError: an argument that this model does not support, guidance without the conditioning of an empty
                text, or NaN and infinite values, in the conditioning or while denoising and decoding.
        """
        latents = self.sample(
            conditioning, negative=negative, guidance_scale=guidance_scale, steps=steps, seed=seed, size=size
        )
        return self.decode(latents, size) if len(latents) else []

    @torch.no_grad()
    def sample(
        self,
        conditioning: Tensor,
        *,
        negative: Tensor | None = None,
        guidance_scale: float | None = None,
        steps: int | None = None,
        seed: Seed = None,
        size: MediaSize = None,
    ) -> Tensor:
        """Denoised latents ``[n, ...]``; arguments and errors as in :meth:`generate`."""
        positive = self._finite(conditioning, "conditioning")
        count, shape, sources = len(positive), self.latent_shape(size), random_sources(seed, len(positive))
        scale = check_guidance(self.default_guidance if guidance_scale is None else guidance_scale)
        scheduler = scheduler_for(self.scheduler, self.default_steps if steps is None else steps)
        if not count:
            return torch.zeros(0, *shape, device=self.device, dtype=self.dtype)
        guided = scale > 1.0
        latents = draw((count, *shape), sources, device=self.device, dtype=self.dtype)
        return denoise(
            self,
            scheduler,
            latents * scheduler.init_noise_sigma,
            positive,
            self._negative(negative, count) if guided else None,
            scale=scale,
            sources=sources,
        )

    def stepped(
        self,
        scheduler: Any,
        predicted: Tensor,
        step: Tensor,
        latents: Tensor,
        sources: Sequence[torch.Generator] | None,
    ) -> Tensor:
        """Latents after one step; ``sources`` has one source of random numbers for each row of ``latents``."""
        noise = {"generator": sources} if draws_noise(scheduler) else {}
        after: Tensor = scheduler.step(predicted, step, latents, **noise, return_dict=False)[0]
        return after.to(latents.dtype)

    def _finite(self, conditioning: Tensor, name: str) -> Tensor:
        converted = self.checked(conditioning, name)
        check_given(conditioning, converted, f"{self.family}: {name}")
        return converted

    def _negative(self, negative: Tensor | None, count: int) -> Tensor:
        if negative is None:
            negative = self.unconditional if self.text is None else self.encode_text([""])
        if negative is None:
            raise GeneratorError(
                f"{self.family}: guidance needs the conditioning of an empty text; load the generator with "
                "load_generator, which keeps it, or give negative=..., or guidance_scale=1"
            )
        checked = self._finite(negative, "negative")
        if len(checked) not in (1, count):
            raise GeneratorError(f"{self.family}: negative: expected 1 or {count} rows, got {len(checked)}")
        return checked.expand(count, -1, -1)

    def encoded(self, pixels: Tensor) -> Tensor:
        """Scaled latents of pixels (or spectrograms), the means of the encoder."""
        values = pixels.to(device=self.device, dtype=self.dtype)
        latents: Tensor = self.vae.encode(values).latent_dist.mode() * self.vae.config.scaling_factor
        return latents

    def diffusion_loss(
        self,
        conditioning: Tensor,
        latents: Tensor,
        *,
        noise: Tensor | None = None,
        timesteps: Tensor | None = None,
        snr_gamma: float | None = None,
    ) -> Tensor:
        """Squared error of the unet's prediction for noised latents; the kind of prediction is that of the scheduler.

        No value is copied to the host, so NaN in the arguments gives a loss that is NaN.

        Args:
            conditioning: ``[n, tokens, width]``; gets a gradient through the frozen unet.
            latents: ``[n, ...]`` of the media, see ``encode_media`` of the subclasses.
            noise: as in :func:`inlay.adapters.generators.denoising.training_loss.denoising_loss`.
            timesteps: as in the same function.
            snr_gamma: as in the same function.

        Returns:
            A scalar in float32.

        Raises:
            GeneratorError: arguments of other shapes, or no media.
        """
        given = self.checked(conditioning)
        if len(latents) != len(given):
            raise GeneratorError(f"{self.family}: latents: expected {len(given)} rows, got {len(latents)}")
        return denoising_loss(
            lambda noised, steps: self.denoised(noised, steps, given),
            latents.to(device=self.device, dtype=self.dtype),
            self._alphas_here(),
            self.prediction,
            noise=noise,
            timesteps=timesteps,
            snr_gamma=snr_gamma,
        )

    def _alphas_here(self) -> Tensor:
        """The table on the unet's device; copied once, since a copy makes the host wait."""
        table = alphas_of(self.scheduler)
        if self._alphas is None or self._alphas[0] is not table or self._alphas[1].device != self.device:
            self._alphas = (table, table.to(self.device))
        return self._alphas[1]
