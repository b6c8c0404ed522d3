"""ImageBind: the released names and shapes, a forward pass written out by hand, files that are not what they say."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from inlay.adapters.backbone import Backbone
from inlay.adapters.compatibility.verdict import check
from inlay.adapters.encoders.imagebind import ImageBind, ImageBindConfig, ImageBindEncoder
from inlay.adapters.encoders.protocol import EncoderError
from inlay.adapters.loading.encoders.audio import load_audio_encoder
from inlay.adapters.loading.encoders.several import load_encoders
from inlay.adapters.loading.encoders.video import load_video_encoder
from inlay.adapters.loading.pretrained import BackboneError
from inlay.adapters.loading.released.imagebind import load_imagebind, save_imagebind

BRANCHES = {  # width, blocks, tokens of imagebind_huge
    "vision": (1280, 32, 257),
    "text": (1024, 24, 77),
    "audio": (768, 12, 229),
    "depth": (384, 12, 197),
    "thermal": (768, 12, 197),
    "imu": (512, 6, 251),
}
STEMS = {
    "vision": ("rgbt_stem.proj.1.weight", (1280, 3, 2, 14, 14)),
    "audio": ("rgbt_stem.proj.weight", (768, 1, 16, 16)),
    "depth": ("depth_stem.proj.weight", (384, 1, 16, 16)),
    "thermal": ("rgbt_stem.proj.weight", (768, 1, 16, 16)),
    "imu": ("imu_stem.proj.weight", (512, 48)),
}


def released() -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes in imagebind_huge.pth."""
    for name, (width, blocks, tokens) in BRANCHES.items():
        before = f"modality_preprocessors.{name}"
        if name == "text":
            yield f"{before}.token_embedding.weight", (49408, 1024)
            yield f"{before}.mask", (77, 77)
        else:
            stem, shape = STEMS[name]
            yield f"{before}.cls_token", (1, 1, width)
            yield f"{before}.{stem}", shape
            if name != "vision":
                norm = stem.split(".")[0] + ".norm_layer"
                yield from ((f"{before}.{norm}.{kind}", (width,)) for kind in ("weight", "bias"))
        helper = "" if name in ("text", "imu") else ".pos_embedding_helper"
        yield f"{before}{helper}.pos_embed", (1, tokens, width)
        if name == "vision":
            yield from (
                (f"modality_trunks.vision.pre_transformer_layer.0.{kind}", (1280,)) for kind in ("weight", "bias")
            )
        for block in range(blocks):
            inside = f"modality_trunks.{name}.blocks.{block}"
            yield f"{inside}.attn.in_proj_weight", (3 * width, width)
            yield f"{inside}.attn.in_proj_bias", (3 * width,)
            yield f"{inside}.attn.out_proj.weight", (width, width)
            yield f"{inside}.attn.out_proj.bias", (width,)
            if name not in ("vision", "text"):
                yield from ((f"{inside}.attn.{kind}", (1, 1, width)) for kind in ("bias_k", "bias_v"))
            for norm in ("norm_1", "norm_2"):
                yield from ((f"{inside}.{norm}.{kind}", (width,)) for kind in ("weight", "bias"))
            yield f"{inside}.mlp.fc1.weight", (4 * width, width)
            yield f"{inside}.mlp.fc1.bias", (4 * width,)
            yield f"{inside}.mlp.fc2.weight", (width, 4 * width)
            yield f"{inside}.mlp.fc2.bias", (width,)
        head = f"modality_heads.{name}" + (".proj" if name == "text" else "")
        yield from ((f"{head}.0.{kind}", (width,)) for kind in ("weight", "bias"))
        yield f"{head}.{({'text': 1, 'imu': 3}).get(name, 2)}.weight", (1024, width)
        if name != "vision":
            yield f"modality_postprocessors.{name}.1.log_logit_scale", ()


def test_released_names_and_shapes_are_ours() -> None:
    with torch.device("meta"):
        model = ImageBind(ImageBindConfig.huge())
    assert {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()} == dict(released())


