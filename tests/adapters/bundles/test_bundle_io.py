"""Save, load, attach, swap, detach: what must be bit-equal is compared bit by bit."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel

from inlay.adapters.adapter import Adapter
from inlay.adapters.compatibility.canary import CanaryError
from inlay.adapters.compatibility.verdict import IncompatibleBackbone, OtherWeightsWarning
from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.adapters.language.occupancy import AttachError
from inlay.hub.errors import BundleError
from inlay.hub.format.bundle import Bundle
from inlay.hub.format.manifest import TrainingSpec

pytestmark = pytest.mark.usefixtures("no_gradients")


def rows_of(image: Any) -> list[tuple[Message, ...]]:
    user = Message("user", (MediaPart("image", image), TextPart("What is shown?")))
    return [(user, Message("assistant", (TextPart("a small blue star"),)))]


def logits_of(model: Any, image: Any) -> torch.Tensor:
    return model(model.batch(rows_of(image)), logits="all").logits


def snapshot(backbone: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in backbone.state_dict().items()}


def assert_untouched(backbone: Any, before: dict[str, torch.Tensor]) -> None:
    after = backbone.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert not any(parameter.requires_grad for parameter in backbone.parameters())


def trained(adapter: Adapter) -> Adapter:
    adapter.training_facts = TrainingSpec(recipe="llava", stages=("align",), data="none", seed=0)
    return adapter


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_loaded_bundle_gives_bit_equal_logits(
    backbone_of: Any, adapter_of: Any, image_of: Any, tmp_path: Path, dtype: Any
) -> None:
    backbone = backbone_of()
    adapter = adapter_of(backbone)
    model = adapter.attach(backbone)
    adapter.save_pretrained(tmp_path / "one", dtype=dtype)
    saved = logits_of(model, image_of())
    adapter.detach()
    loaded = Adapter.from_pretrained(tmp_path / "one")
    assert torch.equal(logits_of(loaded.attach(backbone), image_of()), saved)


def test_saving_twice_gives_the_same_bytes(backbone_of: Any, adapter_of: Any, tmp_path: Path) -> None:
    adapter = adapter_of(backbone_of())
    adapter.save_pretrained(tmp_path / "one")
    Adapter.from_pretrained(tmp_path / "one").save_pretrained(tmp_path / "two")
    for name in ("inlay.json", "adapter.safetensors", "lora/adapter_model.safetensors", "lora/adapter_config.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_bundle_is_two_bytes_a_parameter_plus_at_most_64_kib(backbone_of: Any, adapter_of: Any, tmp_path: Path) -> None:
    backbone = backbone_of()
    adapter = adapter_of(backbone)
    adapter.attach(backbone)
    adapter.save_pretrained(tmp_path / "one")
    size = sum(path.stat().st_size for path in (tmp_path / "one").rglob("*") if path.is_file())
    parameters = sum(part.parameters for part in adapter.parts())
    assert 2 * parameters < size <= 2 * parameters + (64 << 10)


def test_backbone_is_bit_equal_after_attach_swap_and_detach(backbone_of: Any, adapter_of: Any, image_of: Any) -> None:
    backbone = backbone_of()
    before = snapshot(backbone)
    one, two = adapter_of(backbone, seed=3), adapter_of(backbone, seed=4, kind="linear")
    model = one.attach(backbone)
    first = logits_of(model, image_of())
    second_model = model.swap(two)
    assert not torch.equal(logits_of(second_model, image_of()), first)
    assert torch.equal(logits_of(second_model.swap(one), image_of()), first)
    one.detach()
    assert_untouched(backbone, before)


def test_a_swap_that_fails_leaves_the_old_adapter_at_work(backbone_of: Any, adapter_of: Any, image_of: Any) -> None:
    backbone = backbone_of()
    one = adapter_of(backbone)
    stranger = adapter_of(backbone_of("qwen2"))
    model = one.attach(backbone)
    before = logits_of(model, image_of())
    with pytest.raises(IncompatibleBackbone):
        model.swap(stranger)
    assert torch.equal(logits_of(model, image_of()), before)


def test_second_attach_is_refused(backbone_of: Any, adapter_of: Any) -> None:
    backbone = backbone_of()
    one, two = adapter_of(backbone), adapter_of(backbone, seed=4)
    one.attach(backbone)
    with pytest.raises(AttachError, match=r"swap"):
        two.attach(backbone)
    with pytest.raises(AttachError, match="already attached"):
        one.attach(backbone)


def test_detach_without_attach_is_refused(backbone_of: Any, adapter_of: Any) -> None:
    with pytest.raises(AttachError, match="not attached"):
        adapter_of(backbone_of()).detach()


def test_peft_alone_loads_the_lora_folder(backbone_of: Any, adapter_of: Any, tmp_path: Path) -> None:
    backbone = backbone_of()
    adapter = adapter_of(backbone)
    model = adapter.attach(backbone)
    adapter.save_pretrained(tmp_path / "one")
    batch = model.batch([(Message("user", (TextPart("what colour?"),)), Message("assistant", (TextPart("red"),)))])
    ours = model(batch, logits="all").logits
    adapter.detach()
    theirs = PeftModel.from_pretrained(backbone.llm.model, str(tmp_path / "one" / "lora"))
    torch.testing.assert_close(theirs(input_ids=batch.ids, attention_mask=batch.mask).logits, ours, atol=1e-6, rtol=0)


def test_other_weights_fit_with_a_warning_and_are_refused_when_strict(backbone_of: Any, adapter_of: Any) -> None:
    adapter = trained(adapter_of(backbone_of()))
    cousin = backbone_of(seed=9)
    with pytest.warns(OtherWeightsWarning, match="other weights"):
        adapter.attach(cousin)
    adapter.detach()
    with pytest.raises(IncompatibleBackbone, match="strict"):
        adapter.attach(cousin, strict=True)


def test_the_right_backbone_attaches_without_a_warning(backbone_of: Any, adapter_of: Any) -> None:
    backbone = backbone_of()
    adapter = trained(adapter_of(backbone))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert adapter.compatibility(backbone).verdict == "exact"
        adapter.attach(backbone, strict=True)


def test_canary_catches_an_adapter_that_does_nothing(backbone_of: Any, adapter_of: Any, tmp_path: Path) -> None:
    backbone = backbone_of()
    adapter = adapter_of(backbone)
    adapter.attach(backbone)
    adapter.save_pretrained(tmp_path / "one")
    adapter.detach()
    loaded = Adapter.from_pretrained(tmp_path / "one")
    promised = loaded.canary
    for target in loaded.lora.targets:
        loaded.lora.matrices(target)[1].zero_()
    loaded.canary = promised  # as if the matrices had been lost while the bundle was read
    with pytest.raises(CanaryError, match="differ"):
        loaded.attach(backbone)
    assert backbone.attached is None


def test_the_canary_passes_in_half_precision(backbone_of: Any, adapter_of: Any, tmp_path: Path) -> None:
    backbone = backbone_of()
    adapter = adapter_of(backbone)
    adapter.attach(backbone)
    adapter.save_pretrained(tmp_path / "one")
    loaded = Adapter.from_pretrained(tmp_path / "one")
    half = backbone_of().to(torch.bfloat16)
    assert loaded.compatibility(half).verdict == "exact"
    loaded.attach(half, strict=True)


def test_existing_folder_is_not_overwritten(backbone_of: Any, adapter_of: Any, tmp_path: Path) -> None:
    adapter = adapter_of(backbone_of())
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "notes.txt").write_text("mine")
    with pytest.raises(BundleError):
        adapter.save_pretrained(tmp_path / "one", overwrite=True)
    assert (tmp_path / "one" / "notes.txt").read_text() == "mine"


def test_nan_weights_are_not_saved(backbone_of: Any, adapter_of: Any, tmp_path: Path) -> None:
    adapter = adapter_of(backbone_of())
    next(adapter.inputs.parameters())[0, 0] = float("nan")
    with pytest.raises(BundleError, match="inputs"):
        adapter.save_pretrained(tmp_path / "one")
    assert not (tmp_path / "one").exists()


def test_a_manifest_that_says_another_lora_than_its_folder_is_refused(
    backbone_of: Any, adapter_of: Any, tmp_path: Path
) -> None:
    adapter_of(backbone_of()).save_pretrained(tmp_path / "one")
    manifest = tmp_path / "one" / "inlay.json"
    said = json.loads(manifest.read_text())
    said["parts"]["lora"]["config"]["targets"][0] = "k_proj"
    manifest.write_text(json.dumps(said))
    with pytest.raises(BundleError, match=r"targets: expected the values of lora/adapter_config\.json"):
        Adapter.from_pretrained(tmp_path / "one")


@pytest.mark.parametrize(
    ("change", "expected"), [("renamed", "this tensor is missing"), ("transposed", "expected shape")]
)
def test_a_tensor_that_does_not_fit_its_part_is_named(
    backbone_of: Any, adapter_of: Any, tmp_path: Path, change: str, expected: str
) -> None:
    adapter_of(backbone_of()).save_pretrained(tmp_path / "one")
    bundle = Bundle.read(tmp_path / "one")
    tensors = dict(bundle.tensors)
    name = next(name for name, tensor in tensors.items() if tensor.ndim == 2 and len(set(tensor.shape)) == 2)
    tensor = tensors.pop(name)
    tensors |= {f"{name}_2": tensor} if change == "renamed" else {name: tensor.T.contiguous()}
    replace(bundle, tensors=tensors).write(tmp_path / "two")
    with pytest.raises(BundleError, match=expected) as caught:
        Adapter.from_pretrained(tmp_path / "two")
    assert caught.value.field == name
