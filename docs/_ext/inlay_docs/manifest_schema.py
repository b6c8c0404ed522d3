"""The fields of ``inlay.json``, read from the pydantic models that check it."""

from __future__ import annotations

import inspect
import re
from typing import Any

from pydantic import BaseModel

from inlay.hub.format import manifest
from inlay_docs.markdown import cell, field_texts, summary, table

__all__ = ["markdown", "models"]


def models() -> list[type[BaseModel]]:
    """The models of the manifest, the whole first."""
    found = [
        value
        for name, value in vars(manifest).items()
        if inspect.isclass(value) and issubclass(value, BaseModel) and not name.startswith("_") and value.model_fields
    ]
    found = [model for model in found if model.__module__ == manifest.__name__]
    return sorted(found, key=lambda model: model is not manifest.Manifest)


def markdown() -> str:
    """One section for each model, with a table of its fields."""
    return "\n\n".join(_section(model) for model in models())


def _section(model: type[BaseModel]) -> str:
    meanings = field_texts(model)
    schema = model.model_json_schema()["properties"]
    rows = [
        (f"`{name}`", cell(_type(schema[name])), "yes" if field.is_required() else "no", meanings.get(name, ""))
        for name, field in model.model_fields.items()
    ]
    return f"## {model.__name__}\n\n{summary(model.__doc__)}\n\n{table(('field', 'JSON', 'needed', 'meaning'), rows)}"


def _type(schema: dict[str, Any]) -> str:
    """A JSON schema in a few words."""
    if "$ref" in schema:
        return f"object {schema['$ref'].rpartition('/')[2]}"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type(one) for one in schema["anyOf"]))
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    kind = schema.get("type", "text, number, true, false or null")
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if kind == "object":
        return f"object of {_type(schema.get('additionalProperties') or {})}"
    limits = {"maxLength": "up to {} characters", "maximum": "up to {}", "minimum": "from {}"}
    bounds = [text.format(schema[key]) for key, text in limits.items() if key in schema]
    pattern = f" `{schema['pattern']}`" if "pattern" in schema and len(schema["pattern"]) < 30 else ""
    return re.sub(r"\s+", " ", f"{kind}{pattern}{' (' + ', '.join(bounds) + ')' if bounds else ''}")
