"""The rooms of the house: in every folder, files and sub-folders form layers; few loose files; tests mirror the
tree."""

from __future__ import annotations

from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import pytest

MOST_FILES = 14

TESTED_ELSEWHERE = {
    "hub/errors.py": "hub/test_import.py",
    "hub/lazy.py": "hub/test_import.py",
    "hub/format/difference.py": "recipes/commands/test_hub_commands.py",
    "hub/format/header.py": "hub/format/test_tensors.py",
    "hub/format/licences.py": "hub/format/test_card.py",
    "hub/format/migrations.py": "hub/test_frozen.py",
    "hub/remote/ranges.py": "hub/remote/test_inspect.py",
    "hub/safety/file_type.py": "hub/format/test_tensors.py",
    "hub/safety/text.py": "hub/test_hostile.py",
    "adapters/backbone.py": "adapters/encoders/test_protocol.py",
    "adapters/model.py": "adapters/core/test_model_core.py",
    "adapters/bundles/storage_dtype.py": "adapters/bundles/test_int8_gate.py",
    "adapters/compatibility/digest.py": "adapters/compatibility/test_verdict.py",
    "adapters/compatibility/ports.py": "adapters/compatibility/test_verdict.py",
    "adapters/conversation/segments.py": "adapters/conversation/test_layout.py",
    "adapters/convert/assemble.py": "adapters/convert/test_import_adapter.py",
    "adapters/convert/compare.py": "adapters/convert/test_import_adapter.py",
    "adapters/convert/imported.py": "adapters/convert/test_import_adapter.py",
    "adapters/convert/lora_files.py": "adapters/convert/formats/test_peft.py",
    "adapters/convert/formats/qformer_sizes.py": "adapters/convert/formats/test_lavis.py",
    "adapters/convert/formats/token_matrices.py": "adapters/convert/formats/test_nextgpt.py",
    "adapters/core/attachment.py": "adapters/core/test_attach.py",
    "adapters/core/parts.py": "adapters/test_adapter.py",
    "adapters/core/signal_states.py": "adapters/chat/test_replies.py",
    "adapters/encoders/audio": "adapters/encoders/audio/test_audio_encoder.py",
    "adapters/encoders/beats": "adapters/encoders/beats/test_beats.py",
    "adapters/encoders/image": "adapters/encoders/image/test_vision.py",
    "adapters/encoders/imagebind": "adapters/encoders/imagebind/test_imagebind.py",
    "adapters/export/hf/expressible.py": "adapters/export/hf/test_exporter.py",
    "adapters/export/hf/model_config.py": "adapters/export/hf/test_exporter.py",
    "adapters/export/hf/processor.py": "adapters/export/hf/test_exporter.py",
    "adapters/export/options.py": "adapters/export/test_registry.py",
    "adapters/export/peft/bare_model.py": "adapters/export/peft/test_exporter.py",
    "adapters/export/request.py": "adapters/export/test_export_adapter.py",
    "adapters/export/target.py": "adapters/export/test_registry.py",
    "adapters/generators": "adapters/generators/test_parity.py",
    "adapters/inputs/linear.py": "adapters/test_parity_llava.py",
    "adapters/inputs/mlp.py": "adapters/test_parity_llava.py",
    "adapters/inputs/protocol.py": "adapters/inputs/test_registry.py",
    "adapters/language/wiring/protocol.py": "adapters/language/wiring/test_decoder_only.py",
    "adapters/loading/encoders/audio.py": "adapters/encoders/audio/test_audio_encoder.py",
    "adapters/loading/encoders/several.py": "adapters/encoders/test_registry.py",
    "adapters/loading/encoders/families.py": "adapters/encoders/test_registry.py",
    "adapters/loading/encoders/video.py": "adapters/encoders/test_frames.py",
    "adapters/loading/released": "adapters/loading/released/test_weights_file.py",
    "adapters/media/modality.py": "adapters/media/test_load.py",
    "adapters/outputs": "adapters/outputs/test_outputs.py",
    "adapters/parts/part.py": "adapters/test_adapter.py",
    "adapters/parts/registry.py": "adapters/inputs/test_registry.py",
}
"""Module -> the tests that hold it, where these do not mirror its name. A folder stands for all modules in it."""


def _layers(modules: dict[str, Any], floor: str) -> dict[str, dict[str, set[str]]]:
    """Folder -> file or sub-folder in it -> the others in it that are imported."""
    homes = {name: (*name.split(".")[1:],) for name in modules}
    folders: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for name, module in modules.items():
        if homes[name][0] != floor or module.path.name == "__init__.py":
            continue
        for target in module.imports:
            if target not in modules or homes[target][0] != floor:
                continue
            depth = next((i for i, (a, b) in enumerate(zip(homes[name], homes[target], strict=False)) if a != b), None)
            if depth is not None:
                folders["/".join(homes[name][:depth])][homes[name][depth]].add(homes[target][depth])
    return folders


@pytest.mark.parametrize("floor", ["hub", "adapters", "recipes"])
def test_rooms_form_layers(modules: dict[str, Any], floor: str) -> None:
    circles = {}
    for folder, graph in _layers(modules, floor).items():
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            circles[folder] = " imports ".join(reversed(error.args[1]))
    assert circles == {}


def test_the_layers_would_show_a_circle(tmp_path: Path) -> None:
    from types import SimpleNamespace

    def module(name: str, *imports: str) -> Any:
        return SimpleNamespace(path=tmp_path / f"{name.rpartition('.')[2]}.py", imports=frozenset(imports))

    names = {"inlay.hub.a.one": ("inlay.hub.b.two",), "inlay.hub.b.two": (), "inlay.hub.b.three": ("inlay.hub.a.one",)}
    graph = _layers({name: module(name, *imports) for name, imports in names.items()}, "hub")["hub"]
    with pytest.raises(CycleError):
        TopologicalSorter(graph).prepare()


def test_no_room_holds_too_many_files(root: Path) -> None:
    floors = [root / floor for floor in ("hub", "adapters", "recipes", "pretraining")]
    folders = [folder for floor in floors for folder in (floor, *floor.rglob("*")) if folder.is_dir()]
    counts = {str(folder.relative_to(root)): len(list(folder.glob("*.py"))) for folder in folders}
    assert {folder: count for folder, count in counts.items() if count > MOST_FILES} == {}


@pytest.mark.parametrize("floor", ["hub", "adapters"])
def test_every_module_has_a_test_file(root: Path, floor: str) -> None:
    missing = []
    for path in sorted((root / floor).rglob("*.py")):
        module = path.relative_to(root)
        places = [str(module), *(str(parent) for parent in module.parents)]
        listed = any(place in TESTED_ELSEWHERE for place in places)
        test = root / "tests" / module.with_name(f"test_{module.name}")
        if path.name != "__init__.py" and not (listed or test.is_file()):
            missing.append(str(module))
    assert missing == []


def test_the_list_of_tests_elsewhere_is_needed_and_true(root: Path) -> None:
    for place, test in TESTED_ELSEWHERE.items():
        assert (root / place).exists(), place
        assert (root / "tests" / test).is_file(), test
        assert not (root / "tests" / Path(place).with_name(f"test_{Path(place).name}")).is_file(), (
            f"{place} has its own"
        )
