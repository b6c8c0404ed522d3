"""Benchmarks of captions: pictures, sounds, clips."""
