from __future__ import annotations

import pytest
import torch

pytest.importorskip("diffusers")

from pretraining.audio.audioldm import SPECTROGRAMS
from pretraining.diffusion.autoencoder import PICTURES, latents_of, make_autoencoder, train_autoencoder


def test_pictures_and_spectrograms_have_the_latents_that_the_generators_draw() -> None:
    assert latents_of(make_autoencoder(PICTURES), torch.randn(2, 3, 32, 32)).shape == (2, 4, 8, 8)
    assert latents_of(make_autoencoder(SPECTROGRAMS), torch.randn(2, 1, 96, 64)).shape == (2, 8, 12, 8)


def test_mean_and_deviation_are_folded_into_the_outer_layers() -> None:
    torch.manual_seed(0)
    model = make_autoencoder(SPECTROGRAMS)
    first = model.encoder.conv_in
    torch.manual_seed(0)
    plain = make_autoencoder(SPECTROGRAMS.__class__(**{**_fields(SPECTROGRAMS), "mean": 0.0, "deviation": 1.0}))
    values = torch.randn(1, 1, 16, 16)
    given = values * SPECTROGRAMS.deviation + SPECTROGRAMS.mean
    inner = (slice(None), slice(None), slice(1, -1), slice(1, -1))  # the border sees zeros around
    torch.testing.assert_close(first(given)[inner], plain.encoder.conv_in(values)[inner], rtol=1e-4, atol=1e-4)
    states = torch.randn(1, SPECTROGRAMS.blocks[0], 4, 4)
    expected = plain.decoder.conv_out(states) * SPECTROGRAMS.deviation + SPECTROGRAMS.mean
    torch.testing.assert_close(model.decoder.conv_out(states), expected)


def _fields(sizes: object) -> dict[str, object]:
    return {name: getattr(sizes, name) for name in sizes.__dataclass_fields__}


def test_the_decoder_alone_changes_no_latent_but_their_scale() -> None:
    torch.manual_seed(0)
    model = make_autoencoder(PICTURES)
    pictures = torch.rand(4, 3, 32, 32)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    train_autoencoder(model, lambda: pictures, PICTURES, steps=0, decoder_steps=2)
    changed = {name.split(".")[0] for name, tensor in model.state_dict().items() if not tensor.equal(before[name])}
    assert changed <= {"decoder", "post_quant_conv"}
    assert "decoder" in changed
    assert latents_of(model, pictures).std() == pytest.approx(1, rel=0.01)


def test_it_learns() -> None:
    torch.manual_seed(0)
    model = make_autoencoder(PICTURES)
    pictures = torch.ones(4, 3, 32, 32)
    train_autoencoder(model, lambda: pictures, PICTURES, steps=15, decoder_steps=0)
    with torch.no_grad():
        made = model.decode(model.encode(pictures).latent_dist.mean).sample
    assert (made - pictures).abs().mean() < 0.5