def test_released_file_loads_by_name_without_a_tensor_missing_or_left_over(tmp_path: Path) -> None:
    # The motion branch of the released size, as torch saved it; the others would be gigabytes.
    table = {name: shape for name, shape in released() if name.split(".")[1] == "imu"}
    tensors = {name: torch.full(shape, 0.01) for name, shape in table.items()}
    tensors["modality_postprocessors.imu.1.log_logit_scale"] = torch.tensor(math.log(5.0))
    torch.save(tensors, tmp_path / "imagebind_huge.pth")
    model, commit = load_imagebind(tmp_path / "imagebind_huge.pth")
    assert set(model.config.branches) == {"imu"}
    assert commit is None
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in model.state_dict().items())
    assert model({"imu": torch.randn(2, 6, 2000)})["imu"].shape == (2, 1024)


def test_counts_of_the_huge_model() -> None:
    with torch.device("meta"):
        model = ImageBind(ImageBindConfig.huge())
    count = {name: sum(tensor.numel() for tensor in model.branch(name).parameters()) for name in model.config.branches}

    def trunk(width: int, blocks: int, extra: int) -> int:
        return blocks * (12 * width * width + 13 * width + extra * width)

    assert count["vision"] == trunk(1280, 32, 0) + (1 + 257 + 3 * 2 * 14 * 14) * 1280 + 4 * 1280 + 1280 * 1024
    assert count["text"] == trunk(1024, 24, 0) + (49408 + 77 + 2) * 1024 + 1024 * 1024
    assert count["audio"] == trunk(768, 12, 2) + (1 + 229 + 256 + 4) * 768 + 768 * 1024
    assert sum(tensor.numel() for tensor in model.parameters()) == sum(count.values()) + 1 == 1_200_781_057


def attention(x: Tensor, tensors: dict[str, Tensor], heads: int, mask: Tensor | None) -> Tensor:
    """Multi-head attention written out, with the extra key and value where there are some."""
    query, key, value = (x @ tensors["in_proj_weight"].T + tensors["in_proj_bias"]).chunk(3, dim=-1)
    if "bias_k" in tensors:
        key, value = (
            torch.cat([part, tensors[name].expand(len(x), 1, -1)], dim=1)
            for part, name in ((key, "bias_k"), (value, "bias_v"))
        )
    query, key, value = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (query, key, value))
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    scores = scores if mask is None else scores + mask
    found = (scores.softmax(dim=-1) @ value).transpose(1, 2).flatten(2)
    return found @ tensors["out_proj.weight"].T + tensors["out_proj.bias"]


def below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def norm(x: Tensor, tensors: dict[str, Tensor], eps: float = 1e-6) -> Tensor:
    centred = x - x.mean(dim=-1, keepdim=True)
    return centred / (centred.square().mean(dim=-1, keepdim=True) + eps).sqrt() * tensors["weight"] + tensors["bias"]


def patches(values: Tensor, size: int, stride: int) -> Tensor:
    """``[n, c, h, w]`` -> ``[n, rows * columns, c * size * size]``."""
    return F.unfold(values, size, stride=stride).transpose(1, 2)


