"""Training, evaluation and chat: systems, data and metrics.

The names below load on first use; each is documented where it is defined.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from inlay.hub.lazy import lazy_names

if TYPE_CHECKING:
    from inlay.recipes.data.formats.registry import register_format as register_format
    from inlay.recipes.evaluation.benchmarks.registry import register_benchmark as register_benchmark
    from inlay.recipes.evaluation.metric_registry import register_metric as register_metric
    from inlay.recipes.objectives.next_token.module import NextTokenModule as NextTokenModule
    from inlay.recipes.objectives.plan import Plan as Plan
    from inlay.recipes.objectives.plan import Task as Task
    from inlay.recipes.objectives.plan import conversation_plan as conversation_plan
    from inlay.recipes.objectives.preference.losses.registry import BetaLoss as BetaLoss
    from inlay.recipes.objectives.preference.losses.registry import PreferenceLoss as PreferenceLoss
    from inlay.recipes.objectives.preference.losses.registry import register_preference_loss as register_preference_loss
    from inlay.recipes.objectives.preference.losses.streams import PairLogProbs as PairLogProbs
    from inlay.recipes.objectives.step_module import StepModule as StepModule
    from inlay.recipes.objectives.step_module import Term as Term
    from inlay.recipes.preference_pairs.make import pairs as pairs
    from inlay.recipes.preference_pairs.settings import PairSettings as PairSettings
    from inlay.recipes.preference_pairs.summary import PairSummary as PairSummary
    from inlay.recipes.rewards.registry import register_reward as register_reward
    from inlay.recipes.runs.job import Job as Job
    from inlay.recipes.settings.objective import Objective as Objective
    from inlay.recipes.settings.objective import register_objective as register_objective
    from inlay.recipes.settings.optimizer import OptimizerSettings as OptimizerSettings
    from inlay.recipes.settings.recipe import Recipe as Recipe
    from inlay.recipes.settings.run import BackboneSettings as BackboneSettings
    from inlay.recipes.settings.run import DataSettings as DataSettings
    from inlay.recipes.settings.run import RunSettings as RunSettings
    from inlay.recipes.settings.samples import SampleSettings as SampleSettings
    from inlay.recipes.settings.stage import Stage as Stage
    from inlay.recipes.systems import blip2 as blip2
    from inlay.recipes.systems import compact as compact
    from inlay.recipes.systems import instructblip as instructblip
    from inlay.recipes.systems import llava as llava
    from inlay.recipes.systems import minigpt4 as minigpt4
    from inlay.recipes.systems import modaverse as modaverse
    from inlay.recipes.systems import nextgpt as nextgpt
    from inlay.recipes.systems.registry import register_system as register_system
    from inlay.recipes.training.evaluate import Evaluation as Evaluation
    from inlay.recipes.training.evaluate import evaluate as evaluate
    from inlay.recipes.training.finetune import Run as Run
    from inlay.recipes.training.finetune import finetune as finetune
    from inlay.recipes.training.load_model import load_model as load_model

__all__, __getattr__ = lazy_names(__name__, __file__)
