"""What is said of an error of the devices."""

from pathlib import Path

import jax
import pytest

from tests.tiny import TINY
from transformer.runs.errors import explain


@pytest.mark.parametrize(
  "ended, said",
  [
    ([1, 3], "process 1, process 3 is gone, so process 0"),
    (
      [],
      "another process of the run cannot be reached (Gloo: timed out), so process 0",
    ),
  ],
)
def test_without_an_ended_process_the_error_itself_is_shown(ended, said, monkeypatch):
  monkeypatch.setattr(jax, "process_count", lambda: 4)
  error = explain(
    RuntimeError("Gloo: timed out\nand more"), Path("run"), TINY, ended, None, None
  )
  assert str(error).startswith(f"run: {said} cannot continue; start all 4 again")
