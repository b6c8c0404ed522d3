"""TRL's trainers, the opponent in alignment tuning, on ``LlavaForConditionalGeneration`` with a fresh LoRA of peft.

TRL is needed only by these measures: ``pip install 'inlay[bench]'``. A run begins with the untrained LoRA, so that
TRL's reference is the model with its adapters disabled, TRL's fastest reference. The LoRA is on the linear layers of
the LLM, and the projector is in ``modules_to_save``.
"""

from __future__ import annotations

import copy
import importlib.util
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import torch
from peft import LoraConfig as PeftConfig
from torch import Tensor, nn
from transformers import CLIPImageProcessorPil, LlavaProcessor, PrinterCallback

from benchmarks.hf_loop import Watch, optimizer_like_ours
from benchmarks.llava_120m import IMAGE_ID, Made, Peers
from benchmarks.timing import Spent
from inlay.adapters.llm_parts.lora import LoraPart
from inlay.recipes.systems.load_backbone import miniature_backbone

__all__ = ["BETA", "MISSING", "RATE", "TrlSide", "Watch", "arguments", "fit_dpo", "trained_of", "trl_missing"]

MISSING = "trl is not installed; pip install 'inlay[bench]'"
BETA = 0.1
RATE = 2e-4
PROJECTOR = "multi_modal_projector"


def trl_missing() -> str:
    """The reason why a measure against TRL is skipped; empty if TRL is installed."""
    return "" if importlib.util.find_spec("trl") else MISSING


@dataclass(frozen=True)
class TrlSide:
    """A frozen LLaVA of transformers, and the initial values of each run of a trainer.

    Args:
        made: the frozen models, whose weights are shared.
        lora: the LoRA with the initial down matrices of a run; its up matrices are 0.
        bf16: frozen weights in bfloat16, and autocast.
    """

    made: Made
    lora: LoraPart
    bf16: bool

    @cached_property
    def model(self) -> Any:
        """The class of transformers without LoRA."""
        model = Peers(self.made, None).net
        if self.bf16:
            model.to(torch.bfloat16)
        model.requires_grad_(False)
        return model

    @cached_property
    def start(self) -> dict[str, Tensor]:
        """Initial values of the trained parameters, under names that both sides share."""
        found = {f"projector.{name}": value.detach().clone() for name, value in self.made.projector.named_parameters()}
        for target in self.lora.targets:
            down, up = self.lora.matrices(target)
            found[f"{target}.A"], found[f"{target}.B"] = down.detach().clone(), torch.zeros_like(up)
        return found

    @cached_property
    def processor(self) -> LlavaProcessor:
        """A processor, whose tokenizer has a word for the picture."""
        side = self.made.sizes.pixels
        pictures = CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
        tokenizer = copy.deepcopy(miniature_backbone().llm.tokenizer)
        return LlavaProcessor(  # type: ignore[no-untyped-call]
            pictures,
            tokenizer,
            patch_size=14,
            vision_feature_select_strategy="default",
            num_additional_image_tokens=1,
            image_token=tokenizer.convert_ids_to_tokens(IMAGE_ID),
        )

    @contextmanager
    def trainer(self, kind: type[Any], *, steps: int, **options: Any) -> Iterator[Any]:
        """A context with a trainer with the initial values; afterwards the model is restored.

        Args:
            kind: class of the trainer.
            steps: optimizer steps of the run.
            options: further arguments of the trainer, ``args`` among them.
        """
        config = PeftConfig(
            r=self.made.sizes.rank,
            lora_alpha=32,
            lora_dropout=0.0,
            target_modules=[f"model.language_model.{name.removeprefix('model.')}" for name in self.lora.targets],
            modules_to_save=[PROJECTOR],
        )
        projector = getattr(self.model.model, PROJECTOR)
        own = dict(self.model.__dict__)
        logging.getLogger("transformers.trainer").setLevel(logging.ERROR)
        with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            options["args"].output_dir = place
            own_options = {"processing_class": self.processor} | options
            trainer = kind(model=self.model, peft_config=config, **own_options)
            trainer.remove_callback(PrinterCallback)
            trained = trained_of(trainer.model)
            if trained.keys() != self.start.keys():
                raise ValueError(f"TRL trains different tensors: {sorted(trained.keys() ^ self.start.keys())[:4]}")
            for name, value in self.start.items():
                trained[name].data = value.clone()
            ordered = [trained[name] for name in self.start]
            trainer.optimizer, trainer.lr_scheduler = optimizer_like_ours(ordered, steps, RATE)
            yield trainer
            trainer.model.unload()
        setattr(self.model.model, PROJECTOR, projector)
        self.model.requires_grad_(False)
        # TRL replaces the model's forward pass, and accelerate puts autocast around it.
        for name in self.model.__dict__.keys() - own.keys():
            del self.model.__dict__[name]
        for name in ("forward", "_original_forward"):
            self.model.__dict__.pop(name, None)

    def dpo(self, batches: Sequence[Mapping[str, Tensor]], *, micro: int = 1, clip: float = 1.0) -> Any:
        """A context with a ``DPOTrainer`` over collated batches.

        Args:
            batches: collated, in order.
            micro: micro-batches of one optimizer step.
            clip: largest norm of the gradient.
        """
        from datasets import Dataset
        from trl import DPOConfig

        steps = len(batches) // micro
        config = DPOConfig(
            **arguments(self.made.pixels.device, self.bf16, clip),
            max_steps=steps,
            per_device_train_batch_size=1,
            gradient_accumulation_steps=micro,
            beta=BETA,
            max_length=None,
        )
        rows = Dataset.from_dict({"image": [None] * len(batches), "number": list(range(len(batches)))})
        return self.trainer(
            _dpo_trainer(),
            args=config,
            train_dataset=rows,
            data_collator=lambda own: dict(batches[own[0]["number"]]),
            steps=steps,
        )


