"""``inlay evaluate``: the held-out table of a bundle."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from inlay.adapters.adapter import Adapter
from inlay.recipes.backbones import backbone_for
from inlay.recipes.bundle_argument import BUNDLE
from inlay.recipes.data.features import FeatureCache, fits_in
from inlay.recipes.data.read import read_samples
from inlay.recipes.evaluate import Column, Scores, answer_all, answer_blind, answer_oracle, score, score_table
from inlay.recipes.run_folder import RunFolder
from inlay.recipes.settings import BackboneSettings, SettingsError

__all__ = ["main"]

CACHE = 2 << 30


def main(argv: Sequence[str]) -> int:
    """Evaluate one bundle on one file."""
    parser = ArgumentParser(prog="inlay evaluate", description=__doc__)
    parser.add_argument("bundle", type=str, help=BUNDLE)
    parser.add_argument(
        "--data.test", dest="test", type=Path | None, help="LLaVA JSON or JSONL; the run's own test set if not given"
    )
    parser.add_argument(
        "--data.images", dest="images", type=Path | None, help="folder of the images; the file's if not given"
    )
    parser.add_class_arguments(BackboneSettings, "backbone")
    parser.add_argument("--max_new_tokens", type=int, default=16, help="tokens of an answer")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parsed = parser.parse_args(list(argv))

    adapter = Adapter.from_pretrained(parsed.bundle)
    test, images = _files(Path(parsed.bundle), parsed.test, parsed.images)
    samples = read_samples(test, images)
    backbone = backbone_for(adapter, BackboneSettings(**vars(parsed.backbone)))
    columns: dict[Column, Scores] = {}
    described = [sample for sample in samples if sample.description]
    oracle = score(answer_oracle(backbone, adapter.layout, described)) if described else None
    model = adapter.attach(backbone)
    features = FeatureCache(backbone, adapter.layout.geometry["image"]) if fits_in(samples, backbone, CACHE) else None
    if features is not None:
        features.fill(samples)
    columns["adapter"] = score(answer_all(model, samples, features=features, max_new_tokens=parsed.max_new_tokens))
    columns["blind"] = score(answer_blind(model, samples, max_new_tokens=parsed.max_new_tokens))
    if oracle is not None:
        columns["oracle"] = oracle
    if parsed.json:
        print(json.dumps({name: vars(scores) for name, scores in columns.items()}, indent=2))
    else:
        print(f"VQA accuracy on {test.name}, in percent\n{score_table(columns)}")
    return 0


def _files(bundle: Path, test: Path | None, images: Path | None) -> tuple[Path, Path]:
    own = RunFolder(bundle).data
    if test is None and not (own / "test.json").exists():
        raise SettingsError("which questions? Give --data.test FILE (LLaVA JSON or JSONL) and --data.images FOLDER")
    chosen = test or own / "test.json"
    default = own / "images" if test is None else chosen.parent
    return chosen, images or default


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
