"""Commands on bundles: inspect, compare, verify, quantise, sign, push, pull, search."""
