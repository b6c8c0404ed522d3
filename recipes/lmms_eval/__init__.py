"""A model for lmms-eval (https://github.com/EvolvingLMMs-Lab/lmms-eval), which finds it by its entry point."""
