"""The examples of extension points as a reader runs them: each alone, and all together on one process and on two."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from preference_rows import random_pairs, rows_for, untouched
from registries import forgotten
from safetensors.torch import load_file
from stages import stage_from
from step_ways import assert_same, way

from inlay.adapters import Adapter, Backbone, Layout, MlpConfig, export_adapter, parse_messages
from inlay.adapters.compatibility.verdict import IncompatibleBackbone
from inlay.adapters.conversation.messages import MadePart, Message, TextPart
from inlay.adapters.convert import ConvertError, import_adapter, read_checkpoint
from inlay.adapters.inputs import PROJECTORS
from inlay.adapters.llm_parts.token_rows import TokensConfig
from inlay.hub.errors import BundleError
from inlay.recipes import Task
from inlay.recipes.cli import main
from inlay.recipes.data import DataError, Offenders, Question, Sample, read_samples
from inlay.recipes.data.formats.read import read_rows
from inlay.recipes.evaluation.benchmarks.registry import benchmark_named, files_of
from inlay.recipes.evaluation.metric_registry import METRICS
from inlay.recipes.miniature.datasets.pictures import build
from inlay.recipes.objectives.preference.losses.registry import preference_loss
from inlay.recipes.objectives.preference.settings import Preference
from inlay.recipes.objectives.signals.settings import Signals
from inlay.recipes.rewards.scoring import scorer_of
from inlay.recipes.rewards.terms import RewardSettings
from inlay.recipes.settings.default_models import miniature_path
from inlay.recipes.settings.objective import ObjectiveError
from inlay.recipes.systems.load_backbone import miniature_backbone

EXTEND = Path(__file__).parents[2] / "examples" / "extend"
STEPS = [f"--stages.{name}.{field}" for name in ("align", "instruct") for field in ("max_steps=2", "batch_size=4")]
COLOURS = ("red", "green", "blue", "yellow")


@pytest.fixture(autouse=True)
def registries(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with forgotten():
        monkeypatch.syspath_prepend(EXTEND)
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    build(folder, 0, scenes=6, test_scenes=7, digits=2, test_digits=1)
    return folder


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``train.csv`` and ``test.csv`` with pictures of one colour, and the folder of the encoder."""
    folder = tmp_path_factory.mktemp("table")
    for name, count in (("train", 96), ("test", 8)):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["image", "question", "answer"])
            for number in range(count):
                colour = COLOURS[number % 4]
                Image.new("RGB", (20, 14), colour).save(folder / f"{name}{number}.png")
                rows.writerow([f"{name}{number}.png", "what colour is it?", colour])
    (folder / "patches").mkdir()
    (folder / "patches" / "config.json").write_text('{"model_type": "raw_patches", "patch": 8}')
    return folder


def settings(world: Path, run: Path) -> list[str]:
    files = [f"--data.{name}={world / name}.json" for name in ("align", "train", "test")]
    return [*files, f"--data.images={world / 'images'}", f"--output={run}", "--accelerator=cpu", *STEPS]


def question(world: Path) -> list[dict[str, Any]]:
    picture = next(iter(sorted((world / "images").iterdir())))
    return [{"role": "user", "content": [{"type": "image", "path": str(picture)}, {"type": "text", "text": "colour?"}]}]


@pytest.mark.parametrize("path", sorted(EXTEND.glob("*.py")), ids=lambda path: path.name)
def test_an_example_is_shorter_than_60_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 60


