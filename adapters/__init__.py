"""Adapters: frozen backbones, the small trainable parts that plug into them, and conversations with the result.

The names below load on first use; each is documented where it is defined.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from inlay.hub.lazy import lazy_names

if TYPE_CHECKING:
    from inlay.adapters.adapter import Adapter as Adapter
    from inlay.adapters.backbone import Backbone as Backbone
    from inlay.adapters.bundles.hub_methods import StaleCanaryWarning as StaleCanaryWarning
    from inlay.adapters.bundles.int8_gate import Int8Loss as Int8Loss
    from inlay.adapters.bundles.int8_gate import QuantiseError as QuantiseError
    from inlay.adapters.bundles.int8_gate import quantise as quantise
    from inlay.adapters.chat.rank_answers import rank_answers as rank_answers
    from inlay.adapters.chat.reply import Reply as Reply
    from inlay.adapters.chat.reply import ReplyError as ReplyError
    from inlay.adapters.chat.sample_groups import Group as Group
    from inlay.adapters.chat.sample_groups import sample_groups as sample_groups
    from inlay.adapters.compatibility.canary import CanaryError as CanaryError
    from inlay.adapters.compatibility.verdict import IncompatibleBackbone as IncompatibleBackbone
    from inlay.adapters.compatibility.verdict import OtherWeightsWarning as OtherWeightsWarning
    from inlay.adapters.compatibility.verdict import Report as Report
    from inlay.adapters.conversation.layout import Layout as Layout
    from inlay.adapters.conversation.layout import LayoutWarning as LayoutWarning
    from inlay.adapters.conversation.messages import MadePart as MadePart
    from inlay.adapters.conversation.messages import MediaPart as MediaPart
    from inlay.adapters.conversation.messages import Message as Message
    from inlay.adapters.conversation.messages import MessageError as MessageError
    from inlay.adapters.conversation.messages import TextPart as TextPart
    from inlay.adapters.conversation.messages import parse_messages as parse_messages
    from inlay.adapters.conversation.segments import LayoutError as LayoutError
    from inlay.adapters.conversation.template import Dialogue as Dialogue
    from inlay.adapters.conversation.template import Template as Template
    from inlay.adapters.conversation.templates.registry import register_template as register_template
    from inlay.adapters.conversation.turn_end import TurnEnd as TurnEnd
    from inlay.adapters.conversation.turn_end import turn_end as turn_end
    from inlay.adapters.convert.registry import register_converter as register_converter
    from inlay.adapters.core.batch import Batch as Batch
    from inlay.adapters.core.encode import Encoded as Encoded
    from inlay.adapters.core.parts import AdapterError as AdapterError
    from inlay.adapters.encoders import AudioEncoder as AudioEncoder
    from inlay.adapters.encoders import BeatsEncoder as BeatsEncoder
    from inlay.adapters.encoders import ClapEncoder as ClapEncoder
    from inlay.adapters.encoders import ClipEncoder as ClipEncoder
    from inlay.adapters.encoders import Encoder as Encoder
    from inlay.adapters.encoders import EncoderError as EncoderError
    from inlay.adapters.encoders import EvaEncoder as EvaEncoder
    from inlay.adapters.encoders import FrameEncoder as FrameEncoder
    from inlay.adapters.encoders import HubertEncoder as HubertEncoder
    from inlay.adapters.encoders import ImageBindEncoder as ImageBindEncoder
    from inlay.adapters.encoders import ImageEncoder as ImageEncoder
    from inlay.adapters.encoders import QFormerEncoder as QFormerEncoder
    from inlay.adapters.encoders import VisionEncoder as VisionEncoder
    from inlay.adapters.encoders import VitEncoder as VitEncoder
    from inlay.adapters.encoders import WhisperAudioEncoder as WhisperAudioEncoder
    from inlay.adapters.encoders import precomputed as precomputed
    from inlay.adapters.encoders import register_encoder as register_encoder
    from inlay.adapters.export.export_adapter import export_adapter as export_adapter
    from inlay.adapters.export.registry import register_exporter as register_exporter
    from inlay.adapters.export.target import ExportError as ExportError
    from inlay.adapters.generators import AudioLdm as AudioLdm
    from inlay.adapters.generators import CogVideoX as CogVideoX
    from inlay.adapters.generators import Generator as Generator
    from inlay.adapters.generators import GeneratorError as GeneratorError
    from inlay.adapters.generators import StableDiffusion as StableDiffusion
    from inlay.adapters.generators import TextToVideo as TextToVideo
    from inlay.adapters.generators import register_generator as register_generator
    from inlay.adapters.inputs import AvgPoolConfig as AvgPoolConfig
    from inlay.adapters.inputs import CFormerConfig as CFormerConfig
    from inlay.adapters.inputs import CrossAttentionConfig as CrossAttentionConfig
    from inlay.adapters.inputs import InputProjector as InputProjector
    from inlay.adapters.inputs import InstructQFormerConfig as InstructQFormerConfig
    from inlay.adapters.inputs import LinearConfig as LinearConfig
    from inlay.adapters.inputs import MlpConfig as MlpConfig
    from inlay.adapters.inputs import PatchMergeConfig as PatchMergeConfig
    from inlay.adapters.inputs import PerceiverConfig as PerceiverConfig
    from inlay.adapters.inputs import PixelShuffleConfig as PixelShuffleConfig
    from inlay.adapters.inputs import ProjectorConfig as ProjectorConfig
    from inlay.adapters.inputs import ProjectorError as ProjectorError
    from inlay.adapters.inputs import QFormerConfig as QFormerConfig
    from inlay.adapters.inputs import register_projector as register_projector
    from inlay.adapters.language.model import LanguageModel as LanguageModel
    from inlay.adapters.language.model import LanguageModelError as LanguageModelError
    from inlay.adapters.language.occupancy import AttachError as AttachError
    from inlay.adapters.language.prompt_tokenizer import PromptTokenizer as PromptTokenizer
    from inlay.adapters.llm_parts.lora import LoraError as LoraError
    from inlay.adapters.llm_parts.lora_config import LoraConfig as LoraConfig
    from inlay.adapters.llm_parts.token_rows import TokenRowsError as TokenRowsError
    from inlay.adapters.llm_parts.token_rows import TokensConfig as TokensConfig
    from inlay.adapters.loading.generators import load_generator as load_generator
    from inlay.adapters.loading.pretrained import BackboneError as BackboneError
    from inlay.adapters.media.audio import Sound as Sound
    from inlay.adapters.media.audio import load_audio as load_audio
    from inlay.adapters.media.budget import Budget as Budget
    from inlay.adapters.media.image import load_image as load_image
    from inlay.adapters.media.untrusted import MediaError as MediaError
    from inlay.adapters.media.video import Video as Video
    from inlay.adapters.media.video import load_video as load_video
    from inlay.adapters.model import MultimodalModel as MultimodalModel
    from inlay.adapters.model import Output as Output
    from inlay.adapters.outputs import MlpOutputConfig as MlpOutputConfig
    from inlay.adapters.outputs import OutputConfig as OutputConfig
    from inlay.adapters.outputs import OutputProjector as OutputProjector
    from inlay.adapters.outputs import QFormerOutputConfig as QFormerOutputConfig
    from inlay.adapters.outputs import TransformerOutputConfig as TransformerOutputConfig
    from inlay.adapters.outputs import register_output as register_output
    from inlay.adapters.parts.fields import ConfigError as ConfigError
    from inlay.adapters.parts.registration import RegistrationError as RegistrationError
    from inlay.hub.format.manifest import PortSpec as PortSpec

__all__, __getattr__ = lazy_names(__name__, __file__)
