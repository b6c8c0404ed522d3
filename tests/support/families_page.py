"""Writes docs/results/families.md: what each family of models can do here, from the checks of the tests, on tiny ones.

From the root of a clone: ``PYTHONPATH=tests:tests/support python tests/support/families_page.py``
"""

from __future__ import annotations

import datetime
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import transformers
from conftest import make_clip, make_tokenizer  # type: ignore[import-not-found]  # PYTHONPATH=tests
from language_checks import LanguageRow, check_language
from tiny_encoders import IMAGE_ENCODERS, make_vision
from tiny_languages import DECODERS, ENCODER_DECODERS, LANGUAGE_CODES, MASKED, MULTIMODAL, make_language
from tiny_media_encoders import AUDIO_ENCODERS, VIDEO_ENCODERS, VIDEO_PROCESSOR, make_audio, make_video_model

from inlay.adapters.loading.encoders.audio import load_audio_encoder
from inlay.adapters.loading.encoders.image import load_image_encoder
from inlay.adapters.loading.encoders.video import load_video_encoder
from inlay.hub.errors import InlayError

__all__ = ["main", "page"]

PAGE = Path("docs/results/families.md")
_COLUMNS = """| family | loss | words | LoRA on | left out | chat | fast paths |
|---|---|---|---|---|---|---|
"""
HEAD = """# Families

Made by `PYTHONPATH=tests:tests/support python tests/support/families_page.py` on {date}, with transformers {version},
in float32 on a CPU. Every model is tiny and has random weights; the checks are those of
`tests/adapters/language/test_families.py` and of `test_any_vision.py`, `test_audio_families.py` and `test_any_video.py`
in `tests/adapters/encoders`. Other families are loaded as well: what a model can do is found by running it, not by its
name.

## Language models

- **loss**: the relative difference between the loss of a padded batch that enters as embeddings, and that of
  transformers from token ids. **words**: greedy generation from embeddings writes the same tokens.
- **LoRA on**: the names that `all-linear` stands for (the default; `--lora.targets`). Not changed: the LM head,
  embeddings, and what the next column names. Every matrix gets a gradient.
- **chat**: a conversation with a picture was answered.
- **fast paths**, each found by a probe on the model: *head* (the loss without the scores of a whole batch), *packed*
  (rows lie end to end, without padding).

"""
PARTS = """
### Language parts of finished multimodal models

The language model alone is read from the folder. Qwen2-VL, Qwen2.5-VL, Qwen3-VL and GLM-4V are refused: transformers
has no causal language model for their language parts. Gemma 3n, and Gemma 4 with embeddings for each layer, are refused
too: they look these up by token ids, which media do not have.

"""
REFUSED = """
### Refused, with the reason

| family | reason |
|---|---|
"""
IMAGES = """
## Image encoders

**special**: tokens in front of the patches (class, distillation, registers), dropped unless `class_token` is `keep`;
none is a rule of its own. A **map** is read row by row.

| family | class | features | special | tokens x width |
|---|---|---|---|---|
"""


SOUNDS = """
## Audio encoders

The features of a sound of 0.5 s (of the whole window where a family has a fixed one) are those of transformers; so are
those of a shorter sound, alone and in a batch: `tests/adapters/encoders/audio/test_audio_families.py`. Of a model that
writes text (Whisper, Moonshine, Speech2Text) the encoder alone is kept. BEATs and ImageBind are read from the files of
their authors.

| family | class | feature extractor | special | tokens x width |
|---|---|---|---|---|
"""
CLIPS = """
## Video encoders

Models of whole clips, whose tokens span several frames; **frames** are those of the model's config. Any image encoder
encodes single frames too. The checks are those of `tests/adapters/encoders/video/test_any_video.py`.

| family | class | frames | special | tokens x width |
|---|---|---|---|---|
"""
FEATURES = """
## No encoder

`precomputed(width, tokens)` takes features from files, of any kind of data:
[Features instead of an encoder](../howto/extending/features.md).
"""


