"""The plot has the panels for which a run has figures, and sample answers with their pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from inlay.recipes.commands.plots import draw
from inlay.recipes.commands.plots.draw import draw_run, scores_of
from inlay.recipes.runs.folder import RunFolder

pytest.importorskip("matplotlib")
FIGURES = {"seed": 0, "seconds": 12.0}
POLICY = "step,loss,reward/mean,policy/kl\n9,0.1,0.5,0.0\n19,-0.1,0.7,0.01\n"


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Draws a run, and returns the figure of matplotlib."""
    from matplotlib.figure import Figure

    kept: list[Any] = []
    save = Figure.savefig

    def keep(self: Any, *args: Any, **options: Any) -> None:
        kept.append(self)
        save(self, *args, **options)

    monkeypatch.setattr(Figure, "savefig", keep)

    def run(log: str, figures: dict[str, Any], answers: list[dict[str, Any]] | None = None) -> Any:
        folder = RunFolder(tmp_path)
        path = tmp_path / "logs" / "stage-csv" / "version_0" / "metrics.csv"
        path.parent.mkdir(parents=True)
        path.write_text(log)
        folder.write_metrics(FIGURES | figures)
        if answers is not None:
            folder.write_answers(answers)
        draw_run(folder, tmp_path / "plot.png", software="inlay plot")
        with Image.open(tmp_path / "plot.png") as picture:
            assert picture.info["Software"] == "inlay plot"
            assert min(picture.size) > 300
        return kept[-1]

    return run


def titles(figure: Any) -> list[str]:
    return [axes.get_title() for axes in figure.get_axes() if axes.get_title()]


def test_a_run_shows_loss_validation_and_scores(drawn: Any) -> None:
    log = "step,loss,val/loss,val/vqa,val/vqa_blind\n9,2.0,,,\n19,0.1,,,\n19,,0.5,0.8,0.3\n"
    figure = drawn(log, {"metric": "vqa", "accuracy": 0.9, "blind": 0.3, "oracle": 1.0})
    assert titles(figure) == ["loss", "validation: vqa", "held-out vqa"]
    loss, validation, scores = figure.get_axes()
    assert loss.get_yscale() == "log"
    assert [text.get_text() for text in validation.get_legend().get_texts()] == ["stage", "stage, blind"]
    assert [label.get_text() for label in scores.get_xticklabels()] == ["adapter", "blind", "oracle"]
    assert [bar.get_height() for bar in scores.patches] == [90.0, 30.0, 100.0]


def test_preferences_show_the_reward_accuracy_by_medium(drawn: Any) -> None:
    rewards = {"blank": 0.5, "other": 0.4, "right": 0.7}
    figure = drawn("step,loss\n9,0.7\n", {"reward_accuracy": rewards})
    assert titles(figure) == ["loss", "reward accuracy by medium"]
    bars = figure.get_axes()[1]
    assert [label.get_text() for label in bars.get_xticklabels()] == ["right", "blank", "other"]
    assert [round(bar.get_height()) for bar in bars.patches] == [70, 50, 40]


def test_grpo_shows_reward_and_kl_on_axes_that_take_negative_losses(drawn: Any) -> None:
    figure = drawn(POLICY, {})
    assert titles(figure) == ["loss", "mean reward", "KL divergence"]
    assert figure.get_axes()[0].get_yscale() == "linear"


def test_samples_have_their_picture_question_and_answer(drawn: Any, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), "red").save(tmp_path / "red.png")
    answer = {"type": "a", "image": "red.png", "question": "costs $5 or $6?", "reference": "red", "answers": ["red"]}
    rows = [answer | {"said": said} for said in ("red", "blue")]
    # A medium inside a data file, and one that is gone.
    rows += [answer | {"said": "x", "image": image} for image in ("sha256:0", "gone.png")]
    figure = drawn("step,loss\n9,1.0\n", {}, rows)
    assert titles(figure)[1:] == ["costs $5 or $6?\nred", "costs $5 or $6?\nblue (right: red)"]
    assert [axes.title.get_color() for axes in figure.get_axes()[1:3]] == ["black", "firebrick"]


def test_a_run_without_logs_is_drawn(drawn: Any) -> None:
    assert titles(drawn("step,loss\n", {})) == ["loss"]


def test_scores_are_named_by_the_main_figure_of_the_metric() -> None:
    assert scores_of({"metric": "captions", "cider": 1.2, "blind": 0.1}) == {"adapter": 120.0, "blind": 10.0}


def test_scores_before_alignment_stand_first() -> None:
    assert list(scores_of({"metric": "vqa", "before": {"accuracy": 0.4}, "accuracy": 0.5})) == ["before", "adapter"]


def test_without_matplotlib_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(draw.SettingsError, match=r"pip install 'inlay\[plots\]'"):
        draw_run(RunFolder(tmp_path), tmp_path / "plot.png", software="x")