def test_a_projector_is_trained_stored_and_loaded(world: Path, tmp_path: Path) -> None:
    run, own = tmp_path / "run", ["--import", str(EXTEND / "own_projector.py")]
    chosen = ["--projector=pooled", '--projector_options={"every": 3}']
    assert main(["train", "llava", *own, *chosen, *settings(world, run)]) == 0
    part = json.loads((run / "bundle" / "inlay.json").read_text())["parts"]["inputs.image"]
    assert (part["kind"], part["config"]["every"]) == ("pooled", 3)
    assert main(["evaluate", str(run), *own, f"--data.test={world}/test.json", f"--data.images={world}/images"]) == 0
    model = Adapter.from_pretrained(run).attach(miniature_backbone(), strict=True)
    assert model.tokens == {"image": 12}
    del PROJECTORS["pooled"]
    with pytest.raises(
        BundleError, match=r"unknown projector 'pooled'.*--import MODULE.*register_projector\(Module, Config\)"
    ):
        Adapter.from_pretrained(run)


def test_an_encoder_is_trained_with_and_recognised(world: Path, table: Path, tmp_path: Path) -> None:
    run, llm = tmp_path / "run", "inlay-miniature/llama"
    models = [f"--backbone.llm={llm}", f"--backbone.image={table / 'patches'}", "--size=miniature"]
    own = ["--import", str(EXTEND / "own_encoder.py")]
    assert main(["train", "llava", *own, *models, *settings(world, run)]) == 0
    adapter = Adapter.from_pretrained(run)
    assert (adapter.interface["image"].tokens, adapter.interface["image"].source) == (36, "patches")
    model = adapter.attach(Backbone.from_pretrained(miniature_path(llm), table / "patches"))
    assert model.chat(question(world), max_new_tokens=2).tokens in (1, 2)
    adapter.detach()
    with pytest.raises(IncompatibleBackbone, match=r"image +family +raw_patches +clip_vision_model"):
        adapter.attach(miniature_backbone())


def test_template_and_projector_train_and_come_back(backbone_of: Any, image_of: Any, tmp_path: Path) -> None:
    pooled = import_module("own_projector").PooledConfig(every=2)
    import_module("own_template")
    backbone, layout = backbone_of(), Layout(template="alpaca")
    adapter = Adapter.for_backbone(backbone, system="own", name="own", layout=layout, inputs={"image": pooled})
    model = adapter.attach(backbone)
    asked = {"role": "user", "content": [{"type": "image", "image": image_of()}, {"type": "text", "text": "what?"}]}
    batch = model.batch([parse_messages([asked, {"role": "assistant", "content": "a star"}])])
    loss = model(batch).loss
    loss.backward()
    assert all(parameter.grad is not None for parameter in adapter.parameters())
    adapter.save_pretrained(tmp_path / "bundle")
    adapter.detach()
    loaded = Adapter.from_pretrained(tmp_path / "bundle")
    reply = loaded.attach(backbone, strict=True).chat([asked], max_new_tokens=4)
    assert reply.finish_reason in ("stop", "length")
    assert loaded.inputs["image"].config == adapter.inputs["image"].config
    assert loaded.layout == layout


def test_generator_and_output_projector_learn_the_colour_of_a_prompt(llm_of: Any, tmp_path: Path) -> None:
    output = import_module("own_output")
    import_module("own_generator")
    folder = tmp_path / "palette"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "palette", "side": 4}')
    llm = llm_of("llama")
    llm.model.save_pretrained(tmp_path / "llm")
    llm.tokenizer.save_pretrained(tmp_path / "llm")
    backbone = Backbone.from_pretrained(tmp_path / "llm", generate_image=folder, dtype="float32")
    palette: Any = backbone.generator("image")
    (purple,) = palette.generate(palette.encode_text(["red and blue"]))
    assert purple.getpixel((0, 0)) == (128, 0, 128)

    stage = stage_from(
        data="train",
        template="vicuna_v1",
        geometry="pad",
        lr={"outputs": 3e-2},
        batch_size=4,
        epochs=120.0,
        objective=Signals(lm=0.0, distance="mse"),
    )

    def make(stage: Any) -> Any:
        torch.manual_seed(3)
        adapter = Adapter.for_backbone(
            backbone,
            system="own",
            name="own",
            layout=stage.layout,
            inputs={},
            outputs={"image": output.MeanOutputConfig()},
            tokens=TokensConfig.numbered(backbone.llm.width, image=2),
        )
        model = adapter.attach(backbone)
        turns = [(Message("user", (TextPart(c),)), Message("assistant", (MadePart("image", c),))) for c in COLOURS]
        rows = [Sample(str(number), messages, "rows") for number, messages in enumerate(turns)]
        plan: Any = stage.objective.plan(Task(stage=stage, model=model, sets=[rows]))
        return plan.module, plan.data, backbone.llm.tokenizer

    losses = way(make, stage, 1, 1, tmp_path / "run", sgd=False, short=0)["logged"]
    assert losses[-1] < 0.1 * losses[0]


