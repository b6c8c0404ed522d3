from __future__ import annotations

from dataclasses import replace
from functools import partial
from random import Random

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize
from transformers import ClapModel, RobertaTokenizer

pytest.importorskip("diffusers")

from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.adapters.loading.encoders.audio import load_audio_encoder
from inlay.adapters.loading.generators import load_generator
from inlay.recipes.miniature import backbone_path
from inlay.recipes.miniature.judges.generated_media import judge_generated
from inlay.recipes.miniature.media.captions import caption_of
from inlay.recipes.miniature.media.sounds import render_sound
from inlay.recipes.miniature.media.specs import TONES
from inlay.recipes.settings.run import BackboneSettings
from inlay.recipes.systems import nextgpt
from inlay.recipes.systems.load_backbone import backbone_for, backbone_from
from pretraining.audio.audioldm import embed_prompts, make_text_encoder
from pretraining.audio.clap import make_extractor, mels_of, roll_bands
from pretraining.audio.sound_text_matching import ATTRIBUTES, matching, partly, train_clap
from pretraining.diffusion.prompt_tokenizers import make_roberta_tokenizer
from pretraining.multimodal.vector_probe import probe_encoders


def test_a_text_with_all_attributes_is_the_caption() -> None:
    assert [partly(tone, ATTRIBUTES) for tone in TONES] == [caption_of(tone) for tone in TONES]


def test_with_one_fit_each_it_is_the_contrastive_loss() -> None:
    logits = torch.randn(5, 5)
    owners = torch.arange(5)
    expected = (cross_entropy(logits, owners) + cross_entropy(logits.T, owners)) / 2
    torch.testing.assert_close(matching(logits, torch.eye(5)), expected)


def test_several_fits_share_the_loss() -> None:
    fits = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    alike = 20 * fits
    assert matching(alike, fits).item() == pytest.approx(torch.tensor([2.0, 2.0, 1.0]).log().mean().item(), abs=1e-4)


def test_the_encoder_learns_and_is_frozen_afterwards() -> None:
    torch.manual_seed(0)
    tokenizer = make_roberta_tokenizer()
    text = make_text_encoder(tokenizer)
    tones = [tone for tone in TONES if tone.split == "train"]
    # Latents in which each attribute stands for itself.
    latents = torch.tensor(
        [[float(getattr(tone, name) == value) for name in ATTRIBUTES for value in _values(name)] for tone in tones]
    )
    embed = partial(embed_prompts, text, tokenizer)
    train_clap(embed, text, tones, 3 * latents, Random(0), steps=60)
    assert not any(parameter.requires_grad for parameter in text.parameters())
    pitch = embed(["low beeps", "high beeps", "two slow low pure beeps", "two slow high pure beeps"])
    alike = pitch @ pitch.T
    assert alike[0, 2] > alike[0, 3]
    assert alike[1, 3] > alike[1, 2]


def _values(name: str) -> list[str]:
    return sorted({getattr(tone, name) for tone in TONES})


# The shipped model


def test_it_is_a_clap_model_of_less_than_a_megabyte() -> None:
    folder = backbone_path("clap")
    model = ClapModel.from_pretrained(folder)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 1_000_000
    assert not any("_name_or_path" in file.read_text("utf-8") for file in folder.glob("*.json"))
    assert RobertaTokenizer.from_pretrained(folder).get_vocab() == make_roberta_tokenizer().get_vocab()


def test_attributes_are_read_off_held_out_sounds() -> None:
    figures = probe_encoders({"audio": load_audio_encoder(backbone_path("clap"))}, number=240)
    assert set(figures) == {"audio pitch", "audio timbre", "audio count", "audio tempo"}
    assert min(figures.values()) >= 0.9, figures


def test_the_port_gives_what_transformers_gives() -> None:
    encoder = load_audio_encoder(backbone_path("clap"))
    model = ClapModel.from_pretrained(backbone_path("clap"))
    sounds = [render_sound(tone, Random(3)) for tone in TONES[:4]]
    with torch.no_grad():
        found = model.get_audio_features(input_features=mels_of(make_extractor(), sounds)).pooler_output
    torch.testing.assert_close(encoder.encode(encoder.preprocess(sounds, "squash"))[:, 0], normalize(found, dim=-1))


def test_sounds_are_near_what_audioldm_reads() -> None:
    encoder = load_audio_encoder(backbone_path("clap"))
    generator = load_generator(backbone_path("audioldm"), dtype=torch.float32)
    tones = [tone for tone in TONES if tone.split == "held_out"]
    texts = generator.encode_text([caption_of(tone) for tone in tones])[:, 0]
    sounds = [render_sound(tone, Random(seed)) for seed in range(4) for tone in tones]
    heard = encoder.encode(encoder.preprocess(sounds, "squash"))[:, 0]
    right = (heard @ texts.T).argmax(1) == torch.arange(len(tones)).repeat(4)
    assert right.float().mean() >= 0.8
    again = generator.generate(heard[: len(tones), None], steps=12, guidance_scale=3.0, seed=0)
    marks = [judge_generated(caption_of(tone), sound) for tone, sound in zip(tones, again, strict=True)]
    assert sum(mark["pitch"] for mark in marks if mark) >= 0.8 * len(tones)


def test_rolled_bands_keep_the_rhythm_and_nothing_else() -> None:
    torch.manual_seed(0)
    mels = mels_of(make_extractor(), [render_sound(tone, Random(0)) for tone in TONES[:6]])
    rolled = roll_bands(mels)
    torch.testing.assert_close(rolled.sum(-1), mels.sum(-1), rtol=1e-4, atol=1e-2)
    assert not any(torch.allclose(one, other) for one, other in zip(rolled, mels, strict=True))


def test_it_attaches_where_an_encoder_of_sounds_is_asked_for() -> None:
    settings = BackboneSettings(audio="inlay-miniature/clap")
    recipe = replace(nextgpt.recipe(), modalities=("audio",), signals={}, output=None)
    sources = replace(recipe.sources, video=None, generate_image=None, generate_audio=None, generate_video=None)
    backbone = backbone_from(settings, sources)
    assert backbone.encoder("audio").family == "clap"
    adapter = recipe.adapter(backbone, "hears")
    model = adapter.attach(backbone)
    asked = Message("user", (MediaPart("audio", render_sound(TONES[0], Random(0))), TextPart("what is heard?")))
    assert model.chat([asked], max_new_tokens=4).tokens
    assert adapter.interface["audio"].source == "inlay-miniature/clap"
    assert backbone_for(adapter).encoder("audio").port == backbone.encoder("audio").port
