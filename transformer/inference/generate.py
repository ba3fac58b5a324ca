"""Continues prompts with a causal language model.

Prompts are padded to declared lengths, so few programs are compiled, and the
continuation of a prompt does not depend on the batch that it is in (batch invariance).
"""

import copy
import dataclasses
import functools
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from transformer.batch import EOS
from transformer.data.tokenizer import Tokenizer
from transformer.decoding.constraint import Constraint
from transformer.decoding.sample import generate
from transformer.decoding.samplers import Sampler, TopP
from transformer.decoding.state import DecodeState
from transformer.inference.batches import PaddedLengths, group, pad_ids
from transformer.inference.devices import Devices

ROWS = (1, 8, 32)
"""Declared numbers of prompts in a batch."""

LENGTHS = PaddedLengths((), 64)
"""Declared lengths of a prompt with its continuation: multiples of 64."""


DEFAULT_MAX_LENGTH = 64
"""The most new tokens where none are set and the context has room for them."""


@dataclasses.dataclass(frozen=True)
class Generation:
  """How prompts are continued.

  Attributes:
    sampler: chooses each token; `Sampler()` takes the most probable.
    max_length: the most new tokens; None for 64, or as many as the context has room
      for after the prompt.
    samples: continuations of every prompt.
    seed: of sampling; the samples of a prompt do not depend on the other prompts.
  """

  sampler: Sampler = TopP(0.9)
  max_length: int | None = None
  samples: int = 1
  seed: int = 0

  def __post_init__(self):
    for name in ("max_length", "samples"):
      value = getattr(self, name)
      if value is not None and value < 1:
        raise ValueError(f"{name}: expected 1 or more, got {value}")
    if not 0 <= self.seed < 2**32:
      raise ValueError(f"seed: expected 0 to 2**32 - 1, got {self.seed}")


@functools.partial(
  jax.jit, static_argnames=("module", "sampler", "samples", "capacity", "devices")
)
def sample_batch(
  module,
  sampler: Sampler,
  samples: int,
  params,
  prompt_bt,
  limit_b,
  first_bw,
  capacity: int,
  key,
  devices: Devices = Devices(),
):
  """Continuations of one batch of prompts, as `generate` returns them, after the tokens
  `first_bw`; each of `devices` samples those of its own rows."""

  def sample_rows(shared, rows):
    params, key = shared
    prompt_bt, limit_b, first_bw = rows
    state = module.start(params, prompt_bt.shape[0], capacity)
    step = functools.partial(module.step, params)
    constraint = Constraint(limit_b, prefix_bt=prompt_bt)
    return generate(
      step, state, sampler, constraint, capacity, key, samples=samples,
      start_id=first_bw,
    )  # fmt: skip

  return devices.split_rows(sample_rows)((params, key), (prompt_bt, limit_b, first_bw))


@functools.partial(jax.jit, static_argnames=("module", "sampler"))
def sample_token(
  module, sampler: Sampler, params, prompt_bt, limit_b, t, last_bw, cache, key
):
  """The token that `sample_batch` gives position `t` after `last_bw`, and the cache."""
  logits_bwv, state = module.step(params, last_bw, DecodeState(cache, None, t))
  choice_bwv = Constraint(limit_b, prefix_bt=prompt_bt).restrict(logits_bwv, t)
  for number in (0, 0, t):  # the seed of the text, the sample, the position
    key = jax.random.fold_in(key, number)
  return sampler(key[None], choice_bwv[:, 0])[:, None], state.cache


