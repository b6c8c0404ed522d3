"""Training on rewards: sampled answers, advantages and the policy loss."""
