"""The benchmarks start, and the workers of the training benchmark do the work that its
table says."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
PEERS = os.environ.get("TRANSFORMER_PEERS", "")

CASE = {"layers": 2, "d_model": 16, "d_ff": 24, "heads": 4, "vocabulary": 50,
        "rows": 3, "length": 7, "multi30k": None, "corpus": None}  # fmt: skip


def answers(python: str, script: str, *arguments: str, requests: list[dict]):
  """The header of a worker and its answers."""
  done = subprocess.run(
    [python, str(BENCHMARKS / script), *arguments], text=True, capture_output=True,
    input="".join(json.dumps(request) + "\n" for request in requests), check=True,
    env={**os.environ, "PYTHONPATH": str(BENCHMARKS.parent)}, timeout=600,
  )  # fmt: skip
  return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize(
  "name", ["decode", "growth", "input", "opus_mt", "serve", "train"]
)
def test_a_benchmark_starts(name):
  """Its imports resolve, and it knows its flags."""
  done = subprocess.run(
    [sys.executable, str(BENCHMARKS / f"{name}.py"), "--help"], check=True, text=True,
    capture_output=True, env={**os.environ, "PYTHONPATH": str(BENCHMARKS.parent)},
  )  # fmt: skip
  assert f"usage: {name}.py" in done.stdout


@pytest.mark.slow
def test_our_worker_trains_and_counts():
  requests = [{"steps": 2}, {"matmul": 64}, {"memory": True}]
  header, steps, product, memory = answers(
    sys.executable, "ours_training.py", json.dumps(CASE), requests=requests
  )
  assert steps["tokens"] == 2 * 3 * 7
  assert steps["seconds"] > 0 and steps["processor"] > 0
  assert product["gflops"] > 0
  # Six for each weight of a product and token, and attention on top.
  matrices = 2 * (2 * 16 * 24 * 2 + 3 * 4 * 16 * 16) + 16 * 50
  assert 6 * matrices * 21 < header["flops"] < 8 * matrices * 21
  # Parameters and two moments of each in float32.
  assert memory["state"] * 2**30 > 3 * 4 * matrices


@pytest.mark.slow
@pytest.mark.skipif(not PEERS, reason="TRANSFORMER_PEERS names no Python with PyTorch")
@pytest.mark.parametrize("kind", ["pytorch", "marian"])
def test_the_peers_workers_train_and_count(kind):
  _, steps = answers(
    PEERS, "peers_training.py", kind, json.dumps(CASE), requests=[{"steps": 2}]
  )
  assert steps["tokens"] == 2 * 3 * 7 and steps["processor"] > 0
