"""GRPO on a LLaVA: sampling answers, scoring them and one optimizer step, against TRL's ``GRPOTrainer``.

Both sides sample groups of answers to the same questions from the same model and take a step on them. TRL computes the
prompt with its picture once per answer, and the encoder runs in sampling and in the step. Its
``use_transformers_continuous_batching`` does not support multimodal models and vLLM needs a GPU, so ``generate`` of
transformers is its fastest option here. The answers are random, so the steps are compared on the answers that TRL
sampled: the gradients of both sides must be equal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers import LlavaProcessor

from benchmarks.equal import differ, train_step
from benchmarks.lightning_loop import fit_ours
from benchmarks.llava_120m import IMAGE_ID, Sizes
from benchmarks.outcome import Checks, Comparison, Outcome
from benchmarks.preference import CURVE_SIZES, Sides, build
from benchmarks.setting import Setting
from benchmarks.timing import Clock, Spent, Times, in_turn
from benchmarks.trl_loop import RATE, Watch, arguments, trained_of, trl_missing
from inlay.adapters.conversation.messages import parse_messages
from inlay.adapters.core.encode import Encoded
from inlay.recipes.data.rows.sample import Sample, questions_of
from inlay.recipes.objectives.policy_gradient.module import PolicyModule
from inlay.recipes.objectives.policy_gradient.questions import Asked, QuestionBatch
from inlay.recipes.objectives.policy_gradient.rollout import Roller, Rollout
from inlay.recipes.objectives.policy_gradient.settings import Grpo
from inlay.recipes.rewards.scoring import scorer_of
from inlay.recipes.settings.stage import Stage

__all__ = ["Asking", "measure"]

TITLE = "GRPO of a LLaVA of 121 M, LoRA and projector"
WORDS = (30, 90)
"""Words of each question, without its picture."""
GROUP, TOKENS = 8, 40
"""Number of answers to a question, and largest number of tokens of an answer."""

MICRO = (1, 8)
"""Numbers of micro-batches for TRL; the fastest is the opponent."""


def letters(answer: str) -> float:
    """A reward that differs between answers and takes no time: the share of vowels."""
    return sum(answer.count(vowel) for vowel in "aeiou") / max(1, len(answer))


@dataclass(frozen=True)
class Asking:
    """Our side and theirs, with the same questions.

    Args:
        sides: both sides of preference tuning, whose models are used.
        words: words of each question.
        group: answers to each question.
        tokens: maximum tokens of an answer.
    """

    sides: Sides
    words: tuple[int, ...]
    group: int
    tokens: int
    drawn: dict[str, list[tuple[int, Spent]]] = field(default_factory=lambda: {"ours": [], "theirs": []})
    """Tokens and time of every sampling."""

    def asked(self) -> tuple[Asked, ...]:
        """The questions: words of the miniature's vocabulary in a fixed order."""
        tokenizer = self.sides.model.backbone.llm.tokenizer
        known = sorted(word for word in tokenizer.get_vocab() if word.lstrip("▁Ġ").isalpha() and len(word) > 3)
        found = []
        for number, words in enumerate(self.words):
            text = " ".join(known[(number * 37 + 11 * place) % len(known)].lstrip("▁Ġ") for place in range(words))
            content = [{"type": "image", "path": f"{number}.png"}, {"type": "text", "text": text}]
            turns = [{"role": "user", "content": content}, {"role": "assistant", "content": "yes"}]
            sample = Sample(str(number), parse_messages(turns), f"question {number}")
            found.append(Asked(number, questions_of(sample)[0], sample))
        return tuple(found)

    def prompts(self) -> list[Encoded]:
        """The questions as ids."""
        layout = self.stage.layout
        return [self.sides.model.encode(own.question.prompt, layout=layout, generation=True) for own in self.asked()]

    @property
    def stage(self) -> Stage:
        """Trained parts and learning rates."""
        parts = {"inputs.image": RATE, "lora": RATE}
        return Stage(data="train", template="vicuna_v1", geometry="pad", lr=parts, batch_size=1)

    def module(self, given: Rollout | None = None) -> PolicyModule:
        """Our training module with the initial values.

        Args:
            given: answers to train on; None to sample them.
        """
        model, features = self.sides.model, self.sides.made.batch.features["image"]
        numbers = {f"{number}.png": number for number in range(len(self.words))}
        own: dict[str, Any] = {
            "model": model,
            "layout": self.stage.layout,
            "scorer": scorer_of(function=lambda question, answer, sample: letters(answer)),
            "group": self.group,
            "temperature": 1.0,
            "max_new_tokens": self.tokens,
            "features": lambda part: features[numbers[str(part.source)]],
            "join": model.reads_branches(),
            "seed": 0,
        }
        roller = _Timed(**own, given=given, drawn=self.drawn["ours"])
        self.sides.restart()
        return PolicyModule(model, self.stage, 1, Grpo(group=self.group, table=0), roller, self.sides.reference)

    def batch(self) -> QuestionBatch:
        """The questions of one step."""
        return QuestionBatch(self.asked(), self.group)

    def fit_ours(self) -> Spent:
        """Run one step of ours; its time."""
        setting = self.sides.setting
        precision = setting.precision(setting.bf16)
        return fit_ours(self.module(), [self.batch()], precision=precision, device=setting.device)[0]

    def trainer(self, micro: int = 1) -> Any:
        """A context with TRL's trainer for one step.

        Args:
            micro: micro-batches of the step; the answers are sampled all at once.
        """
        from datasets import Dataset
        from trl import GRPOConfig

        rows = len(self.words) * self.group
        side = self.sides.theirs
        config = GRPOConfig(
            **arguments(side.made.pixels.device, side.bf16),
            max_steps=1,
            per_device_train_batch_size=rows // micro,
            gradient_accumulation_steps=micro,
            num_generations=self.group,
            max_completion_length=self.tokens,
            temperature=1.0,
            top_k=0,
            beta=0.0,
            generation_kwargs={"use_cache": True},
            shuffle_dataset=False,
        )
        picture = Image.new("RGB", (8, 8))
        numbers = [str(number) for number in range(len(self.words))]
        data = Dataset.from_dict(
            {
                "prompt": [[{"role": "user", "content": number}] for number in numbers],
                "image": [picture for _ in numbers],
            }
        )
        processor = _Ready.of(side.processor, self.prompts(), self.sides.made.pixels.float())
        return side.trainer(
            _grpo_trainer(),
            steps=1,
            args=config,
            train_dataset=data,
            reward_funcs=_reward,
            processing_class=processor,
        )

    def fit_theirs(self, micro: int = 1) -> Spent:
        """Run one step of TRL; its time."""
        watch = Watch(self.sides.setting.device)
        with self.trainer(micro) as trainer:
            trainer.add_callback(watch)
            trainer.drawn = self.drawn["theirs"]
            trainer.train()
        return watch.spent

    def first(self, bf16: bool) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Loss and gradients of both sides on the answers that TRL sampled."""
        device = self.sides.setting.device
        with self.trainer() as trainer:
            trainer.drawn = []
            trainer.model.train()
            rows = [row for row in trainer.train_dataset for _ in range(self.group)]
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                inputs = trainer._generate_and_score_completions(rows)
            trainer.current_gradient_accumulation_steps = 1

            def theirs_loss() -> Tensor:
                with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                    found: Tensor = trainer._compute_loss(trainer.model, inputs)
                return found

            theirs = train_step(theirs_loss, trained_of(trainer.model))
            scores = torch.tensor(list(trainer._logs["rewards"]["_reward"]), dtype=torch.float32)
        masks = inputs["completion_mask"].bool()
        ids = [tuple(row[mask].tolist()) for row, mask in zip(inputs["completion_ids"], masks, strict=True)]
        groups = tuple(tuple(ids[at : at + self.group]) for at in range(0, len(ids), self.group))
        rewards = scores.view(len(groups), self.group)
        given = Rollout(
            replaced=(0,) * len(groups),
            texts=tuple(("",) * self.group for _ in groups),
            ids=groups,
            cut=tuple((False,) * self.group for _ in groups),
            rewards=rewards,
            log_probs=torch.zeros(sum(map(len, ids))),
            sampled=rewards,
        )
        module, batch = self.module(given), self.batch()

        def loss() -> Tensor:
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                return module.terms(batch)["policy"].mean

        return train_step(loss, self.sides.trained()), theirs


@dataclass(frozen=True, kw_only=True)
class _Timed(Roller):
    """A roller that measures the time of sampling."""

    given: Rollout | None
    drawn: list[tuple[int, Spent]]

    def roll(self, asked: Sequence[Asked], step: int, *, greedy: bool = False) -> Rollout:
        """Sample answers, or return the given ones."""
        if self.given is not None:
            return self.given
        clock = Clock(self.model.backbone.device)
        found = super().roll(asked, step, greedy=greedy)
        self.drawn.append((sum(found.lengths), clock.read()))
        return found


class _Ready(LlavaProcessor):
    """A processor whose questions are ids and pixels already, so that preprocessing is not measured."""

    asked: list[list[int]]
    pixels: Tensor

    @classmethod
    def of(cls, processor: LlavaProcessor, prompts: Sequence[Encoded], pixels: Tensor) -> _Ready:
        """A copy of a processor with these questions."""
        ready = cls(
            processor.image_processor,
            processor.tokenizer,
            patch_size=14,
            vision_feature_select_strategy="default",
            image_token=processor.image_token,
        )
        ready.asked = [row.ids.masked_fill(row.slots, IMAGE_ID).tolist() for row in prompts]
        ready.pixels = pixels
        return ready

    def apply_chat_template(self, conversation: Any, **options: Any) -> Any:  # type: ignore[override]
        """Ids and pixels of each conversation, or its number as text."""
        several = isinstance(conversation[0], list)
        numbers = [_number(own) for own in (conversation if several else [conversation])]
        if not options.get("tokenize"):
            texts = [str(number) for number in numbers]
            return texts if several else texts[0]
        return {"input_ids": [list(self.asked[number]) for number in numbers], "pixel_values": self.pixels[numbers]}

    def __call__(self, *, text: Sequence[str], **_: Any) -> Any:
        """The pixels of each question."""
        return {"pixel_values": self.pixels[[int(number) for number in text]]}


def _number(conversation: Sequence[dict[str, Any]]) -> int:
    content = conversation[-1]["content"]
    parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
    return int(next(part["text"] for part in parts if part["type"] == "text"))


def _reward(completions: Sequence[Any], **_: Any) -> list[float]:
    return [letters(answer[0]["content"]) for answer in completions]


@cache
def _grpo_trainer() -> type[Any]:
    from trl import GRPOTrainer

    class Timed(GRPOTrainer):  # type: ignore[misc]  # TRL has no types
        """A ``GRPOTrainer`` that measures the time of sampling, which runs under autocast like the training step.

        Without autocast, frozen weights in bfloat16 would not fit a projector that trains in float32.
        """

        drawn: list[tuple[int, Spent]]

        def _generate_single_turn(self, *args: Any, **options: Any) -> Any:
            clock = Clock(self.accelerator.device)
            with self.accelerator.autocast():
                found = super()._generate_single_turn(*args, **options)
            self.drawn.append((sum(map(len, found[0])), clock.read()))
            return found

    return Timed


def build_asking(setting: Setting, bf16: bool, *, tiny: bool) -> Asking:
    """Build both sides, at full or tiny size."""
    words, group, tokens = ((5, 9), 4, 6) if tiny else (WORDS, GROUP, TOKENS)
    sizes = replace(CURVE_SIZES, vocabulary=4000) if tiny else Sizes()
    pairs = tuple((word, 4, 4) for word in words)
    return Asking(build(sizes, pairs, setting, bf16), words, group, tokens)


def check(setting: Setting, asking: Asking) -> Checks:
    """Check that both sides take the same step on the same answers."""
    bf16 = setting.bf16

    def plain(found: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: value for name, value in found.items() if name != "loss"}

    own, other = asking.first(bf16)
    exact = build_asking(setting, False, tiny=True).first(False) if bf16 else (own, other)
    return Checks(
        precision=setting.precision(bf16),
        # The loss, a mean of advantages, is near 0 for any gradient.
        loss=abs(float(own["loss"]) - float(other["loss"])),
        gradients=differ(plain(exact[0]), plain(exact[1])),
        curve=None,
        note="the answers are drawn at random, so there are no curves; the steps are compared on TRL's answers",
    )


def measure(setting: Setting, *, target: float = 2.0) -> Outcome:
    """Compare generated tokens per second, and whole steps.

    Args:
        setting: device and number of rounds.
        target: target of the ratio of generated tokens per second.
    """
    if missing := trl_missing():
        return Outcome(title=TITLE, skipped=missing)
    asking = build_asking(setting, setting.bf16, tiny=setting.tiny)
    checks = check(setting, asking)
    asking.fit_ours()
    tried = {micro: asking.fit_theirs(micro) for micro in MICRO}
    micro = min(tried, key=lambda number: tried[number].wall)
    runs: list[Callable[[], Spent]] = [partial(asking.fit_theirs, micro), asking.fit_ours]
    for side in asking.drawn.values():
        side.clear()
    theirs, ours = in_turn(runs, setting.repeats, setting.device)
    void = bool(checks.fault)
    sampled = {name: _per_token(drawn) for name, drawn in asking.drawn.items()}
    kind = "bfloat16" if setting.bf16 else "float32"
    rates = tuple({"tokens_per_second": 1 / sampled[name].median} for name in ("theirs", "ours"))
    return Outcome(
        title=TITLE,
        checks=checks,
        comparisons=[
            Comparison.of_times(
                "tuned",
                f"TRL's GRPOTrainer, {kind}, generate of transformers: seconds a generated token",
                sampled["theirs"],
                sampled["ours"],
                target=target,
                void=void,
                more=(rates[0], rates[1]),
            ),
            Comparison.of_times(
                "tuned",
                f"the whole step: sampling, rewards, gradient; theirs in {micro} micro-batches",
                theirs,
                ours,
                void=void,
            ),
        ],
        facts={
            "questions": len(asking.words),
            "words": list(asking.words),
            "group": asking.group,
            "tokens": asking.tokens,
            "seconds_by_micro_batches": {str(number): spent.wall for number, spent in tried.items()},
            "encoder": "in their sampling and in their step; ours reads cached features",
        },
    )


def _per_token(drawn: Sequence[tuple[int, Spent]]) -> Times:
    times = Times()
    for tokens, spent in drawn:
        times.add(Spent(spent.wall / tokens, spent.cpu / tokens))
    return times
