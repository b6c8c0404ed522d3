"""A bundle restores the options of its encoders: image size, layer, frames, window, kind of features."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_encoders import make_vision
from tiny_media_encoders import VIDEO_PROCESSOR, make_audio, make_video_model

from inlay.adapters import Adapter, Backbone, Layout, MlpConfig
from inlay.adapters.loading.encoders.several import load_encoders
from inlay.recipes.settings.run import BackboneSettings
from inlay.recipes.systems.load_backbone import backbone_for, miniature_backbone

OPTIONS: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "image of another size": ("image", "dinov2", {"image_size": 48}),
    "kept class token": ("image", "dinov2_with_registers", {"class_token": "keep", "layer": 1}),
    "frames of pictures": ("video", "siglip", {"frames": 3, "pooling": "mean", "image_size": 48}),
    "frames of clips": ("video", "vjepa2", {"frames": 8, "layer": 1}),
    "window": ("audio", "hubert", {"seconds": 0.5}),
    "window of any model": ("audio", "wav2vec2-bert", {"seconds": 0.7, "layer": 1}),
    "kind of features": ("audio", "clap", {"features": "grid"}),
}


def saved(name: str, folder: Path) -> Path:
    if name in ("vjepa2",):
        make_video_model(name).save_pretrained(folder)
        (folder / "video_preprocessor_config.json").write_text(json.dumps(VIDEO_PROCESSOR))
        return folder
    model, processor = make_audio(name) if name in ("hubert", "wav2vec2-bert", "clap") else make_vision(name)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("case", OPTIONS)
def test_an_adapter_gets_the_encoder_that_it_was_trained_with(case: str, tmp_path: Path) -> None:
    modality, name, options = OPTIONS[case]
    source = saved(name, tmp_path)
    trained = load_encoders({modality: source}, feature_options={modality: options})[modality]
    default = load_encoders({modality: source})[modality]
    assert default.port != trained.port
    backbone = Backbone(miniature_backbone().llm, {modality: trained})
    layout = Layout.published("plain")
    adapter = Adapter.for_backbone(backbone, system="own", name="own", layout=layout, inputs={modality: MlpConfig()})
    settings = BackboneSettings(
        **{modality: str(source), **({"llm": "inlay-miniature/llama"} if modality == "image" else {})}
    )
    again = backbone_for(adapter, settings)
    assert again.encoder(modality).port == trained.port
    assert adapter.compatibility(again).verdict == "exact"
