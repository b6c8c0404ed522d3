"""BLIP-2's first stage: contrastive learning, matching and generation with a Q-Former."""
