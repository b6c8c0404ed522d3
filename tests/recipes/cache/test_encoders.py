"""Encoders that are not loaded: what is in the cache needs no weights, and changed files are seen."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from inlay.adapters.adapter import Adapter
from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.recipes.cache import sources
from inlay.recipes.cache.encoders import StoredEncoder
from inlay.recipes.cache.store import CacheStore, CacheWarning
from inlay.recipes.data.features import FeatureCache
from inlay.recipes.data.rows.sample import Sample
from inlay.recipes.settings.default_models import Sources
from inlay.recipes.systems import load_backbone as backbones
from inlay.recipes.systems.load_backbone import load_backbone


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that a test has just written count as old enough."""
    monkeypatch.setattr(sources, "_SETTLED", 0.0)


@pytest.fixture
def folder(folders: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of EVA's folder."""
    return Path(shutil.copytree(folders["eva"], tmp_path / "eva"))


@pytest.fixture
def samples(image_of: Any, tmp_path: Path) -> list[Sample]:
    rows = []
    for index in range(3):
        path = tmp_path / f"{index}.png"
        image_of(index).save(path)
        rows.append(Sample(f"s{index}", (Message("user", (MediaPart("image", path), TextPart("what?"))),), "rows"))
    return rows


@pytest.fixture
def cache_of(folders: dict[str, Path], folder: Path, tmp_path: Path) -> Callable[..., FeatureCache]:
    """A cache of features as a run of its own would have it."""

    def make(geometry: Any = "crop", store: bool = True, **rule: Any) -> FeatureCache:
        kept = CacheStore(tmp_path / "cache", always=True) if store else None
        backbone = load_backbone(Sources(llm=str(folders["llama"]), image=str(folder)), rule=rule, store=kept)
        return FeatureCache(backbone, geometry, kept, show=lambda _: None)

    return make


@pytest.fixture
def sealed(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From now on no encoder's weights can be read."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("the encoder was loaded")

    return lambda: monkeypatch.setattr(backbones, "load_encoders", refuse)


def features(cache: FeatureCache, samples: list[Sample]) -> torch.Tensor:
    assert cache.fill(samples)
    return torch.stack([cache(sample.messages[0].content[0]) for sample in samples])


def close(one: torch.Tensor, two: torch.Tensor) -> bool:
    """For features encoded in batches of another size: several threads then add in another order."""
    return torch.allclose(one, two, rtol=1e-5, atol=1e-6)


def loaded(cache: FeatureCache) -> bool:
    encoder: Any = cache.backbone.encoder("image")
    assert isinstance(encoder, StoredEncoder)
    return encoder.loaded


def test_the_second_run_reads_no_weights_and_has_the_same_bits(
    cache_of: Any, samples: list[Sample], sealed: Callable[[], None]
) -> None:
    first, plain = cache_of(), cache_of(store=False)
    wanted = features(plain, samples)
    assert torch.equal(features(first, samples), wanted)
    assert loaded(first)
    sealed()
    second = cache_of()
    assert torch.equal(features(second, samples), wanted)
    assert not loaded(second)
    assert second.backbone.ports == plain.backbone.ports
    known, real = second.backbone.encoder("image"), plain.backbone.encoder("image")
    for name in ("tokens", "width", "dtype", "device", "family"):
        assert getattr(known, name) == getattr(real, name)
    assert not loaded(second)


def test_an_adapter_is_made_saved_and_checked_without_weights(
    cache_of: Any, samples: list[Sample], sealed: Callable[[], None], adapter_of: Any, tmp_path: Path
) -> None:
    features(cache_of(), samples)
    sealed()
    second = cache_of()
    features(second, samples)
    adapter = adapter_of(second.backbone)
    adapter.attach(second.backbone)
    adapter.save_pretrained(tmp_path / "bundle")  # records the canary, whose pattern is in the cache too
    adapter.detach()
    Adapter.from_pretrained(tmp_path / "bundle").attach(second.backbone, strict=True)
    assert not loaded(second)


def test_a_new_medium_loads_the_encoder(cache_of: Any, samples: list[Sample], image_of: Any) -> None:
    features(cache_of(), samples[:2])
    second = cache_of()
    assert close(features(second, samples), features(cache_of(store=False), samples))
    assert loaded(second)


def test_another_picture_under_the_same_name_is_another_medium(
    cache_of: Any, samples: list[Sample], image_of: Any
) -> None:
    before = features(cache_of(), samples)
    path = samples[1].messages[0].content[0].source
    stat = path.stat()
    image_of(7).save(path)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    after = features(cache_of(), samples)
    assert close(after, features(cache_of(store=False), samples))
    assert [bool(torch.equal(one, two)) for one, two in zip(before, after, strict=True)] == [True, False, True]


@pytest.mark.parametrize("change", [{"geometry": "pad"}, {"layer": "last"}, {"class_token": "drop"}], ids=str)
def test_another_geometry_layer_or_token_rule_is_a_miss(
    cache_of: Any, samples: list[Sample], change: dict[str, Any]
) -> None:
    before = features(cache_of(), samples)
    changed = cache_of(**change)
    found = features(changed, samples)
    assert loaded(changed)
    assert torch.equal(found, features(cache_of(store=False, **change), samples))
    assert found.shape != before.shape or not torch.equal(found, before)


def test_another_processor_is_a_miss(cache_of: Any, samples: list[Sample], folder: Path) -> None:
    before = features(cache_of(), samples)
    (path,) = folder.glob("*processor_config.json")
    config = json.loads(path.read_text())
    config["image_mean"] = [0.1, 0.2, 0.3]
    path.write_text(json.dumps(config))
    changed = cache_of()
    found = features(changed, samples)
    assert loaded(changed)
    assert not torch.equal(found, before)
    assert torch.equal(found, features(cache_of(store=False), samples))


def test_weights_that_differ_in_one_bit_are_a_miss(cache_of: Any, samples: list[Sample], folder: Path) -> None:
    cache = cache_of()
    before = features(cache, samples)
    path = folder / "model.safetensors"
    stat, data = path.stat(), bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # size and time of writing are what they were
    changed = cache_of()
    found = features(changed, samples)
    assert loaded(changed)
    assert torch.equal(found, features(cache_of(store=False), samples))
    assert changed.store is not None
    assert len({path.parent for path, _ in changed.store.shards()}) == 2
    assert before.shape == found.shape


def test_the_same_weights_in_another_folder_are_loaded_once_and_find_everything(
    cache_of: Any, samples: list[Sample], folder: Path
) -> None:
    wanted = features(cache_of(), samples)
    aside = folder.with_name("aside")
    folder.rename(aside)
    shutil.copytree(aside, folder)
    second = cache_of()
    runs: list[int] = []
    encoder = second.backbone.encoder("image").load()
    encode = encoder.encode

    def counted(inputs: torch.Tensor) -> torch.Tensor:
        runs.append(len(inputs))
        return encode(inputs)

    encoder.encode = counted
    assert torch.equal(features(second, samples), wanted)
    assert max(runs, default=0) <= 1  # how many features there are, it still finds out by itself
    assert not loaded(cache_of())


def test_a_record_that_speaks_of_other_weights_is_found_out(
    cache_of: Any, samples: list[Sample], tmp_path: Path
) -> None:
    features(cache_of(), samples)
    for path in (tmp_path / "cache" / "inlay-cache-1" / "encoders").iterdir():
        record = json.loads(path.read_text())
        record["image"]["spaces"] = {"crop cpu": "0" * 64}
        path.write_text(json.dumps(record))
    with pytest.warns(CacheWarning, match="not the one that was recorded"):
        found = features(cache_of(), samples)
    assert torch.equal(found, features(cache_of(store=False), samples))


@pytest.mark.parametrize("text", ["", "[]", '{"image": {"port": {}, "dtype": "float32", "spaces": {}}}', "{"])
def test_a_record_that_cannot_be_read_costs_one_loading(
    cache_of: Any, samples: list[Sample], tmp_path: Path, text: str
) -> None:
    wanted = features(cache_of(), samples)
    for path in (tmp_path / "cache" / "inlay-cache-1" / "encoders").iterdir():
        path.write_text(text)
    second = cache_of()
    assert torch.equal(features(second, samples), wanted)
    assert loaded(second)
    third = cache_of()
    assert torch.equal(features(third, samples), wanted)
    assert not loaded(third)


def test_a_medium_that_is_not_in_the_cache_is_encoded_as_ever(cache_of: Any, samples: list[Sample]) -> None:
    features(cache_of(), samples)
    second, plain = cache_of().backbone.encoder("image"), cache_of(store=False).backbone.encoder("image")
    picture = [Image.new("RGB", (9, 5), "teal")]
    one, two = (encoder.encode(encoder.preprocess(picture, "crop")) for encoder in (second, plain))
    assert torch.equal(one, two)


def test_files_that_were_just_written_are_not_vouched_for(
    cache_of: Any, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "_SETTLED", 1e6)
    features(cache_of(), samples)
    second = cache_of()
    features(second, samples)
    assert loaded(second)
