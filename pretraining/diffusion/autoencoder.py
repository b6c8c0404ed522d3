"""The autoencoders of the generators: a small `AutoencoderKL` of diffusers, and its training.

A picture of 32 x 32 has a latent of 4 channels of 8 x 8, a spectrogram of 96 x 64 one of 8 channels of 12 x 8, as in
latent diffusion (https://arxiv.org/abs/2112.10752). There is no discriminator, because the media have no texture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from pretraining import training_loop
from pretraining.optimizers import scheduled

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from pretraining.optimizers import Scheduled

KL_WEIGHT = 1e-3  # weight of the divergence, which keeps latents near mean 0 and deviation 1
LEARNING_RATE = 2e-3
WARM_UP = 50  # steps
NOISE = 0.05  # on the latents when only the decoder is trained, because latents of a generator are not exact


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """The sizes of an autoencoder."""

    channels: int
    """Of the input."""
    latent: int
    """Channels of a latent."""
    blocks: tuple[int, ...]
    """Channels at each resolution; each resolution has half the side of the previous one."""
    groups: int
    """Groups of all group norms."""
    side: int
    """Side of the input; other multiples of the factor work too."""
    mean: float = 0.0
    """Mean of the input; folded into the first and last layer."""
    deviation: float = 1.0
    """Deviation of the input; folded in as well."""


PICTURES = Sizes(channels=3, latent=4, blocks=(16, 32, 64), groups=8, side=32)


def make_autoencoder(sizes: Sizes) -> Any:
    """An `AutoencoderKL` with random weights."""
    from diffusers import AutoencoderKL

    count = len(sizes.blocks)
    model: Any = AutoencoderKL(
        in_channels=sizes.channels,
        out_channels=sizes.channels,
        down_block_types=("DownEncoderBlock2D",) * count,
        up_block_types=("UpDecoderBlock2D",) * count,
        block_out_channels=sizes.blocks,
        layers_per_block=1,
        latent_channels=sizes.latent,
        norm_num_groups=sizes.groups,
        sample_size=sizes.side,
        mid_block_add_attention=False,
        scaling_factor=1.0,
    )
    first, last = model.encoder.conv_in, model.decoder.conv_out
    with torch.no_grad():
        first.weight /= sizes.deviation
        first.bias -= sizes.mean * first.weight.sum((1, 2, 3))
        last.weight *= sizes.deviation
        last.bias.mul_(sizes.deviation).add_(sizes.mean)
    return model


def train_autoencoder(model: Any, draw: Callable[[], Tensor], sizes: Sizes, *, steps: int, decoder_steps: int) -> None:
    """Train in place with absolute and squared error and the KL divergence; then train the decoder alone.

    The second part does not change the latents; it makes the edges sharper.

    Args:
        model: An `AutoencoderKL`.
        draw: Returns a new batch (n, channels, height, width).
        sizes: The sizes of the model.
        steps: Steps of the first part.
        decoder_steps: Steps of the second part.
    """

    def errors(made: Tensor, wanted: Tensor) -> dict[str, Tensor]:
        error = (made - wanted) / sizes.deviation
        return {"absolute": error.abs().mean(), "squared": (error**2).mean()}

    def both(step: int) -> dict[str, Tensor]:
        del step  # all steps are the same
        wanted = draw()
        posterior = model.encode(wanted).latent_dist
        divergence = (posterior.mean**2 + posterior.var - 1 - posterior.logvar).mean() / 2
        made = model.decode(posterior.sample()).sample
        return {**errors(made, wanted), "divergence": KL_WEIGHT * divergence}

    def decoder(step: int) -> dict[str, Tensor]:
        del step  # all steps are the same
        wanted = draw()
        with torch.no_grad():
            means = model.encode(wanted).latent_dist.mean
        return errors(model.decode(means + NOISE * torch.randn_like(means)).sample, wanted)

    def report() -> None:
        with torch.no_grad():
            wanted = draw()
            made = model.decode(model.encode(wanted).latent_dist.mean).sample
        print(f"error {errors(made, wanted)['absolute'].item():.4f}", flush=True)

    for losses, count in ((both, steps), (decoder, decoder_steps)):
        training_loop.train(model, losses, _optimizer(model, count), steps=count, report=report)
    model.eval()
    with torch.no_grad():
        deviation = torch.cat([model.encode(draw()).latent_dist.mean for _ in range(4)]).std().item()
    model.register_to_config(scaling_factor=round(1 / deviation, 4))


def _optimizer(model: Any, steps: int) -> list[Scheduled]:
    """Adam without weight decay; the learning rate falls over the second half."""
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, betas=(0.9, 0.99), weight_decay=0.0)
    return [scheduled(optimizer, steps=steps, warm_up=WARM_UP, decay=0.5)]


@torch.no_grad()
def latents_of(model: Any, media: Tensor) -> Tensor:
    """The scaled latents of media (n, channels, height, width)."""
    means = torch.cat([model.encode(part).latent_dist.mean for part in torch.split(media, 128)])
    return means * float(model.config.scaling_factor)
