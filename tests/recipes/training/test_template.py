"""Which template a stage gets that leaves it open."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hub_layouts import write_clip, write_vicuna
from PIL import Image

from inlay.adapters.conversation.templates.llava import VICUNA_SYSTEM
from inlay.recipes.runs.job import Job
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.settings.run import BackboneSettings, DataSettings, RunSettings
from inlay.recipes.systems import llava, minigpt4
from inlay.recipes.training.finetune import finetune
from inlay.recipes.training.template import with_template

CHAT = (
    "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}[assistant] "
    "{% if enable_thinking is defined and enable_thinking %}...{% endif %}{% endif %}"
)
PUBLISHED = Path(__file__).parents[2] / "adapters/conversation/chat_templates/published"


def job(recipe: Any = None, **run: Any) -> Job:
    return Job(
        recipe=recipe or llava.recipe(size="full"),
        run=RunSettings(output=Path("unused"), **run),
        backbone=BackboneSettings(),
        data=DataSettings(),
    )


def layouts(made: Job) -> dict[str, str]:
    return {name: stage.template for name, stage in made.recipe.stages.items()}


def test_an_own_llm_with_a_chat_template_gets_it_without_vicunas_sentence(tokenizer_of: Any) -> None:
    lines: list[str] = []
    made = with_template(job(), tokenizer_of(bos=False), own=True, show=lines.append)
    assert layouts(made) == {"align": "plain", "instruct": "chat"}
    assert made.recipe.layout.system == ""
    assert lines == ["stage instruct: the LLM's own chat template; --template for another"]


def test_an_llm_without_a_chat_template_gets_vicunas(tokenizer_of: Any) -> None:
    lines: list[str] = []
    made = with_template(job(), tokenizer_of(chat_template=None), own=True, show=lines.append)
    assert layouts(made) == {"align": "plain", "instruct": "vicuna_v1"}
    assert made.recipe.layout.system == VICUNA_SYSTEM
    assert not lines


def test_the_miniature_keeps_the_published_layout(tokenizer_of: Any) -> None:
    made = with_template(job(), tokenizer_of(bos=False), own=False, show=print)
    assert layouts(made)["instruct"] == "vicuna_v1"


def test_the_papers_template_can_be_asked_for(tokenizer_of: Any) -> None:
    made = with_template(job(template="vicuna_v1"), tokenizer_of(bos=False), own=True, show=print)
    assert layouts(made) == {"align": "plain", "instruct": "vicuna_v1"}
    assert made.recipe.layout.system == VICUNA_SYSTEM


def test_a_chat_template_that_cannot_be_used_is_left_with_the_reason(tokenizer_of: Any) -> None:
    lines: list[str] = []
    endless = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    made = with_template(job(), tokenizer_of(bos=False, chat_template=endless), own=True, show=lines.append)
    assert layouts(made)["instruct"] == "vicuna_v1"
    assert "stage instruct: vicuna_v1, because" in lines[0]
    assert "without a special token" in lines[0]


def test_thinking_is_switched_off_and_stored_unless_asked_for(tokenizer_of: Any) -> None:
    tokenizer = tokenizer_of(bos=False, chat_template=(PUBLISHED / "qwen3.jinja").read_text())
    lines: list[str] = []
    made = with_template(job(), tokenizer, own=True, show=lines.append)
    assert made.recipe.layout.spec.arguments == {"enable_thinking": False}
    assert "(enable_thinking=False)" in lines[0]


def test_a_system_with_layouts_of_its_own_refuses_another_template(tokenizer_of: Any) -> None:
    asked = job(minigpt4.recipe(size="full"), template="chat")
    with pytest.raises(
        SettingsError, match=r"no stage of minigpt4 leaves its template open; .*--stages\.\w+\.template"
    ):
        with_template(asked, tokenizer_of(), own=True, show=print)
    kept = with_template(job(minigpt4.recipe(size="full")), tokenizer_of(), own=True, show=print)
    assert kept.recipe.stages == minigpt4.recipe(size="full").stages


def test_an_unknown_template_is_refused(tokenizer_of: Any) -> None:
    with pytest.raises(SettingsError, match="expected auto or one of plain, vicuna_v1, chat"):
        with_template(job(template="vicuna"), tokenizer_of(), own=True, show=print)


@pytest.mark.filterwarnings("ignore::inlay.adapters.loading.files.checkpoint.PickleWarning")
def test_a_run_on_folders_laid_out_like_the_readmes_pair_stores_the_template(tmp_path: Path) -> None:
    write_vicuna(tmp_path / "vicuna")
    write_clip(tmp_path / "clip")
    config = tmp_path / "vicuna" / "tokenizer_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"chat_template": CHAT}))
    Image.new("RGB", (20, 14), "red").save(tmp_path / "0.png")
    turns = [{"from": "human", "value": "<image>\nwhat colour?"}, {"from": "gpt", "value": "red"}]
    rows = [{"id": str(number), "image": "0.png", "conversations": turns} for number in range(4)]
    (tmp_path / "train.json").write_text(json.dumps(rows))
    finetune(
        llava.recipe(),
        output=tmp_path / "run",
        train=tmp_path / "train.json",
        backbone=BackboneSettings(llm=str(tmp_path / "vicuna"), image=str(tmp_path / "clip")),
        trainer={"max_steps": 1},
        logger="csv",
        show=lambda line: None,
    )
    layout = json.loads((tmp_path / "run" / "bundle" / "inlay.json").read_text())["layout"]
    assert (layout["template"], layout["arguments"]) == ("chat", {"enable_thinking": False})
