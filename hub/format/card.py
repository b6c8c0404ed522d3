"""The model card ``README.md``, generated from the manifest.

Values of the manifest are untrusted text: YAML quotes them in the front matter, and in the body every character that
has a meaning in Markdown, HTML or a template language is written as a character reference.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from inlay.hub.format.licences import licence_fields, restrictions
from inlay.hub.format.manifest import Manifest, PortSpec

__all__ = ["escape", "port_tag", "render_card"]

_ACTIVE = re.compile(r"[^\w .,/-]|(?<!\w)_|_(?!\w)", re.ASCII)
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.\-]{0,95}/[A-Za-z0-9][\w.\-]{0,95}", re.ASCII)
_EMBEDDED = "inlay-miniature/"
"""Sources with this prefix are models that ship with the package, not repositories on the Hub."""
_FILE_NAME = re.compile(r"[A-Za-z0-9][\w.\-]{0,95}", re.ASCII)
_MODEL_FIELDS = ("llm", "image", "audio", "video", "generate_image", "generate_audio", "generate_video", "prompt")
"""Arguments of ``inlay.recipes.load_model`` that name a model."""
_EXAMPLES = {
    "image": ("from PIL import Image\n\n", '{"type": "image", "image": Image.new("RGB", (224, 224), "red")}'),
    "audio": ("import numpy as np\n\n", '{"type": "audio", "audio": (np.zeros(16000), 16000)}'),
    "video": ("from PIL import Image\n\n", '{"type": "video", "video": ([Image.new("RGB", (64, 64))] * 8, 4.0)}'),
}
"""Modality -> import and part of a message for the example, with a medium in memory."""
_LIMITATIONS = (
    "It works only with a backbone that fits the interface above; `attach` checks this and says what differs. "
    "It inherits the limits, biases and licences of the models that it is trained on, and the measured figures hold "
    "for the data named above. What a model says about a picture can be wrong."
)


def escape(text: str) -> str:
    """Escape text, so that Markdown shows exactly this text on one line.

    Example:
        >>> escape("<b>{{ x }}</b> | llava-1.5")
        '&#60;b&#62;&#123;&#123; x &#125;&#125;&#60;/b&#62; &#124; llava-1.5'
    """
    one_line = " ".join(text.split())
    return _ACTIVE.sub(
        lambda match: match.group() if ord(match.group()) > 127 else f"&#{ord(match.group())};", one_line
    )


def render_card(manifest: Manifest, repo_id: str | None = None) -> str:
    """Render the card, front matter and body.

    Args:
        manifest: the bundle's manifest.
        repo_id: the repository of the published bundle, for the example; the card's folder if not given.

    Example:
        >>> from inlay.hub.format.manifest import LayoutSpec
        >>> layout = LayoutSpec(template="plain")
        >>> manifest = Manifest(system="llava", name="demo", interface={}, layout=layout, parts={})
        >>> render_card(manifest).splitlines()[:2]
        ['---', 'library_name: inlay']
    """
    sections = [
        f"---\n{_front_matter(manifest)}\n---",
        f"# {escape(manifest.name)}",
        f"An inlay adapter of the system {escape(manifest.system)}. It holds only what was trained; the backbone below "
        "stays as it is.",
        *_notice(manifest),
        "## Attach",
        _attach(manifest, repo_id or "."),
        "## Parts",
        _parts(manifest),
        "## Interface",
        _interface(manifest),
        "## Provenance",
        _provenance(manifest),
        "## Limitations",
        _LIMITATIONS + (" Its use is limited by licences, see above." if _notice(manifest) else ""),
    ]
    return "\n\n".join(sections) + "\n"


def _front_matter(manifest: Manifest) -> str:
    models = [(name, port) for name, port in _ports(manifest) if port.kind != "tokenizer"]
    sources = _sources(manifest)
    training = manifest.training
    results = (
        [
            EvalResult(
                task_type=_pipeline(manifest),
                dataset_type="custom",
                dataset_name=" ".join(training.data.split()) or "unnamed",
                metric_type=name,
                metric_value=value,
            )
            for name, value in sorted(training.metrics.items())
        ]
        if training
        else []
    )
    fields: dict[str, Any] = licence_fields(manifest.license)
    data = ModelCardData(
        library_name="inlay",
        base_model=list(dict.fromkeys(sources)) or None,
        base_model_relation="adapter" if sources else None,
        pipeline_tag=_pipeline(manifest),
        tags=["inlay", *dict.fromkeys((manifest.system, *(port.family for _, port in models)))]
        + [port_tag(name, port.family, port.width) for name, port in models],
        model_name=manifest.name if results else None,
        eval_results=results or None,
        **fields,
    )
    return data.to_yaml().strip()


def _sources(manifest: Manifest) -> list[str]:
    """The Hub ids of the backbone's models; paths, addresses and embedded models are omitted."""
    named = [port.source or "" for _, port in _ports(manifest) if port.kind != "tokenizer"]
    return [source for source in named if _HUB_ID.fullmatch(source) and not source.startswith(_EMBEDDED)]


