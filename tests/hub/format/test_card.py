from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard, ModelCardData

from inlay.hub import LayoutSpec, Manifest, PartSpec, PortSpec, TrainingSpec, render_card
from inlay.hub.format.card import escape

DIGEST = "sha256:" + "0" * 64
HOSTILE = [
    "<script>alert(1)</script>",
    "{{ 7 * 7 }} {% raw %}",
    "](javascript:alert(1))",
    "![x](https://evil.example/beacon.png)",
    "| a | b |",
    "--- !!python/object/apply:os.system [x]",
    "'\"; name: evil",
    "https://evil.example",
    "`code` *bold* _em_ # head",
]


def _manifest(text: str = "demo", **fields: Any) -> Manifest:
    return Manifest(
        **{
            "system": "llava",
            "name": text,
            "interface": {
                "image": PortSpec(
                    kind="encoder",
                    family="clip",
                    width=1024,
                    tokens=576,
                    source="openai/clip-vit-large-patch14-336",
                    weights=DIGEST,
                    settings={"note": text},
                ),
                "llm": PortSpec(kind="llm", family="llama", width=4096, source="lmsys/vicuna-7b-v1.5", weights=DIGEST),
            },
            "layout": LayoutSpec(template="vicuna_v1"),
            "parts": {"inputs.image": PartSpec(kind="mlp", parameters=20_979_712, dtype="bfloat16")},
            "training": TrainingSpec(
                recipe="llava",
                stages=("align",),
                data=text,
                seed=1,
                versions={"torch": text},
                metrics={"accuracy": 0.5},
            ),
            "license": text,
        }
        | fields
    )


def _front(card: str) -> dict[str, Any]:
    value: dict[str, Any] = yaml.safe_load(card.split("---\n")[1])
    return value


def test_the_front_matter_says_what_the_hub_asks_for() -> None:
    front = _front(render_card(_manifest(license="llama2")))
    assert front["library_name"] == "inlay"
    assert front["base_model"] == ["lmsys/vicuna-7b-v1.5", "openai/clip-vit-large-patch14-336"]
    assert front["base_model_relation"] == "adapter"
    assert front["pipeline_tag"] == "image-text-to-text"
    assert front["license"] == "llama2"
    assert front["tags"] == ["inlay", "llava", "llama", "clip", "inlay-llm-llama-4096", "inlay-image-clip-1024"]


def test_a_tokenizer_is_named_for_attaching_but_is_no_base_model() -> None:
    prompt = PortSpec(
        kind="tokenizer", family="wordpiece", width=30523, source="example/bert", tokenizer=DIGEST, weights=DIGEST
    )
    card = render_card(_manifest(interface={"prompt": prompt}))
    assert "| prompt | tokenizer | wordpiece | 30523 | any | example/bert |" in card
    assert "base_model" not in _front(card)
    assert _front(card)["tags"] == ["inlay", "llava"]


def test_the_client_of_the_hub_reads_the_metrics() -> None:
    data = ModelCard(render_card(_manifest())).data
    assert isinstance(data, ModelCardData)
    assert data.eval_results is not None
    assert [(result.metric_type, result.metric_value) for result in data.eval_results] == [("accuracy", 0.5)]


@pytest.mark.parametrize("source", ["/home/me/vicuna", "../x", "https://evil.example/x", "vicuna", None])
def test_only_a_hub_id_is_a_base_model(source: str | None) -> None:
    port = PortSpec(kind="llm", family="llama", width=8, source=source, weights=DIGEST)
    card = render_card(_manifest(interface={"llm": port}))
    assert "base_model" not in _front(card)
    named = "vicuna" if source == "vicuna" else "llm"
    assert f'# on another machine: load_model(".", llm="path/to/{named}")' in card


PORTS = {"llm": "llm", "image": "encoder", "audio": "encoder", "video": "encoder", "picture": "generator"}


@pytest.mark.parametrize(
    ("names", "tag"),
    [
        (("llm",), "text-generation"),
        (("llm", "image"), "image-text-to-text"),
        (("llm", "audio"), "audio-text-to-text"),
        (("llm", "video"), "video-text-to-text"),
        (("llm", "image", "audio"), "any-to-any"),
        (("llm", "picture"), "any-to-any"),
    ],
)
def test_the_pipeline_tag_follows_the_ports(names: tuple[str, ...], tag: str) -> None:
    shared = {"family": "f", "width": 8, "weights": DIGEST}
    ports = {name: PortSpec.model_validate({"kind": PORTS[name], **shared}) for name in names}
    assert _front(render_card(_manifest(interface=ports)))["pipeline_tag"] == tag


