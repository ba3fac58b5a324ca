"""The input pipeline: planning a large corpus, and batches beside what training takes.

    make bench-input
    make bench-input ARGS="--pairs 580000 --steps 20"

The corpus is made up: pairs with lengths as those of WMT 2014 English to German have
(log-normal, mean 27 tokens a side) and random ids. Planning is measured in a process of
its own, whose peak memory is that of all it does. Batches are read as training reads
them, through Grain in a thread; the model that eats them is small (3 and 3 layers, 256
wide, a vocabulary of 8,000), so that it eats fast. Processor seconds are given beside
the clock's, for a machine that has other work.
"""

import argparse
import concurrent.futures
import multiprocessing
import os
import platform
import resource
import tempfile
import time
from pathlib import Path

import jax
import numpy as np

from transformer.data.batching import Batching, Grouped, Packed
from transformer.data.corpus import Corpus
from transformer.data.pipeline import batches
from transformer.models.transformer import Transformer
from transformer.tasks.translation import Translation
from transformer.training.mesh import Mesh
from transformer.training.optimizers import Adam
from transformer.training.state import abstract_state, create_state, init_state
from transformer.training.step import step_program

VOCABULARY = 8000
LONGEST = 128
DELIVERED = 300_000
"""Pairs of the corpus that batches are read from."""

BATCHINGS = (Packed(4096, LONGEST), Grouped(4096))


def processor() -> float:
  """The processor seconds of this process so far, of all its threads."""
  times = os.times()
  return times.user + times.system


def made_up_lengths(pairs: int) -> np.ndarray:
  """Lengths of source and target of as many pairs, int32 `[n, 2]`."""
  rng = np.random.default_rng(0)
  source_n1 = rng.lognormal(3.15, 0.55, (pairs, 1))
  lengths_n2 = source_n1 * rng.normal(1.0, 0.15, (pairs, 2))
  return np.clip(lengths_n2, 2, 1.2 * LONGEST).astype(np.int32)


def planning(batching: Batching, pairs: int) -> str:
  """Plans an epoch, and says what it took and gave."""
  lengths_n2 = made_up_lengths(pairs)
  before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  start, busy = time.perf_counter(), processor()
  plan = batching.plan(lengths_n2, seed=0)
  plan.batch(0)
  seconds, busy = time.perf_counter() - start, processor() - busy
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  return (
    f"{seconds:.1f} s ({busy:.1f} of the processor), {peak / 1024:,.0f} MiB at most, "
    f"{(peak - before) / 1024:,.0f} of them for planning; {plan.batches:,} batches, "
    f"{plan.fill(lengths_n2):.0%} of slots filled"
  )


def make_corpus(directory: Path, pairs: int) -> Corpus:
  """A corpus as `Corpus.build` writes it."""
  offsets = np.concatenate([[0], np.cumsum(made_up_lengths(pairs))])
  ids = np.random.default_rng(1).integers(4, VOCABULARY, offsets[-1])
  np.save(directory / "offsets.npy", offsets)
  np.save(directory / "tokens.npy", ids.astype(np.uint16))
  return Corpus.open(directory)


def delivered(corpus: Corpus, batching: Batching, count: int) -> tuple[float, float]:
  """Target tokens a second, and a processor second, of that many batches."""
  plan = batching.plan(corpus.lengths_n2, 0, corpus.min_lengths)
  next(batches(corpus, plan, 0, 1))
  tokens, start, busy = 0, time.perf_counter(), processor()
  for _, batch in batches(corpus, plan, 1, count + 1):
    tokens += int(np.count_nonzero(batch.target.seg_bt))
  return tokens / (time.perf_counter() - start), tokens / (processor() - busy)


def eaten(corpus: Corpus, batching: Batching, steps: int) -> tuple[float, float]:
  """Target tokens a second, and a processor second, of that many steps of training."""
  plan = batching.plan(corpus.lengths_n2, 0, corpus.min_lengths)
  model, task = Transformer(layers=3, d_model=256, d_ff=1024, heads=4), Translation()
  module, optimizer = model.module(VOCABULARY), Adam().transform(lambda count: 1e-4)
  batch = corpus.batch(*plan.batch(0))
  init = init_state(module, batch, optimizer, jax.random.key(0))
  with jax.set_mesh(mesh := Mesh().build(jax.devices()[:1])):
    abstract = abstract_state(init, mesh)

    def loss(params, batch, key):
      return task.loss(module, params, batch, key)

    step = step_program(loss, optimizer, abstract)
    state = create_state(init, abstract)
    tokens, start, busy = 0, 0.0, 0.0
    for i in range(steps + 1):
      state, metrics = step(state, batch, jax.random.key(1))
      jax.block_until_ready(metrics)
      if i == 0:  # compiles
        start, busy = time.perf_counter(), processor()
      else:
        tokens += int(np.count_nonzero(batch.target.seg_bt))
    return tokens / (time.perf_counter() - start), tokens / (processor() - busy)


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
  parser.add_argument(
    "--pairs", type=int, default=4_500_000, metavar="N",
    help="pairs of the corpus that is planned (default 4,500,000)",
  )  # fmt: skip
  parser.add_argument(
    "--steps", type=int, default=10, metavar="N",
    help="steps of training that are measured (default 10)",
  )  # fmt: skip
  arguments = parser.parse_args()
  print(f"{os.cpu_count()} cores of {platform.processor() or platform.machine()}")
  print(f"\nplanning {arguments.pairs:,} pairs")
  # A fresh process each: memory that was used once is not seen to be used again.
  fresh = multiprocessing.get_context("spawn")
  for batching in BATCHINGS:
    with concurrent.futures.ProcessPoolExecutor(1, fresh) as pool:
      print(
        f"  {batching}: {pool.submit(planning, batching, arguments.pairs).result()}"
      )
  print("\ntarget tokens a second (a processor second)")
  with tempfile.TemporaryDirectory() as folder:
    corpus = make_corpus(Path(folder), DELIVERED)
    for batching in BATCHINGS:
      gives = delivered(corpus, batching, 500)
      takes = eaten(corpus, batching, arguments.steps)
      print(
        f"  {batching}: delivered {gives[0]:,.0f} ({gives[1]:,.0f}), trained on "
        f"{takes[0]:,.0f} ({takes[1]:,.0f}): {gives[1] / takes[1]:,.0f} times as many"
      )


if __name__ == "__main__":
  main()