def _notice(manifest: Manifest) -> list[str]:
    found = restrictions(manifest.license, _sources(manifest))
    if not found:
        return []
    return [f"**Not for commercial use**, because of {escape('; '.join(found))}. Read the licences before you use it."]


def _ports(manifest: Manifest) -> list[tuple[str, PortSpec]]:
    """The ports in a fixed order: the LLM first, then by name. The card does not depend on the order in memory."""
    return sorted(manifest.interface.items(), key=lambda item: (item[0] != "llm", item[0]))


def _pipeline(manifest: Manifest) -> str:
    ports = _ports(manifest)
    modalities = [name for name, port in ports if port.kind == "encoder"]
    if len(modalities) > 1 or any(port.kind == "generator" for _, port in ports):
        return "any-to-any"
    known = modalities and modalities[0] in ("image", "audio", "video")
    return f"{modalities[0]}-text-to-text" if known else "text-generation"


def _attach(manifest: Manifest, source: str) -> str:
    """A complete program, to be run in the card's folder or with the name of the repository.

    ``load_model`` finds the models by their Hub ids or, in a run, by its settings. A comment shows how to name models
    that another machine cannot find.
    """
    ports = dict(_ports(manifest))
    own = [
        f'{field}="path/to/{port.source if _FILE_NAME.fullmatch(port.source or "") else field}"'
        for name, port in ports.items()
        if (field := name.replace("generate.", "generate_")) in _MODEL_FIELDS
        and not (port.source and _HUB_ID.fullmatch(port.source))
    ]
    own += [f'{name}="{_sizes(port)}"' for name, port in ports.items() if port.family == "precomputed"]
    modality = next((name for name in _EXAMPLES if name in ports and ports[name].kind == "encoder"), None)
    imports, medium = _EXAMPLES[modality] if modality else ("", "")
    elsewhere = f'# on another machine: load_model("{source}", {", ".join(own)})\n' if own else ""
    parts = ", ".join(filter(None, (medium, '{"type": "text", "text": "What is this?"}')))
    return (
        f"```python\n{imports}from inlay.recipes import load_model\n\n"
        f'{elsewhere}model = load_model("{source}")\ncontent = [{parts}]\n'
        'print(model.chat([{"role": "user", "content": content}]).text)\n```'
    ) + (f'\n\nInstead of `"{modality}": ...` a part can name a file: `"path": ...`.' if modality else "")


def _sizes(port: PortSpec) -> str:
    """Sizes and source of precomputed features, in the form that ``--backbone.features`` expects."""
    up_to, name = "1-" if port.settings.get("variable") else "", f":{port.source}" if port.source else ""
    return f"{port.width}x{up_to}{port.tokens}{name}"


def _parts(manifest: Manifest) -> str:
    rows = [
        (name, part.kind, f"{part.parameters:,}", part.dtype, f"{part.size:,}")
        for name, part in sorted(manifest.parts.items())
    ]
    specs = manifest.parts.values()
    total = sum(part.parameters for part in specs)
    size = sum(part.size for part in specs)
    table = _table(("part", "kind", "parameters", "dtype", "bytes"), rows)
    return f"{table}\n\nTogether {total:,} parameters, {size:,} bytes of weights."


def _interface(manifest: Manifest) -> str:
    def row(name: str, port: PortSpec) -> tuple[str, ...]:
        tokens = "any" if port.tokens is None else str(port.tokens)
        settings = ", ".join(f"{key} {value}" for key, value in sorted(port.settings.items()))
        return (name, port.kind, port.family, str(port.width), tokens, port.source or "", port.revision or "", settings)

    rows = [row(name, port) for name, port in _ports(manifest)]
    return _table(("port", "kind", "family", "width", "tokens", "source", "commit", "settings"), rows)


def _provenance(manifest: Manifest) -> str:
    lines = [f"- layout: {escape(manifest.layout.template)}", f"- licence: {escape(manifest.license or 'not stated')}"]
    training = manifest.training
    if training is None:
        return "\n".join([*lines, "- training: not recorded"])
    versions = ", ".join(f"{name} {version}" for name, version in sorted(training.versions.items()))
    facts = {"recipe": training.recipe, "stages": ", ".join(training.stages), "data": training.data}
    facts |= {"seed": str(training.seed), "versions": versions}
    if (origin := training.derived_from) is not None:
        facts["derived from"] = f"{origin.name} ({origin.digest[:19]})"
    lines += [f"- {name}: {escape(value)}" for name, value in facts.items()]
    metrics = [(name, f"{value:g}") for name, value in sorted(training.metrics.items())]
    return "\n".join(lines) + (f"\n\n{_table(('metric', 'value'), metrics)}" if metrics else "")


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head)]
    lines += [tuple(escape(cell) for cell in row) for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def port_tag(port: str, family: str, width: int) -> str:
    """The tag by which ``search`` finds adapters for one port of a backbone.

    Example:
        >>> port_tag("llm", "llama", 4096)
        'inlay-llm-llama-4096'
    """
    return f"inlay-{port}-{family}-{width}"
