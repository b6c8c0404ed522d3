"""BLIP-2's first stage: contrast, matching and generation on a Q-Former."""
