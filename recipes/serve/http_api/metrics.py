"""Figures for Prometheus: requests, tokens, queue, latency, batches."""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

__all__ = ["Metrics"]

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """All figures of one server, in a registry of their own."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a line with the time of the first value beside each figure
        self.registry = own = CollectorRegistry()
        self.requests = Counter("inlay_requests", "Requests for answers.", ["model", "status"], registry=own)
        self.prompt_tokens = Counter("inlay_prompt_tokens", "LLM positions of prompts.", ["model"], registry=own)
        self.tokens = Counter("inlay_completion_tokens", "Generated tokens.", ["model"], registry=own)
        self.held = Gauge("inlay_requests_held", "Requests that are read, waiting or answered.", registry=own)
        self.waiting = Gauge("inlay_queue_length", "Requests in the queue.", registry=own)
        self.latency = Histogram(
            "inlay_request_seconds", "Time of a request.", ["model"], buckets=_SECONDS, registry=own
        )
        self.first = Histogram(
            "inlay_first_token_seconds", "Time to the first text.", ["model"], buckets=_SECONDS, registry=own
        )
        self.batches = Histogram("inlay_batch_rows", "Answers of a batch.", buckets=_ROWS, registry=own)

    def page(self) -> bytes:
        """The page ``/metrics``."""
        return generate_latest(self.registry)
