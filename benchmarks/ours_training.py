"""Our training step: `ours_training.py CASE` with a case of `train.py` in JSON.

The step, its state and its batches are made as `train.py` makes them. A worker
(`worker.py`): it answers `{"steps": n}` with what n steps took, `{"matmul": n}` with
the speed of a product of two n x n matrices, and `{"memory": true}` with the compiler's
figures of the step.
"""

import functools
import json
import sys

import jax
import numpy as np
from worker import HERE, measured, seconds_alive, serve

from transformer import config as configs
from transformer.analysis.counts import jaxpr_flops
from transformer.batch import Pairs, Tokens
from transformer.data.batching import Packed
from transformer.data.corpus import Corpus
from transformer.data.pipeline import all_rows
from transformer.data.sources.multi30k import Multi30k
from transformer.data.tokenizers.sentence_piece import (
  SentencePiece,
  SentencePieceTokenizer,
)
from transformer.experiment import Config
from transformer.models.transformer import Transformer
from transformer.runs.freed_memory import keep_freed_memory
from transformer.tasks.base import training_data_of
from transformer.training.mesh import batch_sharding, put
from transformer.training.state import (
  abstract_state,
  abstract_weights,
  create_state,
  init_state,
)
from transformer.training.step import step_program


def multi30k_corpus(directory: str, vocabulary: int) -> Corpus:
  """Multi30k's training pairs in a vocabulary of this size, made once."""
  data, cache = Multi30k(directory=directory), HERE / ".cache"
  model = cache / f"multi30k-{vocabulary}.model"
  if not model.exists():
    cache.mkdir(exist_ok=True)
    recipe = SentencePiece(vocabulary=vocabulary)
    model.write_bytes(Config(data).task.make_vocabulary(data, recipe))
  tokenizer = SentencePieceTokenizer(model.read_bytes())
  return Corpus.build(data, "train", tokenizer, cache, progress=False)


class Ours:
  """A model with its optimizer, and batches without end."""

  def __init__(self, case: dict):
    layers, rows, length = case["layers"], case["rows"], case["length"]
    model = Transformer(
      layers=layers, d_model=case["d_model"], d_ff=case["d_ff"], heads=case["heads"],
      dropout=0.1, attention_dropout=0.1, biases=True,
    )  # fmt: skip
    config = Config(Multi30k(), model, batching=Packed(rows * length, length))
    for name, text in case.get("overrides", {}).items():
      config = configs.override(config, name, text)
    if case["multi30k"]:
      corpus = multi30k_corpus(case["multi30k"], case["vocabulary"])
      plan = config.batching.plan(corpus.lengths_n2, 0, corpus.min_lengths)
      data = training_data_of(corpus, plan, [])
      self.batches = data.batches(0, 10**6, all_rows)
    else:
      self.batches = random_batches(rows, length, case["vocabulary"])
    module = config.model.module(case["vocabulary"], config.precision.dtype)
    example = config.task.example(config.batching.shapes[0])
    optimizer = config.gradient_transformation(abstract_weights(module, example))
    mesh = config.mesh.build()
    jax.set_mesh(mesh)
    init = init_state(module, example, optimizer, jax.random.key(0))
    abstract = abstract_state(init, mesh)
    self.abstract, self.example = abstract, example
    self.sharding, self.key = batch_sharding(mesh), jax.random.key(1)
    loss = functools.partial(config.task.loss, module)
    self.step = step_program(loss, optimizer, abstract)
    self.state = create_state(init, abstract)
    self.run(1)
    self.first = seconds_alive()
    for shape in config.batching.shapes[1:]:  # compiled before anything is timed
      batch = put(config.task.example(shape), self.sharding)
      self.state, _ = self.step(self.state, batch, self.key)
    forward = jax.make_jaxpr(loss)(self.state.params, example, self.key)
    self.flops = 3 * jaxpr_flops(forward.jaxpr)

  def run(self, steps: int) -> int:
    """Trains; the number of target tokens, padding left out."""
    tokens = 0
    for _ in range(steps):
      batch = next(self.batches)[1]
      tokens += int((batch.target.seg_bt > 0).sum())
      self.state, metrics = self.step(self.state, put(batch, self.sharding), self.key)
    jax.block_until_ready((self.state, metrics))
    return tokens

  def memory(self) -> dict[str, float]:
    """GiB of the state and of the step's temporary buffers, from the compiler."""
    step = self.step.lower(self.abstract, self.example, self.key).compile()
    sizes = step.memory_analysis()
    return {
      "state": sizes.argument_size_in_bytes / 2**30,
      "temporaries": sizes.temp_size_in_bytes / 2**30,
    }

  def answer(self, request: dict) -> dict:
    if "memory" in request:
      return self.memory()
    if "matmul" in request:
      return {"gflops": matmul(request["matmul"])}
    tokens = 0

    def work():
      nonlocal tokens
      tokens = self.run(request["steps"])

    return {**measured(work), "tokens": tokens}


def random_batches(rows: int, length: int, vocabulary: int):
  """`(0, batch)` without end, of sentences that fill their rows."""
  rng = np.random.default_rng(1)

  def tokens():
    id_bt = rng.integers(4, vocabulary, (rows, length), np.int32)
    pos_bt = np.broadcast_to(np.arange(length, dtype=np.int32), id_bt.shape)
    return Tokens(id_bt, pos_bt, np.ones_like(id_bt))

  batch = Pairs(tokens(), tokens())
  while True:
    yield 0, batch


def matmul(n: int, repeats: int = 10) -> float:
  """GFLOP/s of the fastest of several products of two float32 n x n matrices."""
  x = jax.numpy.ones((n, n))
  product = jax.jit(lambda x: x @ x)
  jax.block_until_ready(product(x))
  seconds = [
    measured(lambda: jax.block_until_ready(product(x)))["seconds"]
    for _ in range(repeats)
  ]
  return 2e-9 * n**3 / min(seconds)


def main():
  keep_freed_memory()
  ours = Ours(json.loads(sys.argv[1]))
  header = {
    "versions": f"jax {jax.__version__}", "first": ours.first, "flops": ours.flops
  }  # fmt: skip
  serve(header, ours.answer)


if __name__ == "__main__":
  main()
