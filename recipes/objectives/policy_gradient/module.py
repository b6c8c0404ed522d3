"""The training module of GRPO and RLOO: sample answers, score them, and raise the better ones of each group."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from inlay.adapters.adapter import AttachedModel
from inlay.adapters.core.results import TokenLogProbs
from inlay.recipes.distributed.ranks import is_first, summed
from inlay.recipes.objectives.next_token.module import NextTokenModule, idle_parts
from inlay.recipes.objectives.policy_gradient.advantages import undecided
from inlay.recipes.objectives.policy_gradient.policy_loss import PolicyFigures, SampledAnswers, policy_loss
from inlay.recipes.objectives.policy_gradient.questions import Asked, QuestionBatch
from inlay.recipes.objectives.policy_gradient.rollout import Roller, Rollout, advantages_of
from inlay.recipes.objectives.policy_gradient.settings import Grpo
from inlay.recipes.objectives.preference.reference import FrozenCopy
from inlay.recipes.objectives.step_module import Term
from inlay.recipes.settings.stage import Stage

__all__ = ["PolicyModule"]


class PolicyModule(NextTokenModule):
    """One stage of training on rewards on an attached model.

    Args:
        model: backbone and adapter.
        stage: which parts train, and how.
        steps: optimizer steps of the whole stage.
        settings: averaging, clipping and weight of the divergence.
        roller: samples and scores answers.
        reference: the adapter at the start.
        show: prints a line for the user.
    """

    def __init__(
        self,
        model: AttachedModel,
        stage: Stage,
        steps: int,
        settings: Grpo,
        roller: Roller,
        reference: FrozenCopy,
        show: Callable[[str], None] = print,
    ) -> None:
        super().__init__(model, stage, steps)
        self.settings, self.roller, self.reference, self.show = settings, roller, reference, show
        self.policy = settings.policy(roller.max_new_tokens)
        self.held: dict[tuple[int, ...], Rollout] = {}
        """Answers for further optimizer steps, by the numbers of their questions."""
        self.table: Path | None = None
        """File of sampled answers; set by the trainer's log folder."""

    def train(self, mode: bool = True) -> PolicyModule:
        """Keep eval mode: with dropout, the probability of an answer would differ from that when it was sampled."""
        super().train(mode)
        for child in self.children():
            child.eval()
        return self

    def training_step(self, batch: Any, _: int) -> Tensor:
        """The micro-batch's share of the loss of the optimizer step."""
        return self.step_loss(batch, self.terms(batch))

    def terms(self, batch: Any) -> Mapping[str, Term]:
        """The loss of a micro-batch, the mean over its sampled answers."""
        step = 0 if self._trainer is None else self.trainer.global_step
        whole = self._rollout(batch, step)
        asked = whole.answered(batch.asked)
        # Without advantages and divergence an answer has no gradient, so no forward pass is needed.
        places = range(len(asked)) if self.policy.kl_weight else whole.decided()
        rollout, learned = whole.part(places), [asked[place] for place in places]
        prepared = self.model.collate(
            self.roller.rows(learned, rollout), layout=self.roller.layout, features=self.roller.features
        )
        idle = idle_parts(self.adapter, prepared)
        if not self.policy.kl_weight and bool(undecided(whole.rewards).all()):
            idle += tuple(f"adapter.{name}." for name, _ in self.adapter.named_children())
        self.note_idle(idle)
        found = self.model.log_probs(prepared)
        log_probs, mask = found.padded()
        reference = None
        if self.policy.kl_weight:
            reference = self.reference.log_probs(prepared).padded()[0]
        old = TokenLogProbs(rollout.log_probs.to(log_probs), found.sequence, found.sequences).padded()[0]
        advantages = advantages_of(rollout.rewards, self.settings.averaging).flatten().to(log_probs)
        answers = len(whole.lengths)
        tokens = summed({"tokens": sum(whole.lengths), "answers": answers})
        losses, figures = policy_loss(
            SampledAnswers(
                log_probs=log_probs,
                old_log_probs=old if self.settings.iterations > 1 else None,
                ref_log_probs=reference,
                mask=mask,
                advantages=advantages,
                mean_tokens=tokens["tokens"] / tokens["answers"],
            ),
            self.policy,
        )
        self._log_figures(whole, figures)
        if step % self.settings.iterations == 0:
            self._write_table(asked, whole, step)
        return {"policy": Term(losses.sum() / answers, per="answers")}

    def validation_step(self, batch: Any, number: int) -> None:
        """The mean reward of the most likely answers; the loss of validation is its negative."""
        with torch.inference_mode(False), torch.no_grad():
            rewards = self.roller.roll(batch.asked, number, greedy=True).rewards
        values = {"val/reward": rewards.mean(), "val/loss": -rewards.mean()}
        self.log_dict(values, batch_size=len(batch), sync_dist=True, on_epoch=True)

    def _rollout(self, batch: QuestionBatch, step: int) -> Rollout:
        """New answers, or those of an earlier iteration on the same questions."""
        key = tuple(own.number for own in batch.asked)
        if step % self.settings.iterations == 0:
            if self.share is None or self.share.first:
                self.held = {}
            rollout = self.roller.roll(batch.asked, step)
            if self.settings.iterations > 1:
                self.held[key] = rollout
            return rollout
        return self.held[key]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the answers of an unfinished iteration."""
        if self.held:
            checkpoint["rollouts"] = [(list(key), rollout.state()) for key, rollout in self.held.items()]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the answers of an unfinished iteration."""
        self.held = {tuple(key): Rollout(**state) for key, state in checkpoint.get("rollouts", [])}

    def _log_figures(self, rollout: Rollout, figures: PolicyFigures) -> None:
        """Log rewards, lengths, and the distance of the policy from the one that sampled."""
        if self._trainer is None:
            return
        rewards, lengths = rollout.sampled, torch.tensor(rollout.lengths, dtype=torch.float32)
        values = {
            "reward/mean": rewards.mean(),
            "reward/std": rewards.std(dim=1).mean(),
            "reward/undecided": undecided(rewards).float().mean(),
            "answers/tokens": lengths.mean(),
            "answers/cut": torch.tensor(rollout.cut).float().mean(),
            # The mean of -log p over tokens drawn at temperature 1 estimates the entropy without bias.
            "policy/entropy": -rollout.log_probs.mean(),
            **{f"policy/{name}": torch.tensor(value) for name, value in figures.means().items()},
        }
        for name, value in values.items():
            self.log(name, value, batch_size=len(rollout.rewards), sync_dist=True, prog_bar=name == "reward/mean")

    def _write_table(self, asked: Sequence[Asked], rollout: Rollout, step: int) -> None:
        """Append sampled answers to the table."""
        folder = None if self._trainer is None else self.trainer.log_dir
        if not self.settings.table or folder is None or not is_first():
            return
        rows = [
            {
                "step": step,
                "id": own.sample.id,
                "question": own.question.prompt[-1].text,
                "answer": text,
                "reward": score,
            }
            for own, texts, scores in zip(asked, rollout.texts, rollout.rewards.tolist(), strict=True)
            for text, score in zip(texts, scores, strict=True)
        ]
        with (Path(folder) / "answers.jsonl").open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows[: self.settings.table])