def page() -> str:
    """The whole page."""
    text = HEAD.format(date=datetime.datetime.now(tz=datetime.UTC).date(), version=transformers.__version__) + _COLUMNS
    text += "".join(_language(name, kind) for name, kind in sorted({**DECODERS, **ENCODER_DECODERS}.items()))
    text += PARTS + _COLUMNS + "".join(_language(name, kind) for name, kind in sorted(MULTIMODAL.items()))
    refused = {**LANGUAGE_CODES, **MASKED, **OTHERS}
    text += REFUSED + "".join(_refusal(name, kind) for name, kind in sorted(refused.items()))
    text += IMAGES + "".join(_image(name) for name in IMAGE_ENCODERS)
    text += SOUNDS + "".join(_sound(name) for name in AUDIO_ENCODERS)
    return text + CLIPS + "".join(_clip(name) for name in VIDEO_ENCODERS) + FEATURES


OTHERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "openai-gpt": ("OpenAIGPTLMHeadModel", "OpenAIGPTConfig", {"n_embd": 32, "n_layer": 1, "n_head": 4}),
    "cpmant": (
        "CpmAntForCausalLM",
        "CpmAntConfig",
        {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "dim_head": 8, "dim_ff": 48},
    ),
    "xlnet": ("XLNetLMHeadModel", "XLNetConfig", {"d_model": 32, "n_layer": 1, "n_head": 4, "d_inner": 48}),
}
"""Language models that do not take embeddings."""


def _language(name: str, kind: Any) -> str:
    tokenizer = make_tokenizer()
    model = make_language(kind, len(tokenizer))
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        row: LanguageRow = check_language(Path(folder), model, make_clip())
    paths = ", ".join(word for word, has in (("head", row.head), ("packed", row.packs)) if has)
    loss = "equal" if row.loss_gap == 0 else f"{row.loss_gap:.0e}"
    cells = (loss, _yes(row.same_words), " ".join(row.targets), "; ".join(row.untouched), _yes(bool(row.words)), paths)
    return f"| {name} | {' | '.join(cell or '-' for cell in cells)} |\n"


def _refusal(name: str, kind: Any) -> str:
    tokenizer = make_tokenizer()
    with tempfile.TemporaryDirectory() as folder:
        make_language(kind, len(tokenizer)).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        try:
            check_language(Path(folder), None, None)
        except InlayError as error:
            return f"| {name} | {str(error).removeprefix(f'{folder}: ')} |\n"
    raise RuntimeError(f"{name} is not refused")


def _image(name: str) -> str:
    model, processor = make_vision(name)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
        encoder: Any = load_image_encoder(folder)
    special = getattr(encoder, "special", 1)
    form = getattr(encoder, "layout", "sequence")
    return f"| {name} | {type(model).__name__} | {form} | {special or 'none'} | {encoder.tokens} x {encoder.width} |\n"


def _sound(name: str) -> str:
    model, extractor = make_audio(name)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        extractor.save_pretrained(folder)
        fixed = name in ("clap", "whisper")
        encoder: Any = load_audio_encoder(folder, feature_options={} if fixed else {"seconds": 0.5})
    special = getattr(encoder, "special", 0) or "none"
    classes = f"{type(model).__name__} | {type(extractor).__name__}"
    return f"| {name} | {classes} | {special} | {encoder.tokens} x {encoder.width} |\n"


def _clip(name: str) -> str:
    model = make_video_model(name)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        (Path(folder) / "preprocessor_config.json").write_text(json.dumps(VIDEO_PROCESSOR))
        encoder: Any = load_video_encoder(folder)
    shape = f"{encoder.special or 'none'} | {encoder.tokens} x {encoder.width}"
    return f"| {name} | {type(model).__name__} | {encoder.frames} | {shape} |\n"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def main() -> None:
    """Write the page."""
    torch.manual_seed(0)
    PAGE.write_text(page())


if __name__ == "__main__":
    sys.exit(main())
