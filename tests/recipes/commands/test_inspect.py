"""``inlay inspect`` of an adapter for tiled pictures."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from inlay.adapters import Adapter
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.inputs import MlpConfig
from inlay.recipes.commands.bundles.inspect import main


def test_the_tiling_and_the_newline_are_shown(
    backbone_of: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layout = Layout(template="vicuna_v1", tiling="anyres:1x2,2x2")
    adapter = Adapter.for_backbone(
        backbone_of(), system="llava", name="a", layout=layout, inputs={"image": MlpConfig()}
    )
    adapter.save_pretrained(tmp_path / "bundle")
    assert main([str(tmp_path / "bundle")]) == 0
    shown = capsys.readouterr().out
    assert "layout   vicuna_v1, image crop, tiling anyres:1x2,2x2" in shown
    assert re.search(r"^  inputs\.image\.newline +newline +32  bfloat16  width 32$", shown, re.MULTILINE)
