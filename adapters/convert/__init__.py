"""Import of foreign checkpoints: LLaVA, TinyLLaVA, prismatic, ms-swift, PEFT, BLIP-2, MiniGPT-4, NExT-GPT, ..."""

from inlay.adapters.convert.import_adapter import Result, import_adapter, read_checkpoint
from inlay.adapters.convert.imported import Imported, Lora, Models
from inlay.adapters.convert.keys import KeyTable
from inlay.adapters.convert.registry import CONVERTERS, Converter, register_converter
from inlay.adapters.convert.source import ConvertError, Source

__all__ = [
    "CONVERTERS",
    "ConvertError",
    "Converter",
    "Imported",
    "KeyTable",
    "Lora",
    "Models",
    "Result",
    "Source",
    "import_adapter",
    "read_checkpoint",
    "register_converter",
]