def test_the_focal_loss_is_its_formula_and_without_gamma_the_cross_entropy(
    backbone_of: Any, adapter_of: Any, samples: list[Sample]
) -> None:
    module, data = focal(backbone_of, adapter_of, samples, gamma=2.0)
    data.setup("fit")
    batch = next(iter(data.train_dataloader())).batch
    output = module.model(batch, logits="labelled")
    p = output.logits.softmax(-1)[torch.arange(len(output.targets)), output.targets]
    assert module.terms(batch)["focal"].mean.item() == pytest.approx(
        (-((1 - p) ** 2) * p.log()).mean().item(), rel=1e-5
    )
    plain, _ = focal(backbone_of, adapter_of, samples, gamma=0.0)
    assert plain.terms(batch)["focal"].mean.item() == pytest.approx(output.loss.item(), rel=1e-5)
    with pytest.raises(ObjectiveError, match="gamma: expected 0 or more, got -1"):
        focal(backbone_of, adapter_of, samples, gamma=-1)


def test_the_gradient_of_the_focal_loss_depends_on_the_samples_of_a_step_alone(
    backbone_of: Any, adapter_of: Any, samples: list[Sample], tmp_path: Path
) -> None:
    def make(stage: Any) -> Any:
        module, data = focal(backbone_of, adapter_of, samples, stage=stage)
        return module, data, module.model.backbone.llm.tokenizer

    stage = focal_stage(2.0)
    one = way(make, stage, 1, 1, tmp_path / "one", sgd=True, short=0)
    for processes, accumulate in [(1, 4), (2, 2)]:
        two = way(make, stage, processes, accumulate, tmp_path / f"{processes}-{accumulate}", sgd=True, short=0)
        assert_same(one, two)


@pytest.fixture
def samples() -> list[Sample]:
    texts = ("red", "green and blue", "blue", "a small yellow star", "two", "two circles")
    turns = [(Message("user", (TextPart("what?"),)), Message("assistant", (TextPart(text),))) for text in texts]
    return [Sample(f"s{number}", messages, "rows") for number, messages in enumerate(turns)]


def focal_stage(gamma: float) -> Any:
    objective = import_module("own_objective").Focal(gamma=gamma)
    return stage_from(
        data="train",
        template="vicuna_v1",
        geometry="pad",
        lr={"lora": 1e-2},
        batch_size=4,
        max_steps=2,
        epochs=3.0,
        objective=objective,
    )


def focal(
    backbone_of: Any, adapter_of: Any, samples: list[Sample], *, gamma: float = 2.0, stage: Any = None
) -> tuple[Any, Any]:
    stage = stage or focal_stage(gamma)
    torch.manual_seed(11)
    backbone = backbone_of()
    model = adapter_of(backbone, dropout=0.0).attach(backbone)
    plan: Any = stage.objective.plan(Task(stage=stage, model=model, sets=[samples], seed=7))
    return plan.module, plan.data


