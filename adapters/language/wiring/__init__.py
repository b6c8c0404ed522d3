"""How decoder-only models and encoder-decoders are run: one interface, two implementations."""
