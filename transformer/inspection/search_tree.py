"""The beam search of one text as a tree: every candidate of every step, and what became
of it.

The tree is recorded from the search itself, `decoding.beam.beam_loop`, one step at a
time. A column is a step; of the 2w candidates, best first, w stay live at most:

  step 1        step 2        step 3
  ▁Ein  kept ─┬ ▁Hund kept ── </s>  finished
              └ ▁Tier dropped
  ▁Der  kept ── ▁Hund kept ── ▁der  dropped
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from transformer.batch import EOS, Tokens
from transformer.decoding.beam import BeamLoop, BeamState, Expansion, beam_loop
from transformer.decoding.constraint import Constraint
from transformer.decoding.state import DecodeState, KVCache
from transformer.inference.search import (
  SOURCE_LENGTHS,
  Search,
  beam_arguments,
  start_search,
)
from transformer.inspection.inputs import Opened, check_size
from transformer.runs.run import Run
from transformer.runs.translator import Translator
from transformer.tasks.translation import Translation

ALTERNATIVES = 5
"""Next tokens that are shown of every live hypothesis."""


class Alternative(NamedTuple):
  """A possible next token, and its probability under the model."""

  piece: str
  probability: float


class Candidate(NamedTuple):
  """A continuation of a live hypothesis by one token.

  Attributes:
    parent: the candidate that it continues, as its place in `SearchTree.candidates`;
      -1 for the start.
    step: tokens that it has, from 1.
    piece: its last token.
    token_logprob: log-probability of this token, in nats.
    logprob: of all of its tokens.
    fate: `kept`, `dropped` or `finished`.
    score: under the length penalty; None unless it is finished.
    greedy: whether it is on the path of greedy search.
    output: its place among the outputs, from 0; None if it is not one of them.
    alternatives: the most probable tokens after it; empty unless it was continued.
  """

  parent: int
  step: int
  piece: str
  token_logprob: float
  logprob: float
  fate: str
  score: float | None
  greedy: bool
  output: int | None = None
  alternatives: tuple[Alternative, ...] = ()


class ScoredOutput(NamedTuple):
  """A finished hypothesis and how its score comes about: `logprob` / `divisor` +
  `coverage`.

  Attributes:
    text: detokenised.
    candidate: its place in `SearchTree.candidates`.
    length: tokens, `EOS` counted.
    logprob: in nats.
    divisor: of the length penalty.
    coverage: what the penalty adds for source tokens that got little attention; 0 for
      penalties of lengths alone.
    score: what outputs are ranked by.
  """

  text: str
  candidate: int
  length: int
  logprob: float
  divisor: float
  coverage: float
  score: float


class SearchTree(NamedTuple):
  """A beam search.

  Attributes:
    run: the name of the run's directory.
    text: the input.
    beam: live hypotheses.
    penalty: the length penalty.
    start: the most probable first tokens.
    candidates: of all steps, in order.
    outputs: the finished hypotheses that were kept, best first.
    bound: the best score that a hypothesis which was still live at the end could have
      reached; the search ends when the winner has at least this. None where none was
      live, since at the greatest length every hypothesis ends.
  """

  run: str
  text: str
  beam: int
  penalty: str
  start: tuple[Alternative, ...]
  candidates: tuple[Candidate, ...]
  outputs: tuple[ScoredOutput, ...]
  bound: float | None


class Step(NamedTuple):
  """A step of the search as NumPy arrays of its one sentence."""

  expansion: Expansion
  is_greedy: bool  # hypothesis 0 is that of greedy search
  alternative_wn: np.ndarray
  probability_wn: np.ndarray


def beam_of(opened: Run | Translator | Opened, text: str) -> SearchTree:
  """The beam search of a text, by the search that `translate` runs.

  Args:
    opened: the run; a `Translator` also says how it searches.
    text: what to translate.

  Raises:
    ValueError: the run does not translate, the search has no beam, or the text is
      empty or too long.
  """
  opened = Opened.of(opened)
  run, search = opened.run, opened.search
  if not isinstance(run.config.task, Translation):
    raise ValueError(
      f"{run.path}: expected the task Translation, got "
      f"{type(run.config.task).__name__}; only translations are searched for"
    )
  if search.beam < 2:
    raise ValueError(f"--beam: expected 2 or more to have a tree, got {search.beam}")
  (ids,) = run.tokenizer.encode_sources([text])
  check_size(ids, text)
  steps, end, bound = record(opened, ids)
  return tree(opened, text, steps, end, bound)


def record(opened: Opened, ids) -> tuple[list[Step], BeamState, float | None]:
  """Searches for the output of a source step by step."""
  search, searcher = opened.search, opened.searcher
  length = SOURCE_LENGTHS.round_up(len(ids))
  source, constraint, _ = searcher.batch([ids], [], 1, length)
  capacity = search.limit(length) + 1
  shared = searcher.module, search.program, capacity, searcher.params
  state, s, goes_on = begin(*shared, source, constraint)
  steps = []
  while goes_on:
    is_greedy = bool(s.greedy_b[0])
    s, goes_on, expansion, *alternatives = advance(*shared, state, constraint, s)
    expansion, *alternatives = jax.tree.map(
      lambda x: np.asarray(x)[0], (expansion, *alternatives)
    )
    steps.append(Step(expansion, is_greedy, *alternatives))
  reach_bw = search.penalty.bound(
    s.live.logprob_bw, s.t, constraint.within(capacity).max_length_b[:, None]
  )
  bound = float(jnp.max(reach_bw))
  return steps, s, bound if np.isfinite(bound) else None


@functools.partial(jax.jit, static_argnames=("module", "search", "capacity"))
def begin(
  module, search: Search, capacity: int, params, source: Tokens, constraint: Constraint
):
  """The model's state, the search before its first step, and whether there is one."""
  state = start_search(module, search.penalty, params, source, capacity)
  loop = loop_of(module, search, capacity, params, state, constraint)
  start = jax.tree.map(
    lambda leaf: leaf.resize(capacity) if isinstance(leaf, KVCache) else leaf,
    loop.start,
    is_leaf=lambda leaf: isinstance(leaf, KVCache),
  )
  return state, start, loop.condition(start)


