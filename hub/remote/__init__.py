"""The Hub: addresses, pull, push, inspect, search."""
