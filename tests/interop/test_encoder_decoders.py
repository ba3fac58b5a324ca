"""Imported encoder-decoders compute what the Hugging Face classes compute."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from tests.interop.fixtures import Fixture
from transformer.batch import EOS
from transformer.inference.search import Searcher

NAMES = ("marian", "marian_target_tied", "m2m", "bart", "mbart", "t5", "flan_t5")


@functools.cache
def fixture(name: str) -> Fixture:
  return Fixture(name)


@pytest.mark.parametrize("name", NAMES)
def test_logits(name):
  f = fixture(name)
  module = f.model.module(f.order.size)
  logits_btv = jax.jit(module.apply)({"params": f.imported.params}, f.batch)
  real_bt = f.expected["decoder_mask"] > 0
  theirs_btv = f.expected["logits"]
  ours_btv = np.asarray(logits_btv)[:, :, f.order.ours]
  np.testing.assert_allclose(ours_btv[real_bt], theirs_btv[real_bt], rtol=0, atol=1e-4)
  absent = list(f.order.absent)
  assert np.all(np.asarray(logits_btv)[:, :, absent] == -np.inf)


@pytest.mark.parametrize("beam", [1, 4])
@pytest.mark.parametrize("name", NAMES)
def test_generated_tokens(name, beam):
  f = fixture(name)
  search = f.family.search(f.origin, f.order)
  assert search.beam == 4
  search = dataclasses.replace(search, beam=beam)
  searcher = Searcher(f.model.module(f.order.size), f.imported.params, search)
  mask_bs = f.expected["attention_mask"]
  sources = [f.order.ours[ids[mask > 0]] for ids, mask in
             zip(f.expected["input_ids"], mask_bs, strict=True)]  # fmt: skip
  found = dict(searcher.outputs(sources))
  for i, theirs in enumerate(f.expected["greedy" if beam == 1 else "beam"]):
    ours = [int(t) for t in f.order.ours[theirs[1:]]]
    ours = ours[: ours.index(EOS) + 1] if EOS in ours else [*ours, EOS]
    assert [int(t) for t in found[i] if t] == ours, i