@functools.partial(jax.jit, static_argnames=("module", "search", "capacity"))
def advance(
  module, search: Search, capacity: int, params, state: DecodeState, constraint, s
):
  """One step: the search after it, whether there is another, what it made of the live
  hypotheses, and the most probable next tokens of each with their probabilities."""
  loop = loop_of(module, search, capacity, params, state, constraint)
  s, expansion = loop.advance(s)
  probability_bwv = jax.nn.softmax(expansion.logits_bwv.astype(jnp.float32), axis=-1)
  count = min(ALTERNATIVES, probability_bwv.shape[-1])
  probability_bwn, id_bwn = jax.lax.top_k(probability_bwv, count)
  expansion = expansion._replace(logits_bwv=jnp.zeros((1,)))  # large, and not needed
  return s, loop.condition(s), expansion, id_bwn, probability_bwn


def loop_of(
  module, search: Search, capacity: int, params, state, constraint
) -> BeamLoop:
  """The loop of the search that `inference.search.find` runs."""
  step = functools.partial(module.step, params)
  return beam_loop(step, state, constraint, capacity, **beam_arguments(module, search))


def tree(
  opened: Opened, text: str, steps: list[Step], end: BeamState, bound: float | None
) -> SearchTree:
  """The candidates of all steps as a tree, and the outputs with their scores."""
  tokenizer, search = opened.run.tokenizer, opened.search
  candidates: list[Candidate] = []
  paths: list[tuple[int, ...]] = []
  # Of every live hypothesis, the candidate that it is.
  live_w = [-1] * search.beam
  start: tuple[Alternative, ...] = ()
  for number, (expansion, is_greedy, id_wn, probability_wn) in enumerate(steps, 1):
    alternatives = [
      tuple(map(Alternative, tokenizer.pieces(ids), probabilities))
      for ids, probabilities in zip(id_wn, probability_wn.tolist(), strict=True)
    ]
    stay, place_n = set(expansion.stay_bw.tolist()), {}
    for w, parent in enumerate(live_w):
      if number == 1:
        start = alternatives[0]
      elif parent >= 0:
        continued = candidates[parent]._replace(alternatives=alternatives[w])
        candidates[parent] = continued
    for n, logprob in enumerate(expansion.logprob_bn.tolist()):
      if not np.isfinite(logprob):
        continue
      token = int(expansion.id_bn[n])
      parent = live_w[expansion.parent_bn[n]]
      score, fate = None, "kept" if n in stay else "dropped"
      if token == EOS:
        score, fate = float(expansion.score_bn[n]), "finished"
      place_n[n] = len(candidates)
      paths.append((*(paths[parent] if parent >= 0 else ()), token))
      candidates.append(
        Candidate(
          parent, number, tokenizer.pieces([token])[0],
          float(expansion.token_logprob_bn[n]), logprob, fate, score,
          greedy=is_greedy and n == 0,
        )
      )  # fmt: skip
    live_w = [place_n.get(n, -1) for n in expansion.stay_bw.tolist()]
  outputs = []
  finished: Any = jax.tree.map(lambda x: np.asarray(x)[0], end.finished)
  for w, length in enumerate(finished.length_bw.tolist()):
    if not length:
      continue
    ids = tuple(finished.token_bwt[w, :length].tolist())
    place = paths.index(ids)
    candidates[place] = candidates[place]._replace(output=w)
    logprob, score = (float(x[w]) for x in (finished.logprob_bw, finished.score_bw))
    divisor = float(search.penalty.divisor(jnp.int32(length)))
    coverage = score - logprob / divisor if search.penalty.needs_attention else 0.0
    decoded = tokenizer.decode([np.array(ids)])[0]
    outputs.append(
      ScoredOutput(decoded, place, length, logprob, divisor, coverage, score)
    )
  return SearchTree(
    opened.run.path.resolve().name, text, search.beam, str(search.penalty),
    start, tuple(candidates), tuple(outputs), bound,
  )  # fmt: skip