def test_a_csv_file_is_read_and_its_bad_rows_are_listed(table: Path, tmp_path: Path) -> None:
    import_module("own_format")
    rows = read_samples(table / "test.csv", table)
    assert [(row.messages[0].content[1].text, row.messages[1].text) for row in rows[:2]] == [
        ("what colour is it?", "red"),
        ("what colour is it?", "green"),
    ]
    assert rows[0].messages[0].content[0].source == table / "test0.png"
    (tmp_path / "bad.csv").write_text("image,question,answer\na.png,what?,red\n../b.png,what?,red\nc.png,what?,\n")
    offenders = Offenders(collect=True)
    assert [row.id for row in read_rows(tmp_path / "bad.csv", tmp_path, offenders=offenders)] == ["line-2"]
    assert [found.where.rpartition(", ")[2] for found in offenders.found] == ["line 3", "line 4"]
    (tmp_path / "other.csv").write_text("picture,text\na.png,red\n")
    with pytest.raises(DataError, match="expected the columns image, question, answer, no image, question, answer"):
        read_samples(tmp_path / "other.csv")


def test_a_reward_of_ones_own_scores_answers() -> None:
    import_module("own_reward")
    asked = Question((Message("user", (TextPart("what?"),)),), "a red circle", ("a red circle",), "")
    scorer = scorer_of(RewardSettings(reward="2*word_f1"))
    said = ("A red circle.", "a red ring", "blue")
    assert [scorer(asked, text, Sample("1", (), "")).total for text in said] == [2.0, pytest.approx(4 / 3), 0.0]


def test_a_preference_loss_of_ones_own_trains_and_has_its_first_value() -> None:
    import_module("own_preference_loss")
    loss = preference_loss("squared_hinge", beta=0.5, margin=2.0)
    assert loss(untouched(rows_for(loss, 3))).tolist() == [loss.first_step()] * 3 == [4.0] * 3
    pairs = random_pairs(4)
    gained = (pairs.chosen - pairs.ref_chosen) - (pairs.rejected - pairs.ref_rejected)
    expected = [max(0.0, 2 - 0.5 * value) ** 2 for value in gained.tolist()]
    assert loss(pairs).tolist() == pytest.approx(expected)
    assert Preference(loss="squared_hinge", options={"margin": 2.0}).function == preference_loss(
        "squared_hinge", margin=2.0
    )


def test_a_checkpoint_in_a_format_of_ones_own_is_imported(backbone_of: Any, tmp_path: Path) -> None:
    import_module("own_converter")
    (tmp_path / "bridge.json").write_text('{"llm": "someone/llm", "image": "someone/encoder"}')
    tensors = {"bridge.proj.weight": torch.randn(32, 24), "bridge.proj.bias": torch.randn(32)}
    torch.save({**tensors, "bridge.steps": torch.tensor(7)}, tmp_path / "bridge.pt")
    assert read_checkpoint(tmp_path).models.llm == "someone/llm"
    found = import_adapter(tmp_path, backbone=backbone_of())
    assert found.ignored == {"number of steps of its training": 1}
    assert torch.equal(found.adapter.inputs["image"].layer.weight, tensors["bridge.proj.weight"])
    torch.save({"bridge.proj.bias": tensors["bridge.proj.bias"]}, tmp_path / "bridge.pt")
    with pytest.raises(ConvertError, match=r"bridge\.proj\.weight is missing"):
        import_adapter(tmp_path, backbone=backbone_of())


@pytest.mark.parametrize("half", [False, True])
def test_a_target_of_ones_own_is_written_and_checked(backbone_of: Any, tmp_path: Path, half: bool) -> None:
    import_module("own_exporter")
    backbone = backbone_of()
    adapter = Adapter.for_backbone(
        backbone, system="llava", name="own", layout=Layout(template="vicuna_v1"), inputs={"image": MlpConfig()}
    )
    report = export_adapter(adapter.attach(backbone), to="parts", output=tmp_path / "parts", half=half)
    held = load_file(tmp_path / "parts" / "projector.safetensors")
    assert {tensor.dtype for tensor in held.values()} == {torch.float16 if half else torch.float32}
    assert json.loads((tmp_path / "parts" / "layout.json").read_text())["template"] == "vicuna_v1"
    assert (report.target, report.options) == ("parts", {"half": half})
    adapter.detach()