class TextGenerator:
  """A causal language model with parameters and a sampler, compiled once per shape."""

  def __init__(
    self,
    module: nn.Module,
    params,
    tokenizer: Tokenizer,
    recipe: Generation,
    context: int,
    devices: Devices = Devices(),
    start_token: bool = True,
  ):
    """`context` is the longest text of which the model saw all in training, in tokens;
    `devices` hold `params`. Without `start_token` the model reads the first token of a
    prompt in place of its `start_id`."""
    self.module, self.tokenizer, self.recipe = module, tokenizer, recipe
    self.context, self.devices, self.start_token = context, devices, start_token
    self.params = jax.jit(module.unstack)(params)

  def with_recipe(self, recipe: Generation) -> "TextGenerator":
    """The same model and parameters with another recipe."""
    other = copy.copy(self)
    other.recipe = recipe
    return other

  def compile(self, capacity: int, rows: int) -> None:
    """Compiles the program of a declared shape, by a batch of padding."""
    self._sample(self.pad([], rows, capacity), capacity)

  def compile_stream(self, capacity: int) -> None:
    """Compiles the program of `stream` for texts padded to `capacity`."""
    prompt_bt, limit_b, first_bw = self.pad([], 1, capacity)
    sample_token(
      self.module, self.recipe.sampler, self.params, prompt_bt, limit_b, jnp.int32(0),
      first_bw, self.module.start(self.params, 1, capacity).cache, jax.random.key(0),
    )  # fmt: skip

  def texts(self, prompts: Sequence[str]) -> list[list[str]]:
    """`samples` texts for every prompt, in order, each with its prompt.

    Raises:
      ValueError: a prompt and its continuation may be longer than the context.
    """
    sources = self.encode(prompts)
    texts: list[list[str]] = [[] for _ in prompts]
    capacities = [self.capacity(ids) for ids in sources]
    row_counts = [rows * self.devices.count for rows in ROWS]
    for capacity, rows, indices in group(capacities, lambda _: row_counts):
      padded = self.pad([sources[i] for i in indices], rows, capacity)
      token_bwt = self._sample(padded, capacity).token_bwt
      for row, i in enumerate(indices):
        read = sources[i][: self.num_read(sources[i])]
        texts[i] = self.tokenizer.decode(
          [np.concatenate([read, token_t]) for token_t in token_bwt[row]]
        )
    return texts

  def _sample(self, padded, capacity: int):
    """`sample_batch` of one batch of `pad`."""
    recipe = self.recipe
    output = sample_batch(
      self.module, recipe.sampler, recipe.samples, self.params,
      *self.devices.put(padded), capacity, jax.random.key(recipe.seed), self.devices,
    )  # fmt: skip
    return self.devices.fetch(output)

  def stream(self, prompt: str) -> Iterator[str]:
    """The text of a prompt's first sample as it is decoded, the prompt first; joined,
    the parts are the first of `texts`."""
    (ids,) = self.encode([prompt])
    capacity, key = self.capacity(ids), jax.random.key(self.recipe.seed)
    prompt_bt, limit_b, last_bw = self.pad([ids], 1, capacity)
    cache = self.module.start(self.params, 1, capacity).cache
    read = ids[: self.num_read(ids)].tolist()
    ids_so_far: list[int] = []
    shown = ""
    while not ids_so_far or ids_so_far[-1] != EOS:
      last_bw, cache = sample_token(
        self.module, self.recipe.sampler, self.params, prompt_bt, limit_b,
        jnp.int32(len(ids_so_far)), last_bw, cache, key,
      )  # fmt: skip
      ids_so_far.append(int(last_bw[0, 0]))
      (text,) = self.tokenizer.decode([np.array(read + ids_so_far)])
      # A character may take several tokens, and is shown once all of them are decoded.
      if len(read) + len(ids_so_far) >= len(ids) and (
        ids_so_far[-1] == EOS or not text.endswith("\ufffd")
      ):
        yield text[len(shown) :]
        shown = text

  def encode(self, prompts: Sequence[str]) -> list[np.ndarray]:
    """The tokens of every prompt, without `EOS`."""
    sources = [ids[:-1] for ids in self.tokenizer.encode(list(prompts))]
    for ids in sources:
      self.new_tokens(ids)
    return sources

  def new_tokens(self, ids: np.ndarray) -> int:
    """The most new tokens after a prompt.

    Raises:
      ValueError: there is no room for them in the context.
    """
    room, wanted = self.context - len(ids), self.recipe.max_length
    if room < 1:
      raise ValueError(
        f"prompt: expected fewer than {self.context:,} tokens, the context in "
        f"training, got {len(ids):,}; shorten the prompt"
      )
    if wanted is not None and wanted > room:
      raise ValueError(
        f"prompt: expected at most {self.context:,} tokens with its continuation, the "
        f"context in training, got {len(ids):,} and {wanted:,} new ones; shorten the "
        f"prompt, or give --max-length {room} or less"
      )
    return min(DEFAULT_MAX_LENGTH, room) if wanted is None else wanted

  def capacities(self, longest: int) -> tuple[int, ...]:
    """The padded lengths of prompts of up to `longest` tokens."""
    new = self.recipe.max_length or DEFAULT_MAX_LENGTH
    return LENGTHS.up_to(min(longest + new, self.context) + 1)

  def capacity(self, ids: np.ndarray) -> int:
    """The padded length of a prompt, its continuation and `EOS`."""
    return LENGTHS.round_up(len(ids) + self.new_tokens(ids) + 1)

  def num_read(self, ids: np.ndarray) -> int:
    """How many tokens of a prompt the model reads in place of its `start_id`."""
    return 0 if self.start_token else min(1, len(ids))

  def pad(self, prompts: Sequence[np.ndarray], rows: int, capacity: int):
    """Prompts `[rows, capacity]`, the longest text of each in tokens, 0 for a row of
    padding, both without the tokens that are read first; and those, `[rows, 1]`."""
    limit_b = np.zeros(rows, np.int32)
    first_bw = np.full((rows, 1), self.module.c.start_id, np.int32)
    rest = []
    for row, ids in enumerate(prompts):
      read = self.num_read(ids)
      rest.append(ids[read:])
      first_bw[row, :read] = ids[:read]
      limit_b[row] = len(rest[-1]) + self.new_tokens(ids)
    prompt_bt = pad_ids(rest, rows, capacity)
    return jnp.asarray(prompt_bt), jnp.asarray(limit_b), jnp.asarray(first_bw)