def test_the_tables_give_counts_and_sizes() -> None:
    card = render_card(_manifest())
    assert "| inputs.image | mlp | 20,979,712 | bfloat16 | 41,959,424 |" in card
    assert "| llm | llm | llama | 4096 | any | lmsys/vicuna-7b-v1.5 |  |  |" in card


def _code(card: str) -> str:
    return card.split("```python\n")[1].split("```")[0]


@pytest.mark.parametrize("modality", ["image", "audio", "video"])
def test_the_example_compiles_and_shows_a_medium(modality: str) -> None:
    port = PortSpec(kind="encoder", family="f", width=8, source="example/encoder", weights=DIGEST)
    code = _code(render_card(_manifest(interface={modality: port})))
    compile(code, "card", "exec")
    assert f'{{"type": "{modality}", "{modality}": ' in code


def test_the_example_of_models_on_the_hub_names_none_of_them() -> None:
    assert 'model = load_model(".")' in _code(render_card(_manifest()))
    assert "another machine" not in render_card(_manifest())


def test_embedded_models_are_no_base_models() -> None:
    port = PortSpec(kind="llm", family="llama", width=8, source="inlay-miniature/llama", weights=DIGEST)
    card = render_card(_manifest(interface={"llm": port}))
    assert "base_model" not in _front(card)
    assert "another machine" not in card


def test_a_manifest_without_training_has_a_card() -> None:
    card = render_card(_manifest(training=None, license=None))
    assert "training: not recorded" in card
    assert "model-index" not in _front(card)
    assert "license" not in _front(card)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text_in_the_front_matter(text: str) -> None:
    front = _front(render_card(_manifest(text)))
    assert front["license"] == "other"
    assert re.fullmatch(r"[a-z0-9.-]+", front["license_name"])
    assert front["model-index"][0]["name"] == text
    assert set(front) <= {
        *("base_model", "base_model_relation", "library_name", "license", "license_name"),
        *("model-index", "pipeline_tag", "tags"),
    }


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_does_nothing_in_the_body(text: str) -> None:
    harmless, hostile = (render_card(_manifest(name)).split("---\n", 2)[2] for name in ("demo", text))
    active = re.compile(r"[<>{}\[\]()*`!\"'\\|]|://|#(?!\d)|\b_|_\b")
    # The structure of the page is the same: just as many active characters with the one text as with the other.
    assert len(active.findall(hostile)) == len(active.findall(harmless))


def test_newlines_in_text_cannot_leave_their_line() -> None:
    assert escape("a\n\n# b\tc") == "a &#35; b c"


def test_letters_of_other_scripts_stay_readable() -> None:
    assert escape("Grüße 你好 العربية") == "Grüße 你好 العربية"


def test_the_card_does_not_depend_on_the_order_in_memory() -> None:
    manifest = _manifest()
    turned = manifest.model_copy(update={"interface": dict(reversed(manifest.interface.items()))})
    assert render_card(turned) == render_card(manifest)


@pytest.mark.parametrize(
    ("source", "licence", "because"),
    [
        ("huggyllama/llama-7b", None, "LLaMA 1"),
        ("lmsys/vicuna-7b-v1.1", "mit", "Vicuna before 1.5"),
        ("nielsr/imagebind-huge", "mit", "ImageBind"),
        ("facebook/opt-2.7b", "apache-2.0", "OPT"),
        ("lmsys/vicuna-7b-v1.5", "cc-by-nc-4.0", "its own licence, cc-by-nc-4.0"),
        ("lmsys/vicuna-7b-v1.5", "for research only", "its own licence, for research only"),
    ],
)
def test_a_card_says_what_forbids_commercial_use(source: str, licence: str | None, because: str) -> None:
    port = PortSpec(kind="llm", family="llama", width=8, source=source, weights=DIGEST)
    card = render_card(_manifest(interface={"llm": port}, license=licence))
    assert "**Not for commercial use**" in card
    assert escape(because) in card


def test_a_card_says_nothing_of_the_kind_where_nothing_forbids_it() -> None:
    card = render_card(_manifest(license="apache-2.0"))
    assert "commercial" not in card.lower()


def test_the_example_names_the_repository() -> None:
    assert 'load_model("me/x")' in render_card(_manifest(), "me/x")


def test_the_sizes_are_added_up() -> None:
    part = PartSpec(kind="mlp", parameters=1000, dtype="float32")
    card = render_card(_manifest(parts={"inputs.image": part, "inputs.audio": part}))
    assert "Together 2,000 parameters, 8,000 bytes of weights." in card
