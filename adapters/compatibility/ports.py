"""Names of ports: the places at which an adapter touches a backbone.

``llm`` is the language model's embeddings, ``image``, ``audio`` and ``video`` are encoders' features,
``generate.<modality>`` is a generator's conditioning, and ``prompt`` the tokenizer of instruction-aware projectors.
"""

from __future__ import annotations

__all__ = ["LLM_PORT", "PRECISION", "PROMPT_PORT", "generator_port"]

LLM_PORT = "llm"
"""Name of the language model's port."""
PROMPT_PORT = "prompt"
"""Name of the port that tokenises the instruction for projectors that read it."""
PRECISION = "precision"
"""Setting of a quantised port: ``nf4`` or ``int8``. Another value means other weights, and does not prevent
attaching."""


def generator_port(modality: str) -> str:
    """Name of the port of a modality's generator.

    Example:
        >>> generator_port("image")
        'generate.image'
    """
    return f"generate.{modality}"
