"""From the beginning of a text to the rest of it.

Prompts are grouped by a declared size of their own, so that a sampler is compiled a
handful of times, and what a prompt becomes does not depend on the others.
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from transformer.batch import BOS, EOS
from transformer.data.tokenizer import Tokenizer
from transformer.decoding.constraint import Constraint
from transformer.decoding.sample import Sampler, TopP, generate
from transformer.decoding.state import DecodeState

ROWS = (1, 8, 32)
"""Declared numbers of prompts in a batch."""

STRIDE = 64
"""Room for tokens comes in multiples of it."""


@dataclasses.dataclass(frozen=True)
class Generation:
  """How a text goes on.

  Attributes:
    sampler: chooses each token; `Sampler()` takes the most probable.
    max_length: the most tokens added to a prompt.
    samples: continuations of every prompt.
    seed: fixes what is drawn, whatever the other prompts are.
  """

  sampler: Sampler = TopP(0.9)
  max_length: int = 64
  samples: int = 1
  seed: int = 0

  def __post_init__(self):
    for name in ("max_length", "samples"):
      if getattr(self, name) < 1:
        raise ValueError(f"{name}: {getattr(self, name)} is less than 1")
    if not 0 <= self.seed < 2**32:
      raise ValueError(f"seed: {self.seed} is not in 0 to 2**32 - 1")


@functools.partial(jax.jit, static_argnames=("module", "recipe", "capacity"))
def draw(module, recipe: Generation, params, prompt_bt, limit_b, capacity: int):
  """Continuations of one batch of prompts; see `generate` for what comes out."""
  state = module.start(params, prompt_bt.shape[0], capacity)
  step = functools.partial(module.step, params)
  constraint = Constraint(limit_b, prefix_bt=prompt_bt)
  key = jax.random.key(recipe.seed)
  return generate(
    step, state, recipe.sampler, constraint, capacity, key, samples=recipe.samples
  )


@functools.partial(jax.jit, static_argnames=("module", "recipe"))
def draw_one(module, recipe: Generation, params, prompt_bt, limit_b, t, last_bw, cache):
  """The token that `draw` puts at place `t` after `last_bw`, and the cache with it."""
  logits_bwv, state = module.step(params, last_bw, DecodeState(cache, None, t))
  choice_bwv = Constraint(limit_b, prefix_bt=prompt_bt).restrict(logits_bwv, t)
  key = jax.random.key(recipe.seed)
  for number in (0, 0, t):  # the seed of the text, the sample, the place
    key = jax.random.fold_in(key, number)
  return recipe.sampler(key[None], choice_bwv[:, 0])[:, None], state.cache


class TextGenerator:
  """A model with parameters and a way to go on, compiled once per shape."""

  def __init__(
    self,
    module: nn.Module,
    params,
    tokenizer: Tokenizer,
    recipe: Generation,
    context: int,
  ):
    """`context` is the most tokens that the model has seen at once in training."""
    self.module, self.tokenizer, self.recipe = module, tokenizer, recipe
    self.context = context
    self.params = jax.jit(module.unstack)(params)

  def texts(self, prompts: Sequence[str]) -> list[list[str]]:
    """`samples` texts for every prompt, in order, each with its prompt.

    Raises:
      ValueError: a prompt and what is asked for do not fit into the context.
    """
    sources = self.encode(prompts)
    rooms = [self.room(ids) for ids in sources]
    found: list[list[str]] = [[] for _ in prompts]
    order = sorted(range(len(prompts)), key=lambda i: rooms[i])
    while order:
      same = [i for i in order[: ROWS[-1]] if rooms[i] == rooms[order[0]]]
      rows = next(rows for rows in ROWS if rows >= len(same))
      prompt_bt, limit_b = self.pad([sources[i] for i in same], rows, rooms[same[0]])
      output = draw(
        self.module, self.recipe, self.params, prompt_bt, limit_b, rooms[same[0]]
      )
      token_bwt = np.asarray(output.token_bwt)
      for row, i in enumerate(same):
        found[i] = self.tokenizer.decode(token_bwt[row])
      order = order[len(same) :]
    return found

  def stream(self, prompt: str) -> Iterator[str]:
    """The text of a prompt's first sample bit by bit, the prompt first; together they
    are what `texts` gives."""
    (ids,) = self.encode([prompt])
    prompt_bt, limit_b = self.pad([ids], 1, self.room(ids))
    cache = self.module.start(self.params, 1, self.room(ids)).cache
    last_bw = jnp.full((1, 1), BOS, jnp.int32)
    chosen: list[int] = []
    shown = ""
    while not chosen or chosen[-1] != EOS:
      last_bw, cache = draw_one(
        self.module, self.recipe, self.params, prompt_bt, limit_b,
        jnp.int32(len(chosen)), last_bw, cache,
      )  # fmt: skip
      chosen.append(int(last_bw[0, 0]))
      (text,) = self.tokenizer.decode([np.array(chosen)])
      # A character may take several tokens; until they are all there it is not shown.
      if len(chosen) >= len(ids) and (chosen[-1] == EOS or not text.endswith("\ufffd")):
        yield text[len(shown) :]
        shown = text

  def encode(self, prompts: Sequence[str]) -> list[np.ndarray]:
    """The tokens of every prompt, without an end."""
    sources = [ids[:-1] for ids in self.tokenizer.encode(list(prompts))]
    for ids in sources:
      if len(ids) + self.recipe.max_length > self.context:
        raise ValueError(
          f"a prompt of {len(ids):,} tokens and {self.recipe.max_length:,} new ones: "
          f"the model was trained on {self.context:,} at once; shorten the prompt or "
          "--max-length"
        )
    return sources

  def room(self, ids: np.ndarray) -> int:
    """Declared slots for a prompt, what it becomes, and `EOS`."""
    return -(-(len(ids) + self.recipe.max_length + 1) // STRIDE) * STRIDE

  def pad(self, sources: Sequence[np.ndarray], rows: int, room: int):
    """Prompts `[rows, room]`, and how many tokens each may become; a row without a
    prompt is over before it begins."""
    prompt_bt, limit_b = np.zeros((rows, room), np.int32), np.zeros(rows, np.int32)
    for row, ids in enumerate(sources):
      prompt_bt[row, : len(ids)] = ids
      limit_b[row] = len(ids) + self.recipe.max_length
    return jnp.asarray(prompt_bt), jnp.asarray(limit_b)
