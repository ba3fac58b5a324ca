"""Training speed beside other libraries, measured in turn: prints ratios.

    make bench-train                      # about half an hour on two cores
    make bench-train ARGS="--rounds 1 --cases small"

All systems train the same model with Adam, label smoothing 0.1, and dropout of 0.1 on
embeddings, sublayers and attention weights, in float32 on all cores. `base` and `small`
have sentences that fill their rows; `Multi30k` has real ones (en-de, tokenised by
SentencePiece), each system batches them as it usually does, and padding is not counted.
A round measures every system once, in an order that rotates from round to round, so
that other load on the machine affects all alike, and with it the speed of a product of
two large matrices. A ratio is taken within a round.

Before the rounds, our first step is timed twice from the start of its process, with an
empty cache of compiled programs and again with that cache; the peers' once.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

import results
from worker import HERE, Worker, in_turn

BASE = dict(layers=6, d_model=512, d_ff=2048, heads=8, vocabulary=32_000)
SMALL = dict(layers=3, d_model=256, d_ff=1024, heads=4, vocabulary=8000)
CASES = {
  "base, 16 x 64 tokens": dict(**BASE, rows=16, length=64, steps=3),
  "small, 64 x 32 tokens": dict(**SMALL, rows=64, length=32, steps=8),
  # Batches of the peers are sentences: so many have as many tokens as our rows.
  "small, Multi30k": dict(
    **SMALL,
    rows=32,
    length=64,
    steps=8,
    sentences=128,
    multi30k=True,
    also={"grouped": {"batching": "Grouped(2048, (12, 16, 20, 24, 32, 64))"}},
  ),
}
MATMUL = 2048
OURS = "ours"
PEERS = {"PyTorch nn.Transformer": "pytorch", "Hugging Face Marian": "marian"}


def multi30k() -> str | None:
  """The directory of Multi30k's files under TRANSFORMER_DATA, if it is there."""
  data = os.environ.get("TRANSFORMER_DATA")
  directory = Path(data or HERE.parent.parent / "shared" / "data") / "multi30k"
  return str(directory.resolve()) if directory.is_dir() else None


def write_corpus(directory: str, vocabulary: int) -> str:
  """Writes the training pairs for the peers, once: their ids one after another, and
  their lengths."""
  import numpy as np
  from ours_training import multi30k_corpus

  corpus = multi30k_corpus(directory, vocabulary)
  path = HERE / ".cache" / f"multi30k-{vocabulary}.npz"
  if not path.exists():
    ids = np.concatenate([side for i in range(len(corpus)) for side in corpus[i]])
    np.savez(path, ids=ids.astype(np.int64), lengths=corpus.lengths_n2)
  return str(path)


def start(case: dict, peers_python: Path) -> tuple[dict[str, Worker], float]:
  """A worker for each system that trains `case`, and the seconds of our first step with
  nothing compiled before."""
  script = str(HERE / "ours_training.py")
  ours = sys.executable, script, json.dumps(case)
  cache = Path(tempfile.mkdtemp(prefix="compiled-"))
  environment = dict(
    JAX_COMPILATION_CACHE_DIR=str(cache),
    JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0.5",
  )
  first = Worker(*ours, **environment)
  cold = first.header["first"]
  first.close()
  workers = {OURS: Worker(*ours, **environment)}
  for name, overrides in case.get("also", {}).items():
    other = json.dumps({**case, "overrides": overrides})
    workers[f"{OURS}, {name}"] = Worker(sys.executable, script, other, **environment)
  script = str(HERE / "peers_training.py")
  for system, kind in PEERS.items():
    workers[system] = Worker(str(peers_python), script, kind, json.dumps(case))
  return workers, cold


def measure(case: dict, workers: dict[str, Worker], rounds: int) -> dict[str, list]:
  """What the steps of every system took, round by round."""
  measurements: dict[str, list] = {system: [] for system in workers}
  for turn, system in in_turn(workers, rounds):
    worker = workers[system]
    answer = worker.ask({"steps": case["steps"]})
    answer |= worker.ask({"matmul": MATMUL})
    measurements[system].append(answer)
    rate = answer["tokens"] / answer["seconds"]
    print(f"round {turn + 1}, {system}: {rate:.0f} tokens/s", file=sys.stderr)
  return measurements


def rows(name: str, case: dict, measurements: dict, headers: dict) -> list[str]:
  """Lines of the table: one for each system."""
  lines = []
  rates = {
    system: [each["tokens"] / each["seconds"] for each in own]
    for system, own in measurements.items()
  }
  for system, own in measurements.items():
    ratio = share = ""
    if system == OURS:
      flops = headers[OURS]["flops"] * case["steps"]
      peaks = [
        max(each["gflops"] for each in each_round)
        for each_round in zip(*measurements.values(), strict=True)
      ]
      if not case["multi30k"]:
        share = results.spread(
          [
            flops / each["seconds"] / (1e9 * peak)
            for each, peak in zip(own, peaks, strict=True)
          ],
          ".0%",
        )
    else:
      pairs = zip(rates[OURS], rates[system], strict=True)
      ratio = results.spread([ours / peer for ours, peer in pairs], ".2f")
    step = {
      key: statistics.median(each[key] for each in own) / case["steps"]
      for key in ("system", "faults")
    }
    busy = results.spread([each["tokens"] / each["processor"] for each in own], ".0f")
    gflops = results.spread([each["gflops"] for each in own], ".0f")
    lines.append(
      f"| {name} | {system} | {results.spread(rates[system], '.0f')} | {ratio} "
      f"| {busy} | {step['system']:.2f} | {step['faults']:,.0f} "
      f"| {own[-1]['peak']:.1f} | {gflops} | {share} "
      f"| {headers[system]['first']:.1f} |"
    )
  return lines


TABLE = [
  "| work | system | target tokens/s | ours is faster by | tokens a processor second "
  "| s a step in the kernel | page faults a step | peak GiB | matrix product, GFLOP/s "
  "| share of that | first step, s |",
  "| --- | --- | --- | --- | --- | ---: | ---: | ---: | --- | --- | ---: |",
]


def main():
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  results.add_arguments(parser, CASES)
  arguments = parser.parse_args()
  directory = multi30k()
  lines, versions, notes = [*TABLE], {}, []
  for name, case in results.chosen(parser, arguments, CASES).items():
    real = case.pop("multi30k", False)
    if real and not directory:
      notes.append(f"{name}: not run; set TRANSFORMER_DATA to the parent of multi30k/")
      continue
    case["multi30k"] = directory if real else None
    case["corpus"] = write_corpus(directory, case["vocabulary"]) if real else None
    workers, cold = start(case, arguments.peers)
    measurements = measure(case, workers, arguments.rounds)
    headers = {system: worker.header for system, worker in workers.items()}
    lines += rows(name, case, measurements, headers)
    notes.append(
      f"{name}: our first step {cold:.1f} s with nothing compiled before, "
      f"{headers[OURS]['first']:.1f} s from the cache"
    )
    versions |= {system: header["versions"] for system, header in headers.items()}
    for worker in workers.values():
      worker.close()
    results.append(
      arguments.results, f"train: {name}", versions,
      cold=cold, headers=headers, rounds=measurements,
    )  # fmt: skip
  print("\n".join([*results.heading(versions), *lines, "", *notes]))


if __name__ == "__main__":
  main()
