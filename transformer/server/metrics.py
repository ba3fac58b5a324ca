"""What the server counts, as Prometheus reads it."""

from collections.abc import Callable

from prometheus_client import (
  CollectorRegistry,
  Counter,
  Gauge,
  Histogram,
  generate_latest,
)

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
  """The counters of one server."""

  def __init__(self, waiting: Callable[[], int]):
    """`waiting` returns the number of texts in the queue."""
    registry = self._registry = CollectorRegistry()
    self.requests = Counter(
      "transformer_requests", "Requests by path and status.", ("path", "status"),
      registry=registry,
    )  # fmt: skip
    self.seconds = Histogram(
      "transformer_request_seconds", "Time from a request to the end of its answer.",
      ("path",), buckets=SECONDS, registry=registry,
    )  # fmt: skip
    self.batch_rows = Histogram(
      "transformer_batch_rows", "Texts that were computed together.", buckets=ROWS,
      registry=registry,
    )  # fmt: skip
    self.batch_seconds = Histogram(
      "transformer_batch_seconds", "Time to compute a batch.", buckets=SECONDS,
      registry=registry,
    )  # fmt: skip
    Gauge(
      "transformer_queue_texts", "Texts and streams that wait.", registry=registry
    ).set_function(waiting)

  def batch(self, rows: int, seconds: float) -> None:
    """Counts a batch."""
    self.batch_rows.observe(rows)
    self.batch_seconds.observe(seconds)

  def request(self, path: str, status: int, seconds: float) -> None:
    """Counts a request that was answered; `path` is one of a bounded set."""
    self.requests.labels(path, str(status)).inc()
    self.seconds.labels(path).observe(seconds)

  def text(self) -> bytes:
    """All of them in Prometheus' text format."""
    return generate_latest(self._registry)
