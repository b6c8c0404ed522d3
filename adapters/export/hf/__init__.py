"""Merged models of transformers: Llava, LlavaNext, Blip2 and InstructBlip, in the names of version 4.51."""
