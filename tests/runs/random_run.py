"""A run that was never trained: random parameters behind a real tokenizer."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
from flax import linen as nn

from tests.tiny import TINY
from transformer.batch import EOS, Pairs, Tokens
from transformer.runs.prepare import prepare
from transformer.runs.run import Run
from transformer.training.checkpoint import Checkpoints


def random_run(path: Path, scale: float = 2.0, seed: int = 15, **changes) -> Run:
  """A run in `path` with one checkpoint, of step 3. Large parameters, and `EOS` among
  the likely tokens, make outputs of many lengths."""
  run = prepare(dataclasses.replace(TINY, **changes), path)
  tokens = Tokens(*(np.ones((1, 2), np.int32),) * 3)
  boxed = run.module().init(jax.random.key(seed), Pairs(tokens, tokens))["params"]
  params = jax.tree.map(lambda leaf: leaf * scale, nn.unbox(boxed))
  table_vd = params["embedding"]["table"]
  params["embedding"]["table"] = table_vd.at[EOS].multiply(3.0)
  with Checkpoints(path / "checkpoints") as checkpoints:
    checkpoints.save_params(3, params, {"tokenizer_sha256": run.vocabulary.sha256})
  return run
