"""1,000 real sentences: each has the same output in any batch, and no beam's score
is below greedy's."""

import gzip
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from transformer.batch import EOS, Pairs, Tokens
from transformer.inference import search as searching
from transformer.inference.devices import Devices
from transformer.inference.search import Search, Searcher, find
from transformer.models.transformer import Transformer
from transformer.training.mesh import Mesh

V = 521
EXTRA = 15
MODULE = Transformer(layers=2, d_model=48, d_ff=96, heads=4).module(V)


def ids_of(text):
  """Words by a hash: no tokenizer has to be trained."""
  words = [4 + zlib.crc32(word.encode()) % (V - 4) for word in text.split()]
  return np.array([*words, EOS], np.int32)


def read(path):
  text = gzip.decompress(path.read_bytes()).decode()
  return [ids_of(line) for line in text.splitlines()]


def padded(rows, length=32):
  """One sentence a row, cut to a length."""
  id_bt = np.zeros((len(rows), length), np.int32)
  for row, ids in enumerate(rows):
    id_bt[row, : len(ids)] = ids[:length]
  pos_bt = np.broadcast_to(np.arange(length, dtype=np.int32), id_bt.shape)
  return Tokens(id_bt, pos_bt, (id_bt > 0).astype(np.int32))


@pytest.fixture(scope="module")
def sources(multi30k):
  found = read(multi30k / "test_2016_flickr.en.gz")
  assert len(found) == 1000
  return found


@pytest.fixture(scope="module")
def params(multi30k):
  """Trained a little: outputs then end, differ, and have close seconds."""
  english, german = (read(multi30k / f"train.{one}.gz")[:8000] for one in ("en", "de"))
  optimizer = optax.adam(5e-3)

  def loss(params, batch):
    logprob_btv = jax.nn.log_softmax(MODULE.apply({"params": params}, batch))
    target = batch.target
    chosen_bt1 = jnp.take_along_axis(logprob_btv, target.id_bt[:, :, None], axis=-1)
    return -jnp.sum(chosen_bt1[:, :, 0] * target.seg_bt) / jnp.sum(target.seg_bt)

  @jax.jit
  def update(params, state, batch):
    change, state = optimizer.update(jax.grad(loss)(params, batch), state)
    return optax.apply_updates(params, change), state

  one = padded([[EOS]])
  params = nn.unbox(MODULE.init(jax.random.key(8), Pairs(one, one)))["params"]
  state = optimizer.init(params)
  for first in [*range(0, 8000, 32)] * 2:
    part = slice(first, first + 32)
    batch = Pairs(padded(english[part]), padded(german[part]))
    params, state = update(params, state, batch)
  return params


def searcher_of(params, beam):
  return Searcher(MODULE, params, Search(beam=beam, extra=EXTRA), tokens=10**6)


@pytest.mark.slow(trains=True)
@pytest.mark.parametrize("beam", [1, 4])
def test_real_sentences_are_the_same_in_any_batch(sources, params, beam, monkeypatch):
  """Every batch on the device has exactly 1, 7, 64 or 512 rows."""
  searcher = searcher_of(params, beam)
  long = np.append(np.resize(sources[0][:-1], 119), EOS).astype(np.int32)

  def search(calls, others=()):
    """The outputs of all sentences that the calls name."""
    found = {}
    for call in calls:
      outputs = searcher.outputs([*(sources[i] for i in call), *others])
      found |= {
        call[k]: tuple(ids[ids > 0].tolist()) for k, ids in outputs if k < len(call)
      }
    return found

  def cut(order, size):
    return [order[first : first + size].tolist() for first in range(0, 1000, size)]

  shuffled = np.random.default_rng(3).permutation(1000)
  by_length = np.argsort([len(ids) for ids in sources], kind="stable")
  monkeypatch.setattr(searching, "ROWS", (1,))
  alone = search(cut(shuffled, 1))
  assert len(alone) == 1000 and len(set(alone.values())) > 500
  assert len({len(found) for found in alone.values()}) > 15
  few = [[int(i)] for i in shuffled[:30]]
  assert search(few, [long]) == {i: alone[i] for (i,) in few}
  for rows in (7, 64, 512):
    monkeypatch.setattr(searching, "ROWS", (rows,))
    assert search([by_length.tolist()]) == alone, rows
    assert search(cut(shuffled, rows)) == alone, rows
    assert search(cut(by_length[::-1], max(rows, 64)), [long]) == alone, rows


@pytest.mark.slow(trains=True)
def test_no_beam_scores_below_greedy_and_search_errors_fall(sources, params):
  """A search error: a wider beam, or a narrower one, knows a better output."""
  penalty = Search().penalty
  sizes = np.array([len(ids) for ids in sources])
  scores = {}
  for beam in (1, 4, 12):
    searcher, score_n = searcher_of(params, beam), np.full(1000, np.nan)
    for length, rows, indices in searcher.groups(sizes):
      source, constraint, _ = searcher.batch(
        [sources[i] for i in indices], [], rows, length
      )
      output = find(
        MODULE, searcher.search, searcher.params, source, constraint,
        length + EXTRA + 1,
      )  # fmt: skip
      score_b = penalty.normalise(output.logprob_bw[:, 0], output.length_bw[:, 0])
      score_n[indices] = score_b[: len(indices)]
    scores[beam] = score_n
  rounding = 1e-5 * np.abs(scores[1])
  assert (scores[4] >= scores[1] - rounding).all()
  assert (scores[12] >= scores[1] - rounding).all()
  best = np.max(list(scores.values()), axis=0)
  errors = {
    beam: int((best - found > rounding).sum()) for beam, found in scores.items()
  }
  print(f"search errors among 1,000 sentences by beam: {errors}")
  assert errors[1] > errors[4] > errors[12]


def outputs(params, sources, beam, mesh):
  """The outputs of all sources, on all devices or on one."""
  devices = Devices() if mesh is None else Devices.local(mesh)
  searcher = Searcher(
    MODULE, jax.device_put(params, devices.shardings(params)),
    Search(beam=beam, extra=EXTRA), devices=devices,
  )  # fmt: skip
  return {i: tuple(ids[ids > 0].tolist()) for i, ids in searcher.outputs(sources)}


@pytest.mark.slow(trains=True)
@pytest.mark.parametrize("beam", [1, 4])
def test_real_sentences_are_the_same_on_any_devices(
  eight_devices, sources, params, beam
):
  on_host = jax.tree.map(np.asarray, params)
  one, data, both = (
    eight_devices(outputs, on_host, sources, beam, mesh)
    for mesh in (None, Mesh(), Mesh(data=4, fsdp=2))
  )
  assert len(one) == 1000 and len(set(one.values())) > 500
  assert one == data == both
