"""Running decoder-only models and encoder-decoders: one interface, two implementations."""
