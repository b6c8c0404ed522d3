"""Features from memory and from disk are those of the encoder; another medium, encoder or geometry is computed anew."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from inlay.adapters.conversation.messages import MediaPart, Message, TextPart, media_of
from inlay.adapters.encoders import EvaEncoder
from inlay.adapters.media.image import MediaError, load_image
from inlay.adapters.media.sources import MediaBytes
from inlay.adapters.media.tiling.registry import tiling_of
from inlay.recipes.data.cache import features
from inlay.recipes.data.cache.features import Caching, FeatureCache
from inlay.recipes.data.cache.store import CacheStore, CacheWarning
from inlay.recipes.data.load import load_data
from inlay.recipes.data.rows.sample import Sample
from inlay.recipes.miniature.datasets.media import build_media
from inlay.recipes.runs.miniature_data import draw_data
from inlay.recipes.settings.run import DataSettings


def silent(_: str) -> None:
    return None


@pytest.fixture
def store_of(tmp_path: Path) -> Callable[..., CacheStore]:
    """The folder as another process would open it."""
    return lambda **options: CacheStore(tmp_path / "cache", **options)


@pytest.fixture
def samples(image_of: Any, tmp_path: Path) -> list[Sample]:
    rows = []
    for index in range(3):
        path = tmp_path / f"{index}.png"
        image_of(index).save(path)
        rows.append(Sample(f"s{index}", (Message("user", (MediaPart("image", path), TextPart("what?"))),), "rows"))
    return rows


@pytest.fixture
def cache_of(eva_backbone_of: Any, store_of: Any) -> Callable[..., FeatureCache]:
    """A cache of features as another run would have it; ``runs`` of its encoder counts the media that it encoded."""

    def make(geometry: Any = "crop", *, store: bool = True, change: Any = None, **options: Any) -> FeatureCache:
        backbone = eva_backbone_of()
        encoder: EvaEncoder = backbone.encoder("image")
        if change is not None:
            change(encoder)
        whole = encoder.encode
        assert encoder.tokens  # it runs the model once to find out
        encoder.runs = 0

        def encode(inputs: torch.Tensor) -> torch.Tensor:
            encoder.runs += len(inputs)
            return whole(inputs)

        encoder.encode = encode
        return FeatureCache(backbone, geometry, store_of() if store else None, show=silent, **options)

    return make


def computed(cache: FeatureCache, samples: list[Sample]) -> torch.Tensor:
    assert cache.fill(samples)
    return torch.stack([cache(part) for sample in samples for part in media_of(sample.messages)])


def runs(cache: FeatureCache) -> int:
    encoder: Any = cache.backbone.encoder("image")
    return int(encoder.runs)


def test_the_second_run_encodes_nothing_and_has_the_same_bits(cache_of: Any, samples: list[Sample]) -> None:
    plain, first, second = cache_of(store=False), cache_of(), cache_of()
    wanted = computed(plain, samples)
    assert torch.equal(computed(first, samples), wanted)
    assert torch.equal(computed(second, samples), wanted)
    assert [runs(cache) for cache in (plain, first, second)] == [3, 3, 0]
    assert [cache.in_memory for cache in (plain, first, second)] == [wanted.nbytes, 0, 0]


def test_features_are_those_of_the_encoder(cache_of: Any, samples: list[Sample], image_of: Any) -> None:
    cache = cache_of(store=False)
    encoder = cache.backbone.encoder("image")
    wanted = encoder.encode(encoder.preprocess([image_of(index) for index in range(3)], "crop"))
    assert torch.equal(computed(cache, samples), wanted)


def test_only_a_new_medium_is_encoded(cache_of: Any, samples: list[Sample]) -> None:
    computed(cache_of(), samples[:2])
    second = cache_of()
    # In a batch of another size the last bits may differ: several threads then add in another order.
    torch.testing.assert_close(computed(second, samples), computed(cache_of(store=False), samples))
    assert runs(second) == 1


def test_two_files_with_the_same_content_are_encoded_once(cache_of: Any, samples: list[Sample], tmp_path: Path) -> None:
    copy = Path(shutil.copy(tmp_path / "0.png", tmp_path / "copy.png"))
    twin = Sample("twin", (Message("user", (MediaPart("image", copy),)),), "rows")
    cache = cache_of()
    found = computed(cache, [*samples, twin])
    assert runs(cache) == 3
    assert torch.equal(found[3], found[0])


def test_another_picture_under_the_same_name_is_another_medium(
    cache_of: Any, samples: list[Sample], image_of: Any, tmp_path: Path
) -> None:
    before = computed(cache_of(), samples)
    path = tmp_path / "1.png"
    stat = path.stat()
    image_of(7).save(path)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    after = computed(cache_of(), samples)
    torch.testing.assert_close(after, computed(cache_of(store=False), samples))
    assert [torch.equal(one, two) for one, two in zip(before, after, strict=True)] == [True, False, True]


def test_a_file_that_changes_while_it_is_read_is_an_error(
    cache_of: Any, samples: list[Sample], image_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = features.load_for

    def changing(encoder: Any, modality: Any, source: Any) -> Any:
        image_of(9).save(tmp_path / "1.png")
        return load(encoder, modality, source)

    monkeypatch.setattr(features, "load_for", changing)
    cache = cache_of()
    with pytest.raises(MediaError, match=r"1\.png: changed while it was read"):
        cache.fill(samples)
    assert not cache.store.shards()


def _half(encoder: EvaEncoder) -> None:
    encoder.bfloat16()


def _weight(encoder: EvaEncoder) -> None:
    with torch.no_grad():
        list(encoder.parameters())[3].view(-1)[1] += 1e-3


def _mean(encoder: EvaEncoder) -> None:
    encoder.mean = [0.1, 0.2, 0.3]


@pytest.mark.parametrize("change", [_half, _weight, _mean, "pad"])
def test_another_dtype_weight_processor_or_geometry_is_computed_anew(
    cache_of: Any, samples: list[Sample], change: Any
) -> None:
    options = {"geometry": change} if isinstance(change, str) else {"change": change}
    before = computed(cache_of(), samples)
    changed = cache_of(**options)
    found = computed(changed, samples)
    assert runs(changed) == 3
    assert torch.equal(found, computed(cache_of(**options, store=False), samples))
    assert found.dtype != before.dtype or not torch.equal(found, before)
    assert torch.equal(computed(cache_of(), samples), before)


def test_a_damaged_shard_is_named_and_its_features_are_computed_again(cache_of: Any, samples: list[Sample]) -> None:
    wanted = computed(cache_of(), samples)
    again = cache_of()
    (path,) = again.store.shards()
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(CacheWarning, match=path.name):
        assert torch.equal(computed(again, samples), wanted)
    assert runs(again) == 3


def test_features_of_all_senses_are_those_of_the_encoders(senses_of: Any, store_of: Any, tmp_path: Path) -> None:
    sizes = {"media": 2, "instructions": 1, "dialogues": 1, "test_media": 2, "test_instructions": 1}
    build_media(tmp_path / "data", 0, **sizes, test_dialogues=1)
    samples = load_data(draw_data(DataSettings(), tmp_path / "data", 0, "senses"))["test"]
    parts = [part for sample in samples for part in media_of(sample.messages)]
    assert {part.modality for part in parts} == {"image", "audio", "video"}
    plain = FeatureCache(senses_of().model.backbone, "crop")
    assert plain.fill(samples)
    said: list[str] = []
    for count in (1, 0):
        backbone = senses_of().model.backbone
        for name in backbone.encoders:
            backbone.encoder(name).runs = 0
        kept = FeatureCache(backbone, "crop", store_of(), show=said.append)
        assert kept.fill(samples)
        assert [backbone.encoder(name).runs for name in ("image", "audio", "video")] == [count] * 3
        assert all(torch.equal(kept(part), plain(part)) for part in parts)
    assert all(line.endswith(", 0 are computed") for line in said[-3:])
    assert len({path.parent for path in store_of().shards()}) == 3


def test_geometries_share_memory_which_is_freed_for_other_samples(eva_backbone_of: Any, samples: list[Sample]) -> None:
    backbone = eva_backbone_of()
    each = backbone.encoder("image").tokens * backbone.encoder("image").width * 4
    caching = Caching(memory=2 * each, show=silent)
    assert caching.features(backbone, "crop", samples) is None
    cache = caching.features(backbone, "crop", samples[:2])
    assert cache is not None
    assert caching.features(backbone, "crop", samples[2:]) is cache
    assert list(cache.held) == [("image", samples[2].messages[0].content[0].source)]
    assert caching.features(backbone, "pad", samples[:2]) is None
    assert caching.features(backbone, "pad", samples[:1]) is not None
    assert caching.features(backbone, "crop", None) is None


def test_without_room_anywhere_encoders_run_in_the_loop(cache_of: Any, store_of: Any, samples: list[Sample]) -> None:
    backbone = cache_of().backbone
    caching = Caching(memory=10, store=store_of(budget=10), show=silent)
    assert caching.features(backbone, "crop", samples) is None
    assert Caching(memory=10, show=silent).features(backbone, "crop", samples) is None


@pytest.fixture
def large(image_of: Any, tmp_path: Path) -> list[Sample]:
    """Pictures of one, of several and of many tiles."""
    rows = []
    for index, size in enumerate([(16, 16), (60, 17), (200, 190)]):
        path = tmp_path / f"large{index}.png"
        image_of(index, size).save(path)
        rows.append(Sample(f"s{index}", (Message("user", (MediaPart("image", path), TextPart("what?"))),), "rows"))
    return rows


def tiles_of(cache: FeatureCache, samples: list[Sample]) -> list[torch.Tensor]:
    assert cache.fill(samples)
    return [cache(part) for sample in samples for part in media_of(sample.messages)]


def test_tiled_features_are_those_of_the_tiles_in_memory_and_on_disk(cache_of: Any, large: list[Sample]) -> None:
    rule = tiling_of("tiles:1-4")
    caches = [cache_of(store=store, tiling=rule.text) for store in (False, True, True)]
    encoder = caches[0].backbone.encoder("image")
    wanted = []
    for sample in large:
        picture = load_image(media_of(sample.messages)[0].source)
        squares = rule.cut(picture, 16, rule.grid(picture.size, 16))
        wanted.append(encoder.encode(encoder.preprocess(squares, "squash")))
    encoder.runs = 0
    for cache in caches:
        for found, own in zip(tiles_of(cache, large), wanted, strict=True):
            torch.testing.assert_close(found, own, atol=1e-6, rtol=0)
    tiles = sum(map(len, wanted))
    assert [runs(cache) for cache in caches] == [tiles, tiles, 0]


def test_another_tiling_is_encoded_anew(cache_of: Any, large: list[Sample]) -> None:
    caches = [cache_of(tiling=tiling) for tiling in ("tiles:4-4", "split:2", "tiles:4-4", None)]
    shapes = [[len(found) for found in tiles_of(cache, large)] for cache in caches]
    assert [runs(cache) > 0 for cache in caches] == [True, True, False, True]
    assert shapes[0] == shapes[2] != shapes[1]


def test_the_limit_of_memory_counts_tiles(cache_of: Any, large: list[Sample]) -> None:
    cache = cache_of(store=False, tiling="tiles:4-4")
    each = cache.backbone.encoder("image").tokens * 24 * 4
    cache.memory = 3 * 5 * each - 1
    assert not cache.fill(large)
    cache.memory += 1
    assert cache.fill(large)


def test_a_run_has_one_cache_for_each_tiling(eva_backbone_of: Any, large: list[Sample]) -> None:
    caching = Caching(memory=1 << 20, show=silent)
    found = [caching.features(eva_backbone_of(), "crop", large, tiling=tiling) for tiling in ("tiles", None, "tiles")]
    assert found[0] is found[2] is not found[1]
    assert len(caching.caches) == 2


def test_no_header_is_read_where_one_square_a_picture_is_too_much(
    cache_of: Any, large: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = cache_of(store=False, tiling="tiles:4-4", memory=1)
    monkeypatch.setattr(cache, "_shape", None)
    assert not cache.fill(large)


def in_memory(samples: list[Sample], source: Callable[[Path], Any]) -> list[Sample]:
    """The same samples with their pictures in memory."""
    rows = []
    for sample in samples:
        [message] = sample.messages
        part, said = message.content
        rows.append(
            replace(sample, messages=(replace(message, content=(replace(part, source=source(part.source)), said)),))
        )
    return rows


@pytest.mark.parametrize("store", [False, True])
def test_bytes_have_the_features_of_their_file(cache_of: Any, samples: list[Sample], store: bool) -> None:
    wanted = computed(cache_of(store=False), samples)
    held = in_memory(samples, lambda path: MediaBytes(path.read_bytes(), str(path)))
    cache = cache_of(store=store)
    assert torch.equal(computed(cache, held), wanted)
    again = in_memory(samples, lambda path: MediaBytes(path.read_bytes(), "another row"))
    assert torch.equal(computed(cache, again), wanted)
    assert runs(cache) == 3
    assert not any(isinstance(key, MediaBytes) for _, key in cache.held)


def test_bytes_find_the_features_of_a_file_on_disk(cache_of: Any, samples: list[Sample]) -> None:
    wanted = computed(cache_of(), samples)
    second = cache_of()
    assert torch.equal(computed(second, in_memory(samples, lambda path: MediaBytes(path.read_bytes()))), wanted)
    assert runs(second) == 0


def test_pictures_in_memory_are_cached_by_their_content(cache_of: Any, samples: list[Sample]) -> None:
    wanted = computed(cache_of(store=False), samples)
    cache = cache_of()
    assert torch.equal(computed(cache, in_memory(samples, load_image)), wanted)
    assert torch.equal(computed(cache, in_memory(samples, load_image)), wanted)
    assert runs(cache) == 3


def test_media_that_do_not_fit_are_noticed_after_a_few_rows(
    cache_of: Callable[..., FeatureCache], samples: list[Sample], tmp_path: Path
) -> None:
    """A million rows are not read, nor are their media collected, to find out that they do not fit."""
    cache, read = cache_of(store=False), []

    def rows() -> Any:
        for number in range(1_000_000):
            read.append(number)
            part = MediaPart("image", tmp_path / f"{number}.png")
            yield replace(samples[0], messages=(Message("user", (part,)),))

    cache.memory = 10 * cache._least("image")
    assert not cache.fill(rows())
    assert len(read) == 11
