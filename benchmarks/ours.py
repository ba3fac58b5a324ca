"""Our decoder: the paper's base geometry, random weights: `ours.py float32|int8`; or
with the parameters of a run: `ours.py float32|int8 RUN`.

A worker (`worker.py`) that answers a case of `decode.py`.
"""

import sys
import time

import jax
import numpy as np
from flax import linen as nn
from worker import serve

from transformer.batch import EOS, Pairs, Tokens
from transformer.decoding.constraint import Constraint
from transformer.decoding.penalty import GNMT
from transformer.inference.search import Search, find
from transformer.layers.int8 import quantise
from transformer.models.transformer import Transformer
from transformer.runs.freed_memory import keep_freed_memory
from transformer.runs.run import Run

VOCABULARY = 32_000


class Ours:
  """The search of `transformer translate`, on batches of fixed shapes."""

  versions = f"jax {jax.__version__}"

  def __init__(self, kind: str, run_path: str | None = None):
    self.programs: dict = {}
    self.vocabulary = VOCABULARY
    if run_path is not None:
      run = Run.open(run_path)
      self.module, self.vocabulary = run.module(), run.vocabulary.size
      self.params = jax.jit(self.module.unstack)(run.params(int8=kind == "int8"))
      return
    self.module = Transformer().module(VOCABULARY)
    one = Tokens(*(np.ones((1, 2), np.int32),) * 3)

    @jax.jit
    def init(key):
      boxed = self.module.init(key, Pairs(one, one))["params"]
      params = nn.unbox(boxed)
      if kind == "int8":
        params = quantise(params, boxed)
      return self.module.unstack(params)

    self.params = init(jax.random.key(0))

  def compiled(self, sentences: int, source: int, output: int, beam: int):
    """A compiled search and its arguments."""
    id_bt = np.random.default_rng(1).integers(4, self.vocabulary, (sentences, source))
    id_bt[:, -1] = EOS
    pos_bt = np.broadcast_to(np.arange(source), id_bt.shape)
    tokens = Tokens(*(array.astype(np.int32) for array in (id_bt, pos_bt, id_bt > 0)))
    # The last of the output's tokens is EOS: each takes a step of the decoder.
    limit_b = np.full(sentences, output - 1, np.int32)
    search = Search(beam, GNMT(0.6))
    program = find.lower(
      self.module, search, self.params, tokens, Constraint(limit_b, limit_b), output
    )
    return program.compile(), (self.params, tokens, Constraint(limit_b, limit_b))

  def decode(self, case: dict) -> dict:
    """Seconds and tokens; compilation, which is cached on disk, is not counted."""
    name = tuple(case.items())
    if name not in self.programs:
      self.programs[name] = self.compiled(**case)
    program, arguments = self.programs[name]
    start = time.perf_counter()
    output = jax.block_until_ready(program(*arguments))
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "tokens": int(output.length_bw[:, 0].sum())}


def main():
  keep_freed_memory()
  decoder = Ours(*sys.argv[1:])
  serve({"versions": decoder.versions}, decoder.decode)


if __name__ == "__main__":
  main()
