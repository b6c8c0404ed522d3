"""Sounds and clips all the way: message -> file -> encoder -> projector -> LLM -> loss, text, bundle, canary."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import av
import numpy as np
import pytest
import soundfile
import torch
from transformers import WhisperConfig, WhisperFeatureExtractor
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from inlay.adapters.adapter import Adapter
from inlay.adapters.backbone import Backbone
from inlay.adapters.chat.rank_answers import rank_answers
from inlay.adapters.compatibility.canary import PATTERNS, CanaryError, drift, record, sweep, verify
from inlay.adapters.compatibility.verdict import IncompatibleBackbone
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import parse_messages
from inlay.adapters.core.batch import Batch
from inlay.adapters.encoders import FrameEncoder, HubertEncoder, WhisperAudioEncoder
from inlay.adapters.inputs import CFormerConfig, LinearConfig
from inlay.adapters.media.image import MediaError
from inlay.adapters.media.modality import Modality


def whisper(seed: int = 0) -> WhisperAudioEncoder:
    torch.manual_seed(seed)
    config = WhisperConfig(
        d_model=16,
        encoder_layers=1,
        encoder_attention_heads=2,
        encoder_ffn_dim=16,
        max_source_positions=50,
        num_mel_bins=8,
    )
    return WhisperAudioEncoder(WhisperEncoder(config), WhisperFeatureExtractor(feature_size=8, chunk_length=1))


def hubert() -> HubertEncoder:
    from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

    torch.manual_seed(0)
    config = HubertConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8, 8),
        conv_kernel=(400, 2),
        conv_stride=(160, 2),
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
    )
    return HubertEncoder(HubertModel(config), Wav2Vec2FeatureExtractor(), seconds=1.0)


@pytest.fixture
def backbone(llm_of: Any, clip_of: Any) -> Backbone:
    encoders = {"image": clip_of(), "audio": whisper(), "video": FrameEncoder(clip_of(), frames=3, pooling="mean")}
    return Backbone(llm_of("llama"), encoders)


def adapter_for(backbone: Backbone) -> Adapter:
    torch.manual_seed(1)
    inputs = {
        "image": LinearConfig(),
        "audio": CFormerConfig(queries=3, hidden=16, layers=1, heads=2, ffn=16),
        "video": LinearConfig(),
    }
    layout = Layout(template="vicuna_v1")
    return Adapter.for_backbone(backbone, system="test", name="senses", layout=layout, inputs=inputs)


@pytest.fixture
def files(tmp_path: Path, image_of: Any) -> dict[str, Path]:
    """A picture, a sound and a clip on disk."""
    rng = np.random.default_rng(0)
    image_of().save(tmp_path / "a.png")
    soundfile.write(tmp_path / "a.wav", rng.normal(0, 0.1, (9_000, 2)), 22_050)
    with av.open(str(tmp_path / "a.mp4"), "w", format="mp4") as output:
        stream = output.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for _ in range(10):
            picture = rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        output.mux(stream.encode())
    return {"image": tmp_path / "a.png", "audio": tmp_path / "a.wav", "video": tmp_path / "a.mp4"}


def asked(files: dict[str, Path], *modalities: str, answer: str | None = None) -> list[dict[str, Any]]:
    content = [{"type": name, "path": str(files[name])} for name in modalities]
    turns = [{"role": "user", "content": [*content, {"type": "text", "text": "what is it?"}]}]
    return turns if answer is None else [*turns, {"role": "assistant", "content": answer}]


def test_any_mix_of_senses_trains_and_answers(backbone: Backbone, files: dict[str, Path]) -> None:
    adapter = adapter_for(backbone)
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    model = adapter.attach(backbone, verify=False)
    assert model.tokens == {"image": 4, "audio": 3, "video": 4}
    batch = model.batch(
        [
            parse_messages(asked(files, "audio", "video", "image", answer="red")),
            parse_messages(asked(files, "video", answer="blue")),
            parse_messages(asked(files, answer="none")),
        ]
    )
    assert batch.order == ("audio", "video", "image", "video")
    output = model(batch)
    assert output.loss is not None
    output.loss.backward()
    assert all(tensor.grad is not None and bool(tensor.grad.any()) for tensor in adapter.inputs["audio"].parameters())
    reply = model.chat(asked(files, "video", "audio"), max_new_tokens=3)
    assert reply.tokens == 3
    ranked = rank_answers(model, [parse_messages(asked(files, "audio"))], ["red", "blue"])
    assert {item.text for item in ranked[0]} == {"red", "blue"}
    adapter.detach()
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.state_dict().items())


def test_batch_equals_single_runs(backbone: Backbone, files: dict[str, Path]) -> None:
    model = adapter_for(backbone).attach(backbone, verify=False)
    model.adapter.train(False)
    conversations = [
        parse_messages(asked(files, *names, answer="red")) for names in (("audio",), ("video", "audio"), ("image",))
    ]
    with torch.no_grad():
        together = model(model.batch(conversations)).logits
        alone: list[Any] = [model(model.batch([one])).logits for one in conversations]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-4, rtol=1e-4)


def test_encoder_of_several_tensors_moves_with_the_batch(llm_of: Any, files: dict[str, Path]) -> None:
    backbone = Backbone(llm_of("llama"), {"audio": hubert()})
    adapter = Adapter.for_backbone(
        backbone, system="test", name="ears", layout=Layout(template="plain"), inputs={"audio": LinearConfig()}
    )
    model = adapter.attach(backbone)
    batch = model.batch([parse_messages(asked(files, "audio", answer="red"))])
    assert set(batch.inputs["audio"]) == {"samples", "lengths"}
    moved: Batch = batch.to(torch.device("meta"))
    assert all(tensor.is_meta for tensor in moved.inputs["audio"].values())
    assert model(batch).loss is not None


def test_bundle_remembers_what_each_sense_needs(backbone: Backbone, files: dict[str, Path], tmp_path: Path) -> None:
    adapter = adapter_for(backbone)
    model = adapter.attach(backbone, verify=False)
    adapter.save_pretrained(tmp_path / "bundle", dtype="float32")
    question = parse_messages(asked(files, "audio", "video"))
    expected = model.probe(question)
    adapter.detach()
    again = Adapter.from_pretrained(tmp_path / "bundle")
    assert again.interface["audio"].settings == backbone.ports["audio"].settings
    assert again.canary is not None
    assert again.canary.media == {"image": "gradient", "audio": "sweep", "video": "drift"}
    torch.testing.assert_close(again.attach(backbone).probe(question), expected, rtol=1e-4, atol=1e-4)
    again.detach()
    other = Backbone(backbone.llm, {"image": backbone.encoder("image"), "audio": hubert()})
    with pytest.raises(IncompatibleBackbone, match=r"audio +family +whisper +hubert"):
        again.attach(other)


def test_canary_hears_and_sees() -> None:
    asked_for: list[Any] = []

    def forward(conversation: Any) -> torch.Tensor:
        asked_for.extend(part.source for part in conversation[0].content[:-1])
        return torch.linspace(0, 1, 40)

    canary = record(forward, ["audio", "video"])
    assert (asked_for[0].seconds, asked_for[0].rate, len(asked_for[1].frames)) == (2.0, 16_000, 8)
    assert verify(forward, canary, torch.float32) < 1e-5
    odd = canary.model_copy(update={"media": {"audio": "thunder"}})
    with pytest.raises(CanaryError, match="pattern 'thunder' for 'audio'"):
        verify(forward, odd, torch.float32)
    assert set(PATTERNS) == set(get_args(Modality))


def test_canaries_patterns_are_what_they_say() -> None:
    sound, clip = sweep(), drift()
    halves = sound.samples[:16_000], sound.samples[16_000:]
    crossings = [int((np.diff(np.sign(half)) != 0).sum()) for half in halves]
    assert crossings[1] > 2 * crossings[0] > 1000
    assert clip.frames[1].getpixel((8 + 3, 5)) == clip.frames[0].getpixel((3, 5))


def test_sound_that_cannot_be_read_is_named(backbone: Backbone, tmp_path: Path) -> None:
    model = adapter_for(backbone).attach(backbone, verify=False)
    (tmp_path / "a.wav").write_bytes(b"not a sound")
    with pytest.raises(MediaError, match=r"a\.wav: expected a WAV, FLAC, Ogg or MP3 file"):
        model.chat([{"role": "user", "content": [{"type": "audio", "path": str(tmp_path / "a.wav")}]}])


def test_published_projector_of_one_vector() -> None:
    """The linear layer of NExT-GPT and ModaVerse: 1024 -> 4096."""
    from inlay.adapters.inputs import build_projector

    with torch.device("meta"):
        projector = build_projector("linear", {"width_in": 1024, "width_out": 4096})
    assert sum(tensor.numel() for tensor in projector.parameters()) == 4_198_400
