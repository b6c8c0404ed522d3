from __future__ import annotations

from random import Random

import torch

from inlay.adapters.encoders.imagebind import ImageBindEncoder
from inlay.adapters.loading.released.imagebind import load_imagebind
from inlay.recipes.miniature import backbone_path
from inlay.recipes.miniature.media.captions import caption_of
from inlay.recipes.miniature.media.rendering import MODALITIES, render_medium
from inlay.recipes.miniature.media.specs import DRAWINGS, MOVEMENTS, TONES
from pretraining.diffusion.prompt_tokenizers import make_clip_tokenizer
from pretraining.multimodal.imagebind import contrast, make_model, perturb, tensors_of, text_ids, word_losses
from pretraining.multimodal.vector_probe import probe_media


def test_it_loads_in_single_precision() -> None:
    model, commit = load_imagebind(backbone_path("imagebind"))
    assert commit is None
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert set(model.config.branches) == {"vision", "audio", "text"}


def test_attributes_are_read_off_held_out_media() -> None:
    model, _ = load_imagebind(backbone_path("imagebind"))
    figures = probe_media(model, number=240)
    assert min(figures.values()) >= 0.9, figures


def test_media_are_near_their_own_captions() -> None:
    model, _ = load_imagebind(backbone_path("imagebind"))
    tokenizer = make_clip_tokenizer()
    for values in (DRAWINGS, TONES, MOVEMENTS):
        chosen = Random(0).sample([value for value in values if value.split == "train"], 12)
        modality = MODALITIES[type(chosen[0])]
        encoder = ImageBindEncoder(model, modality, scaled=False)
        media = encoder.encode(encoder.preprocess([render_medium(value, Random(1)) for value in chosen], "squash"))[
            :, 0
        ]
        with torch.no_grad():
            texts = model.embed("text", text_ids(tokenizer, [caption_of(value) for value in chosen]), scaled=False)
        right = (media @ texts.T).argmax(1) == torch.arange(12)
        assert right.float().mean() >= 0.75, modality


def test_the_losses_fall_where_media_are_at_their_texts() -> None:
    texts = torch.eye(4)
    owners = torch.tensor([0, 1, 1, 3, 2])
    assert contrast(texts[owners], texts, owners) < 0.3 < contrast(texts[owners.flip(0)], texts, owners)
    tokenizer = make_clip_tokenizer()
    model = make_model(len(tokenizer))
    drawn = list(TONES[:6])
    with torch.no_grad():
        media = model.embed("audio", tensors_of(model, drawn, Random(0)), scaled=False)
        assert torch.isfinite(word_losses(model, tokenizer, drawn, media))


def test_texts_are_filled_up_with_zeros_behind_their_end() -> None:
    tokenizer = make_clip_tokenizer()
    (ids,) = text_ids(tokenizer, ["a red circle"])
    assert ids.shape == (16,)
    assert ids.argmax() == 4
    assert ids[5:].sum() == 0


def test_strange_media_keep_their_shapes_and_lose_what_is_not_said() -> None:
    model = make_model(10)
    pictures = tensors_of(model, list(DRAWINGS[:5]), Random(0))
    altered, said = perturb(pictures)
    assert said == ("shape", "size", "direction")
    # All pixels of a picture are on one line through the colours: it has one tint.
    flat = altered.flatten(2) - altered.flatten(2).mean(2, keepdim=True)
    assert all(int(torch.linalg.matrix_rank(one, tol=1e-2)) == 1 for one in flat)
    clips = tensors_of(model, list(MOVEMENTS[:2]), Random(0))
    assert perturb(clips)[0].shape == clips.shape
    sounds = tensors_of(model, list(TONES[:3]), Random(0))
    rolled, said = perturb(sounds)
    assert said == ("count", "tempo")
    torch.testing.assert_close(rolled.sum(3), sounds.sum(3), rtol=1e-4, atol=1e-2)
    assert not torch.allclose(rolled, sounds)
