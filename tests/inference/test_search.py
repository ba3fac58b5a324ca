"""A text's output does not depend on the texts around it."""

import functools

import jax
import numpy as np
import pytest
from flax import linen as nn

from transformer.batch import EOS, Pairs, Tokens
from transformer.inference.search import (
  ROWS,
  SOURCE_LENGTHS,
  Search,
  Searcher,
  compilations,
  declared_shapes,
)
from transformer.models.transformer import Transformer
from transformer.tasks.text_scores import text_scores

MODEL = Transformer(layers=2, d_model=16, d_ff=24, heads=2)
V = 37

SLOW = pytest.mark.slow


@functools.cache
def params():
  tokens = Tokens(*(np.ones((1, 2), np.int32),) * 3)
  init = MODEL.module(V).init
  found = nn.unbox(init(jax.random.key(4), Pairs(tokens, tokens)))["params"]
  # Larger weights make outputs of all lengths, and differences that would show.
  return jax.tree.map(lambda leaf: leaf * 2.0, found)


@functools.cache
def sources():
  rng = np.random.default_rng(0)
  sizes = rng.integers(2, 20, 45)
  sizes[7], sizes[11] = 70, 1
  rows = [np.append(rng.integers(4, V, n - 1), EOS).astype(np.int32) for n in sizes]
  return tuple(rows)


def outputs(search, tokens, order=None):
  searcher = Searcher(MODEL.module(V), params(), search, tokens)
  order = range(len(sources())) if order is None else order
  found = dict(searcher.outputs([sources()[i] for i in order]))
  return {
    source: [int(t) for t in found[place] if t] for place, source in enumerate(order)
  }


@pytest.mark.parametrize(
  "search",
  [Search(beam=1, extra=6), pytest.param(Search(beam=3, extra=6), marks=SLOW)],
)
def test_outputs_do_not_depend_on_the_batch(search):
  together = outputs(search, 4096)
  assert len({len(found) for found in together.values()}) > 5
  small = outputs(search, 64)
  shuffled = outputs(search, 512, np.random.default_rng(1).permutation(45))
  alone = {i: outputs(search, 4096, [i])[i] for i in (0, 7, 11, 30)}
  assert together == small == shuffled
  assert alone == {i: together[i] for i in alone}


def test_every_output_ends_and_stays_within_its_own_limit():
  for i, found in outputs(Search(beam=3, extra=6), 4096).items():
    size = len(sources()[i])
    if size == 1:
      assert found == []
    else:
      assert found[-1] == EOS and found.count(EOS) == 1
      assert len(found) <= size - 1 + 6 + 1


def test_batches_have_declared_shapes_and_lose_nothing():
  searcher = Searcher(MODEL.module(V), params(), Search(beam=2), 1024)
  sizes = np.array([len(s) for s in sources()])
  seen = []
  for length, rows, indices in searcher.groups(sizes):
    assert length in SOURCE_LENGTHS.declared and rows in ROWS and len(indices) <= rows
    assert rows == 1 or rows * length * 2 <= 1024
    assert all(SOURCE_LENGTHS.round_up(sizes[i]) == length for i in indices)
    seen += indices
  assert sorted(seen) == [i for i in range(45) if sizes[i] > 1]


@pytest.mark.slow
def test_nothing_is_compiled_beyond_the_declared_shapes():
  rng = np.random.default_rng(9)
  sizes = [*rng.integers(2, 20, 90), 129]
  many = [np.append(rng.integers(4, V, n - 1), EOS).astype(np.int32) for n in sizes]
  # No other test has these settings, so nothing is compiled yet.
  given = MODEL.module(V), params(), Search(beam=2, extra=3), 512
  searcher, shapes = Searcher(*given), set()
  for part in (many, many[:7], many[3:40], many[5:6]):
    shapes |= {(t, b) for t, b, _ in searcher.groups([len(ids) for ids in part])}
    assert len(dict(searcher.outputs(part))) == len(part)
  assert shapes <= declared_shapes(129, 512, 2)
  assert 3 < searcher.compilations == len(shapes)
  before = searcher.compilations, compilations()
  again = [many[i] for i in rng.permutation(90)]
  for searcher_again in (searcher, Searcher(*given)):
    assert len(dict(searcher_again.outputs(again))) == 90
  assert (searcher.compilations, compilations()) == before
  assert searcher_again.compilations == 0


def test_lengths_beyond_the_declared_ones_are_rounded_up():
  assert [SOURCE_LENGTHS.round_up(n) for n in (1, 8, 9, 128, 129, 300)] == [
    8, 8, 16, 128, 256, 384,
  ]  # fmt: skip


def test_scores_are_sacrebleus_with_its_signature():
  outputs = ["the cat sat on the mat today", "a dog"]
  references = ["the cat sat on the mat today", "the dog runs"]
  scores = text_scores(outputs, references)
  assert scores["exact_match"] == 0.5 and scores["sentences"] == 2
  assert 50 < scores["bleu"] < 100 and 50 < scores["chrf"] < 100
  assert scores["bleu_signature"].startswith("nrefs:1|case:mixed|eff:no|tok:13a")