def by_hand(model: ImageBind, name: Any, values: Tensor) -> Tensor:
    """One branch without any module of torch: the vector before it is brought to length 1."""
    tensors: dict[str, Any] = {key: tensor.detach() for key, tensor in model.state_dict().items()}
    mask, tokens = None, torch.zeros(0)
    before, sizes = below(tensors, f"modality_preprocessors.{name}."), model.config.branches[name]
    if name == "text":
        tokens = before["token_embedding.weight"][values] + before["pos_embed"]
        mask = torch.full((values.shape[1], values.shape[1]), -math.inf).triu(1)
    else:
        if name == "imu":
            pieces = values.reshape(len(values), 6, -1, sizes.kernel).permute(0, 2, 1, 3).flatten(2)
            tokens = norm(pieces @ before["imu_stem.proj.weight"].T, below(before, "imu_stem.norm_layer."), 1e-5)
        elif name == "vision":
            weight = before["rgbt_stem.proj.1.weight"]
            clip = values if values.ndim == 5 else torch.stack([values, values], dim=2)
            frames = [patches(clip[:, :, frame], sizes.patch, sizes.patch) for frame in range(sizes.frames)]
            tokens = torch.cat(frames, dim=-1) @ weight.transpose(1, 2).flatten(1).T
        else:
            stem = "depth_stem" if name == "depth" else "rgbt_stem"
            side, stride = (sizes.kernel, sizes.stride) if name == "audio" else (sizes.patch, sizes.patch)
            cut = patches(values, side, stride) @ before[f"{stem}.proj.weight"].flatten(1).T
            tokens = norm(cut, below(before, f"{stem}.norm_layer."), 1e-5)
        tokens = torch.cat([before["cls_token"].expand(len(tokens), 1, -1), tokens], dim=1)
        tokens = tokens + before["pos_embed" if name == "imu" else "pos_embedding_helper.pos_embed"]
    trunk = below(tensors, f"modality_trunks.{name}.")
    if name == "vision":
        tokens = norm(tokens, below(trunk, "pre_transformer_layer.0."))
    for block in range(sizes.blocks):
        inside = below(trunk, f"blocks.{block}.")
        tokens = tokens + attention(norm(tokens, below(inside, "norm_1.")), below(inside, "attn."), sizes.heads, mask)
        hidden = F.gelu(norm(tokens, below(inside, "norm_2.")) @ inside["mlp.fc1.weight"].T + inside["mlp.fc1.bias"])
        tokens = tokens + hidden @ inside["mlp.fc2.weight"].T + inside["mlp.fc2.bias"]
    head = below(tensors, f"modality_heads.{name}." + ("proj." if name == "text" else ""))
    picked = tokens[range(len(values)), values.argmax(dim=1)] if name == "text" else tokens[:, 0]
    return norm(picked, below(head, "0.")) @ head[next(key for key in head if key[0] != "0")].T


def values_of(name: str) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    shapes = {"vision": (3, 3, 32, 32), "audio": (3, 1, 32, 204), "imu": (3, 6, 48)}
    if name == "text":
        return torch.randint(0, 40, (3, 9), generator=generator)
    return torch.randn(shapes.get(name, (3, 1, 32, 32)), generator=generator)


SCALES = {"vision": 1.0, "text": 1 / 0.07, "audio": 20.0, "depth": 5.0, "thermal": 10.0, "imu": 5.0}