def test_the_metric_counts_words() -> None:
    import_module("own_metric")
    asked = Question((), "a red disc", ("a red disc",), "")
    said = ["A red, red ring.", "disc red a", ""]
    assert METRICS["word_recall"].compute(said[:1], [asked]) == {"overall": pytest.approx(2 / 3)}
    assert [METRICS["word_recall"].compute([text], [asked])["overall"] for text in said[1:]] == [1.0, 0.0]


def test_the_benchmark_counts_equal_answers(tmp_path: Path) -> None:
    import_module("own_benchmark")
    for name in ("stop", "yield"):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    (tmp_path / "signs.csv").write_text("image,question,answer\nstop.png,Which?,Stop\nyield.png,Which?,Yield\n")
    benchmark, files = benchmark_named("signs"), files_of("signs", tmp_path)
    items = benchmark.read(files, "Briefly.")
    files.check_media(items)
    assert items[0].prompt[0].text == "Which?\nBriefly."
    assert benchmark.score(items, [" stop.", "go"]).figures == {"accuracy": 50}


def curve(run: Path, stage: str) -> list[list[float]]:
    (path,) = (run / "logs" / f"{stage}-csv").rglob("metrics.csv")
    with path.open() as file:
        rows = list(csv.DictReader(file))
    return [[float(row[name]) for name in ("step", "loss", "gradient norm")] for row in rows if row["loss"]]


@pytest.mark.slow
def test_all_parts_train_together_and_two_processes_give_the_numbers_of_one(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ["--train", str(table / "train.csv"), "--images", str(table), "--encoder", str(table / "patches")]
    one, two = tmp_path / "one", tmp_path / "two"
    monkeypatch.setattr(sys, "argv", ["train.py", *files, "--test", str(table / "test.csv"), "--output", str(one)])
    import_module("train").main()
    shown = capsys.readouterr().out
    assert "words of the reference in the answer, " in shown
    assert shown.splitlines()[-1] == str(one / "bundle")
    figures = json.loads((one / "metrics.json").read_text())
    assert figures["accuracy"] == 1.0
    assert figures["blind"] < 0.5
    stored = json.loads((one / "bundle" / "inlay.json").read_text())["training"]["metrics"]
    assert stored == {"word_recall": 1.0, "blind": figures["blind"]}
    first, *_, last = curve(one, "align")
    assert last[1] < first[1]

    script = [sys.executable, str(EXTEND / "train.py"), *files, "--output", str(two), "--devices", "2"]
    done = subprocess.run(
        script, capture_output=True, text=True, cwd=tmp_path, env=os.environ | {"OMP_NUM_THREADS": "1"}, timeout=240
    )
    assert done.returncode == 0, done.stderr
    for stage in ("align", "instruct"):
        for alone, both in zip(curve(one, stage), curve(two, stage), strict=True):
            # A loss near 0 is the difference of numbers near 1, in float32.
            assert both == pytest.approx(alone, rel=1e-5, abs=1e-6)
    alone, both = (dict(Adapter.from_pretrained(run).state_dict()) for run in (one, two))
    assert Adapter.from_pretrained(two).projector("image").kind == "pooled"
    assert alone.keys() == both.keys()
    for name, tensor in alone.items():  # In bfloat16 a value may be rounded the other way.
        assert torch.allclose(both[name].float(), tensor.float(), rtol=2**-7, atol=1e-4), name


def test_a_model_learns_to_read_a_sensor_from_files_of_features(tmp_path: Path) -> None:
    import sensor_features

    run = sensor_features.train(tmp_path / "sensor")
    assert run.metrics["accuracy"] >= 0.9
    assert run.metrics["blind"] <= 0.4
    assert dict(run.adapter().interface)["features"].source == "waves"
    asked = ["chat", str(run.folder), "--features", str(tmp_path / "sensor" / "test_2.safetensors")]
    assert main([*asked, "--question", "How many waves?"]) == 0
