"""Pretrain the miniature EVA, the vision encoder of the BLIP systems, by distillation from the miniature CLIP.

`python -m pretraining.vision.eva --output DIR --seed 0` trains such weights. Like EVA
(https://arxiv.org/abs/2211.07636), it first predicts CLIP's features of every patch, masked patches included. Like
EVA-CLIP (https://arxiv.org/abs/2303.15389), it then also matches pictures with texts, here embedded by CLIP's frozen
text tower. BLIP-2 reads the last block before the norm, so all losses are taken there; the norm belongs to the heads,
and is saved as the initial `ln_vision`.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, normalize, smooth_l1_loss

from inlay.adapters.language.freeze import freeze
from inlay.recipes.miniature import backbone_path
from inlay.recipes.miniature.world.drawing import PICTURE_SIDE
from pretraining import training_loop
from pretraining.command_line import parse, print_size
from pretraining.optimizers import muon_and_adamw
from pretraining.percentages import percentages
from pretraining.rounded_weights import save_rounded
from pretraining.vision.captioned_pictures import Pair, sample_pairs
from pretraining.vision.contrastive_losses import contrast, embed_texts
from pretraining.vision.patch_probe import patch_reader, probe
from pretraining.vision.pixels import PATCH, PATCHES, pixels

if TYPE_CHECKING:
    from transformers import Blip2VisionModel, CLIPModel, PreTrainedTokenizerFast

WIDTH, BLOCKS, HEADS = 128, 5, 4
GROUPS, DIGITS = 14, 8  # of each batch: groups of twins, handwritten digits
MASKED = 32  # pictures of the 64 in a batch that have masked patches
HIDDEN_BLOCKS = 4  # of the nine blocks of 2 x 2 patches
FEATURE_WEIGHT = 3.0
LEARNING_RATE = 2e-3  # of embeddings, norms and heads
MATRIX_RATE = 3e-3  # of the matrices inside the blocks, by Muon
WARM_UP = 100  # steps
DECAY = 0.4  # share of the steps at the end: the learning rate falls to zero, no patch is masked, texts are matched


def make_model() -> Blip2VisionModel:
    """A vision transformer of width 128 with 5 blocks and 36 patches; random weights."""
    from transformers import Blip2VisionConfig, Blip2VisionModel

    config = Blip2VisionConfig(
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=BLOCKS,
        num_attention_heads=HEADS,
        image_size=PICTURE_SIDE,
        patch_size=PATCH,
        initializer_range=0.02,
    )
    return Blip2VisionModel(config)


def make_processor() -> Any:
    """BLIP's image processor (PIL): resized to 48 x 48, CLIP's mean and deviation."""
    from transformers import BlipImageProcessorPil

    return BlipImageProcessorPil(size={"height": PICTURE_SIDE, "width": PICTURE_SIDE})


class Teacher:
    """The frozen miniature CLIP; each channel of its features is scaled to mean 0 and deviation 1."""

    def __init__(self, model: CLIPModel, tokenizer: PreTrainedTokenizerFast) -> None:
        self.model, self.tokenizer = freeze(model), tokenizer
        pairs = sample_pairs(Random(0), groups=8 * GROUPS, digits=8 * DIGITS)
        patches, _ = self._read(pixels([pair.image for pair in pairs]))
        self.mean, self.deviation = patches.mean((0, 1)), patches.std((0, 1))

    @property
    def scale(self) -> Tensor:
        """CLIP's factor of the cosines."""
        logarithm: Tensor = self.model.logit_scale
        return logarithm.exp()

    def see(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Scaled features of the patches from the last two layers, (batch, 36, 256), and embeddings (batch, 96)."""
        patches, embedded = self._read(images)
        return (patches - self.mean) / self.deviation, embedded

    @torch.no_grad()
    def read(self, texts: list[str]) -> Tensor:
        """Unit embeddings of shape (texts, 96)."""
        return embed_texts(self.model, self.tokenizer, texts)

    @torch.no_grad()
    def _read(self, images: Tensor) -> tuple[Tensor, Tensor]:
        seen = self.model.vision_model(pixel_values=images, output_hidden_states=True)
        patches = torch.cat(seen.hidden_states[-2:], dim=-1)[:, 1:]
        return patches, self.model.visual_projection(seen.pooler_output)


class Student(nn.Module):
    """The vision encoder with its mask token and two heads, which are needed in training only."""

    def __init__(self, tower: Blip2VisionModel, *, features: int, embedding: int) -> None:
        super().__init__()
        self.tower: Any = tower
        self.mask_token = nn.Parameter(torch.zeros(WIDTH))
        self.features = nn.Linear(WIDTH, features)
        self.projection = nn.Linear(WIDTH, embedding, bias=False)

    def forward(self, images: Tensor, hidden: Tensor | None = None) -> Tensor:
        """The output of the last block after the norm.

        Args:
            images: (batch, 3, 48, 48).
            hidden: True for a masked patch, (batch, 36).

        Returns:
            (batch, 37, 128).
        """
        embeddings = self.tower.embeddings
        if hidden is None:
            start = embeddings(images)
        else:
            patches = embeddings.patch_embedding(images).flatten(2).transpose(1, 2)
            patches = torch.where(hidden[..., None], self.mask_token, patches)
            first = embeddings.class_embedding.expand(len(images), -1, -1)
            start = torch.cat([first, patches], dim=1) + embeddings.position_embedding
        states: Tensor = self.tower.post_layernorm(self.tower.encoder(inputs_embeds=start).last_hidden_state)
        return states


def hide(pictures: int) -> Tensor:
    """Masks of 4 of 9 blocks of 2 x 2 patches, at any offset: (pictures, 36)."""
    chosen = torch.rand(pictures, 9).argsort(1) < HIDDEN_BLOCKS
    grid = chosen.view(pictures, 3, 3).repeat_interleave(2, 1).repeat_interleave(2, 2)
    down, right = torch.randint(0, PATCHES, (2,)).tolist()
    return grid.roll((down, right), (1, 2)).flatten(1)


def losses(student: Student, teacher: Teacher, pairs: list[Pair], *, texts: bool) -> dict[str, Tensor]:
    """Distances from CLIP's features and embeddings; with `texts`, the contrastive losses too, and no masked patch."""
    images = pixels([pair.image for pair in pairs])
    wanted, embedding = teacher.see(images)
    hidden = None
    if not texts:
        hidden = torch.zeros(len(images), PATCHES**2, dtype=torch.bool)
        hidden[torch.randperm(len(images))[:MASKED]] = hide(MASKED)
    states = student(images, hidden)
    seen = student.projection(states)
    parts = {
        "features": FEATURE_WEIGHT * smooth_l1_loss(student.features(states[:, 1:]), wanted),
        "class": 1 - cosine_similarity(seen[:, 0], embedding).mean(),
    }
    if texts:
        seen = normalize(seen, dim=-1)
        matched = contrast(pairs, seen[:, 0], seen[None, :, 1:], teacher.read, teacher.scale)
        parts |= dict(zip(("captions", "patches"), matched, strict=True))
    return parts


def main() -> None:
    """Train, save in bfloat16, measure the saved model."""
    from transformers import CLIPModel, PreTrainedTokenizerFast

    options = parse(__doc__, steps=2400)
    clip = CLIPModel.from_pretrained(backbone_path("clip"))
    teacher = Teacher(clip, PreTrainedTokenizerFast.from_pretrained(backbone_path("clip")))
    tower = make_model()
    print_size(tower)
    student = Student(tower, features=len(teacher.mean), embedding=clip.visual_projection.out_features)
    both = muon_and_adamw(
        student, lr=LEARNING_RATE, matrix_lr=MATRIX_RATE, warm_up=WARM_UP, decay=DECAY, steps=options.steps
    )
    rng = Random(options.seed)

    def of_step(step: int) -> dict[str, Tensor]:
        pairs = sample_pairs(rng, groups=GROUPS, digits=DIGITS)
        return losses(student, teacher, pairs, texts=step > (1 - DECAY) * options.steps)

    def report() -> None:
        figures = probe(lambda images: tower(images, output_hidden_states=True).hidden_states[-1][:, 1:], scenes=300)
        print(f"held out: {percentages(figures)}", flush=True)

    training_loop.train(student, of_step, both, steps=options.steps, report=report)
    save_rounded(tower, options.output)
    make_processor().save_pretrained(options.output)
    print(f"saved: {percentages(probe(patch_reader(options.output)))}", flush=True)


if __name__ == "__main__":
    main()