@torch.no_grad()
@pytest.mark.parametrize("name", list(BRANCHES))
def test_branch_equals_a_pass_written_out_by_hand(imagebind_of: Any, name: str) -> None:
    model, values = imagebind_of(), values_of(name)
    vector = by_hand(model, name, values)
    expected = vector / vector.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(model.embed(name, values, scaled=False), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(model({name: values})[name], SCALES[name] * expected, atol=1e-4, rtol=1e-5)


@torch.no_grad()
def test_clip_is_not_a_picture_and_a_picture_is_a_clip_of_equal_frames(imagebind_of: Any) -> None:
    model, pictures = imagebind_of(), values_of("vision")
    clips = torch.stack([pictures, pictures.flip(-1)], dim=2)
    torch.testing.assert_close(
        model.embed("vision", clips[:, None]),
        F.normalize(by_hand(model, "vision", clips), dim=-1),
        atol=1e-5,
        rtol=1e-5,
    )
    equal = torch.stack([pictures, pictures], dim=2)[:, None]
    torch.testing.assert_close(model.embed("vision", equal), model.embed("vision", pictures), atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_clips_of_a_sound_are_averaged_after_they_are_normalised(imagebind_of: Any, sound_of: Any) -> None:
    model = imagebind_of()
    upstream, fork = ImageBindEncoder(model, "audio"), ImageBindEncoder(model, "audio", scaled=False)
    inputs = upstream.preprocess([sound_of(6.0)], "crop")
    clips = F.normalize(by_hand(model, "audio", inputs[0]), dim=-1)
    torch.testing.assert_close(fork.encode(inputs)[0, 0], clips.mean(dim=0), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(upstream.encode(inputs), 20 * fork.encode(inputs), atol=1e-4, rtol=1e-5)
    assert float(fork.encode(inputs).norm()) < 1.0
    assert check({"audio": upstream.port}, {"audio": fork.port}).verdict == "incompatible"


@torch.no_grad()
@pytest.mark.parametrize(("modality", "clips"), [("audio", 3), ("video", 15), ("image", 1)])
def test_clips_can_be_kept_apart(
    modality: Any, clips: int, imagebind_of: Any, sound_of: Any, video_of: Any, image_of: Any
) -> None:
    mean, each = (ImageBindEncoder(imagebind_of(), modality, averaged=averaged) for averaged in (True, False))
    inputs = mean.preprocess(media_of(modality, sound_of, video_of, image_of), "crop")
    found = each.encode(inputs)
    assert found.shape == (2, each.tokens, 20) == (2, clips, 20)
    torch.testing.assert_close(found.mean(dim=1, keepdim=True), mean.encode(inputs), atol=1e-5, rtol=1e-5)
    same = check({modality: mean.port}, {modality: each.port}).verdict == "exact"
    assert same is (modality == "image")


def media_of(modality: str, sound_of: Any, video_of: Any, image_of: Any) -> list[Any]:
    if modality == "image":
        return [image_of(0, (20, 14)), image_of(1, (40, 50))]
    if modality == "audio":
        return [sound_of(0.5), sound_of(7.0, seed=1)]
    return [video_of(1), video_of(40, 10.0, (40, 50))]


@pytest.mark.parametrize("modality", ["image", "audio", "video"])
def test_port_gives_one_frozen_vector(
    modality: Any, imagebind_of: Any, sound_of: Any, video_of: Any, image_of: Any
) -> None:
    model = imagebind_of()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    encoder, media = ImageBindEncoder(model, modality), media_of(modality, sound_of, video_of, image_of)
    features = encoder.encode(encoder.preprocess(media, "crop"))
    assert features.shape == (2, encoder.tokens, encoder.width) == (2, 1, 20)
    assert not features.requires_grad
    for item, feature in zip(media, features, strict=True):
        torch.testing.assert_close(encoder.encode(encoder.preprocess([item], "crop"))[0], feature, atol=1e-5, rtol=1e-5)
    assert encoder.encode(encoder.preprocess([], "crop")).shape == (0, 1, 20)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    half = encoder.to(torch.bfloat16)
    assert half.encode(half.preprocess(media, "crop")).dtype == torch.bfloat16


def test_folder_gives_back_the_same_model(imagebind_of: Any, tmp_path: Path) -> None:
    model = imagebind_of()
    save_imagebind(model, tmp_path / "joint")
    assert json.loads((tmp_path / "joint" / "config.json").read_text())["model_type"] == "imagebind"
    again, _ = load_imagebind(tmp_path / "joint")
    assert again.config == model.config
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in model.state_dict().items())
    heard, _ = load_imagebind(tmp_path / "joint", branches=["audio"], dtype=torch.bfloat16)
    assert (set(heard.config.branches), next(heard.parameters()).dtype) == ({"audio"}, torch.bfloat16)


def test_one_model_serves_several_modalities(imagebind_of: Any, llm_of: Any, tmp_path: Path) -> None:
    folder = save_imagebind(imagebind_of(), tmp_path / "joint")
    llm = llm_of("llama")
    llm.model.save_pretrained(tmp_path / "llm")
    llm.tokenizer.save_pretrained(tmp_path / "llm")
    backbone = Backbone.from_pretrained(
        tmp_path / "llm", folder, audio=folder, video=folder, feature_options={"audio": {"scaled": False}}
    )
    encoders = [backbone.encoder(name) for name in ("image", "audio", "video")]
    assert len({id(encoder.model) for encoder in encoders}) == 1
    assert set(encoders[0].model.config.branches) == {"vision", "audio"}
    assert backbone.ports["audio"].settings["scale"] == 1.0
    assert backbone.ports["image"].weights == backbone.ports["video"].weights != backbone.ports["audio"].weights
    assert {port.source for name, port in backbone.ports.items() if name != "llm"} == {"joint"}


def test_weights_of_one_branch_do_not_count_for_another(imagebind_of: Any) -> None:
    one, other = imagebind_of(), imagebind_of()
    with torch.no_grad():
        other.modality_heads["audio"][2].weight.add_(1)
    for modality, verdict in (("image", "exact"), ("audio", "fits")):
        ports = [{modality: ImageBindEncoder(model, modality).port} for model in (one, other)]
        assert check(*ports).verdict == verdict


def test_branch_that_is_not_there_is_named(imagebind_of: Any, tmp_path: Path) -> None:
    seen = ImageBind(imagebind_of().config.only(["vision"]))
    with pytest.raises(EncoderError, match="no branch audio; it has vision"):
        ImageBindEncoder(seen, "audio")
    folder = save_imagebind(seen, tmp_path / "seen")
    with pytest.raises(EncoderError, match="no branch audio"):
        load_audio_encoder(folder)
    assert load_video_encoder(folder).tokens == 1


def test_moments_alone_are_shown_where_frames_are_asked_for(imagebind_of: Any, video_of: Any, tmp_path: Path) -> None:
    folder = save_imagebind(imagebind_of(), tmp_path / "joint")
    encoders = load_encoders({"image": folder, "video": folder}, feature_options={"video": {"frames": 3}})
    encoder = encoders["video"]
    assert encoder.encoder.model is encoders["image"].model
    assert encoder.encode(encoder.preprocess([video_of()], "crop")).shape == (1, 3, 20)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tensors: tensors.pop("modality_trunks.audio.blocks.1.attn.bias_k"), "blocks.1.attn.bias_k is missing"),
        (lambda tensors: tensors.update({"modality_trunks.audio.gamma": torch.ones(1)}), "audio.gamma is unexpected"),
        (
            lambda tensors: tensors.update({"modality_heads.audio.2.weight": torch.ones(3, 3)}),
            r"audio\.2\.weight has the shape \[3, 3\] instead of \[20, 24\]",
        ),
        (
            lambda tensors: tensors.update({"modality_postprocessors.audio.1.log_logit_scale": torch.tensor(0.0)}),
            r"the scale is 20\.0 in the config and 1\.000 in the weights",
        ),
    ],
)
def test_file_that_is_not_what_it_says_is_refused(imagebind_of: Any, tmp_path: Path, change: Any, said: str) -> None:
    folder = save_imagebind(imagebind_of(), tmp_path / "joint")
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises((BackboneError, EncoderError), match=said):
        load_imagebind(folder)


def test_pickle_that_would_run_is_not_opened(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"modality_trunks.audio.x": Harm()}, tmp_path / "imagebind_huge.pth")
    with pytest.raises(BackboneError, match="an object of getattr, which could run code"):
        load_audio_encoder(tmp_path / "imagebind_huge.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"smell": {}}, "no field smell"),
        ({"audio": {"width": 10, "heads": 3}}, "multiple of the 3 heads"),
        ({"audio": {"blocks": 10**9}}, "blocks: expected an integer from 1 to 128"),
        ({"vision": {"crops": 2}}, "crops: expected 1 or 3, got 2"),
        ({"vision": {"colour": 2}}, "colour"),
        ({"width_out": "1024"}, "width_out"),
    ],
)
def test_sizes_that_cannot_be_are_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(EncoderError, match=said):
        ImageBindConfig.from_json({"model_type": "imagebind", **values})