def fit_dpo(side: TrlSide, batches: Sequence[Mapping[str, Tensor]], *, micro: int = 1) -> tuple[Spent, list[float]]:
    """Train with ``DPOTrainer`` on batches, one pass; the time, and the loss of each step.

    Args:
        side: the model and its initial values.
        batches: collated, in order.
        micro: micro-batches of one optimizer step.
    """
    watch = Watch(side.made.pixels.device)
    with side.dpo(batches, micro=micro) as trainer:
        trainer.add_callback(watch)
        trainer.losses = []
        trainer.train()
        losses = [float(loss) for loss in trainer.losses]
    return watch.spent, [sum(losses[at : at + micro]) for at in range(0, len(losses), micro)]


@cache
def _dpo_trainer() -> type[Any]:
    from trl import DPOTrainer

    class Kept(DPOTrainer):  # type: ignore[misc]  # TRL has no types
        """A ``DPOTrainer`` that keeps the loss of every micro-batch."""

        losses: list[Tensor]

        def training_step(self, *args: Any, **options: Any) -> Tensor:
            """Run the step and keep its loss."""
            loss: Tensor = super().training_step(*args, **options)
            self.losses.append(loss)
            return loss

    return Kept


def arguments(device: torch.device, bf16: bool, clip: float = 1.0) -> dict[str, Any]:
    """Arguments of every trainer, tuned for speed."""
    return {
        "train_sampling_strategy": "sequential",
        "gradient_checkpointing": False,
        "bf16": bf16,
        "max_grad_norm": clip,
        "use_cpu": device.type == "cpu",
        "save_strategy": "no",
        "logging_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "dataloader_pin_memory": False,
    }


def trained_of(model: nn.Module) -> dict[str, nn.Parameter]:
    """The trained parameters of a peft model, by the names that both sides share."""
    found = {}
    for name, parameter in model.named_parameters():
        short = name.removeprefix("base_model.model.").removeprefix("model.")
        if f"{PROJECTOR}.modules_to_save.default." in short:
            layer = short.rpartition("modules_to_save.default.")[2]
            found["projector." + layer.replace("linear_1", "layers.0").replace("linear_2", "layers.2")] = parameter
        elif ".lora_" in short:
            target, _, matrix = short.removeprefix("language_model.").partition(".lora_")
            found[f"model.{target}.{matrix[0]}"] = parameter
    return found
