"""Compatibility: what an adapter needs of a backbone, digests of weights and tokenizers, the verdict, the canary."""
