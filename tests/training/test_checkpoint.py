"""Checkpoints: what stays, what is found damaged, and what is then fallen back to."""

import random
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from transformer import tree
from transformer.training.checkpoint import CheckpointMismatch, Checkpoints
from transformer.training.keep import Keep
from transformer.training.optimizers import Adam
from transformer.training.state import TrainState

RULE = Adam().transform(lambda count: 0.1)


def state_at(step, ema=True):
  rng = np.random.default_rng(step)
  params = {
    "a": jnp.float32(rng.normal(size=(3, 5))),
    "b": jnp.float32(rng.normal(size=7)),
  }
  average = jax.tree.map(lambda leaf: leaf * 0.5, params) if ema else None
  return TrainState.start(params, RULE).replace(step=jnp.int32(step), ema=average)


def shapes(state):
  sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  return jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), state
  )


def fill(path, steps, keep=Keep(), ranks=None):
  with Checkpoints(path, keep) as checkpoints:
    for step in steps:
      rank = ranks[step] if ranks else None
      checkpoints.save(state_at(step), {"what": f"step {step}"}, rank)
  with Checkpoints(path, keep) as checkpoints:
    return checkpoints.steps


@pytest.fixture(scope="module")
def three(tmp_path_factory):
  """Checkpoints of steps 1, 2 and 3, not to be changed."""
  path = tmp_path_factory.mktemp("checkpoints") / "three"
  assert fill(path, [1, 2, 3]) == [1, 2, 3]
  return path


def test_what_is_saved_comes_back_bit_for_bit(three):
  with Checkpoints(three) as checkpoints:
    state, note = checkpoints.restore(shapes(state_at(0)))
    assert tree.sha256(state) == tree.sha256(state_at(3))
    assert note["what"] == "step 3"
    state, note = checkpoints.restore(shapes(state_at(0)), 1)
    assert tree.sha256(state) == tree.sha256(state_at(1)) and note["what"] == "step 1"
    # The run is used with the average.
    used = checkpoints.restore_params(shapes(state_at(0).ema)).params
    assert tree.sha256(used) == tree.sha256(state_at(3).ema)


def test_without_an_average_the_parameters_are_used(tmp_path):
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(state_at(4, ema=False), {})
    checkpoints.wait()
    found = checkpoints.restore_params(shapes(state_at(0).params)).params
    assert tree.sha256(found) == tree.sha256(state_at(4).params)
    state, _ = checkpoints.restore(shapes(state_at(0, ema=False)))
    assert tree.sha256(state) == tree.sha256(state_at(4, ema=False))


RANKS = {1: 0.3, 2: 0.9, 3: None, 4: 0.1, 5: 0.9, 6: 0.2}


@pytest.mark.parametrize(
  "keep, stays",
  [
    (Keep(latest=2), [5, 6]),
    (Keep(latest=1, every=2), [2, 4, 6]),
    (Keep(latest=1, best=1), [2, 6]),
    (Keep(latest=1, best=3), [1, 2, 5, 6]),
    (Keep(latest=1, every=3, best=2), [2, 3, 5, 6]),
  ],
)
def test_what_stays(keep, stays, tmp_path):
  assert keep.kept(RANKS) == stays
  # One at a time, as a run does it, and across a restart.
  fill(tmp_path, [1, 2, 3], keep, RANKS)
  assert fill(tmp_path, [4, 5, 6], keep, RANKS) == stays


def test_a_keep_that_keeps_nothing_is_refused():
  for wrong in (dict(latest=0), dict(every=-1), dict(best=-1)):
    with pytest.raises(ValueError, match="expected latest of 1 or more"):
      Keep(**wrong)


def damage(file, rng):
  data = bytearray(file.read_bytes())
  if rng.random() < 0.25:
    del data[len(data) // 2 :]
  else:
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
  file.write_bytes(data)


def test_a_changed_byte_is_found_wherever_it_is(three, tmp_path):
  rng, fell = random.Random(0), 0
  files = [file for file in sorted((three / "3").rglob("*")) if file.is_file()]
  assert len(files) > 10
  for file in files:
    for _ in range(2):
      if not file.stat().st_size:
        continue
      shutil.rmtree(tmp_path)
      copy = shutil.copytree(three, tmp_path)
      damage(copy / file.relative_to(three), rng)
      with Checkpoints(copy) as checkpoints:
        state, note = checkpoints.restore(shapes(state_at(0)))
      # Some bytes mean nothing; but what comes back is always some step, whole.
      step = int(state.step)
      assert tree.sha256(state) == tree.sha256(state_at(step)), file
      assert note["what"] == f"step {step}"
      fell += step != 3
  assert fell > 8


def test_a_damaged_checkpoint_is_put_aside_and_may_be_saved_again(
  three, tmp_path, capsys
):
  copy = shutil.copytree(three, tmp_path / "copy")
  for step in (2, 3):
    (copy / str(step) / "note" / "metadata").write_text("{}")
  with Checkpoints(copy) as checkpoints:
    used = checkpoints.restore_params(shapes(state_at(0).ema)).params
    assert tree.sha256(used) == tree.sha256(state_at(1).ema)
    assert checkpoints.steps == [1, 2, 3], "reading changes nothing"
    state, _ = checkpoints.restore(shapes(state_at(0)))
    assert int(state.step) == 1 and checkpoints.steps == [1]
    checkpoints.save(state_at(3), {"what": "again"})
  assert sorted(p.name for p in copy.glob("damaged-*")) == ["damaged-2", "damaged-3"]
  warnings = [
    line for line in capsys.readouterr().err.splitlines() if "warning" in line
  ]
  assert len(warnings) == 4
  assert f"{copy / '3'}: damaged: its note" in warnings[0]
  assert warnings[0].endswith("trying the one before")
  with Checkpoints(copy) as checkpoints:
    assert checkpoints.restore(shapes(state_at(0)))[1]["what"] == "again"


def test_a_damaged_checkpoint_that_is_asked_for_is_refused(three, tmp_path):
  copy = shutil.copytree(three, tmp_path / "copy")
  with Checkpoints(copy) as checkpoints:
    for text in ("[]", "[" * 100_000):
      (copy / "3" / "note" / "metadata").write_text(text)
      with pytest.raises(ValueError, match="3: damaged: its note"):
        checkpoints.restore(shapes(state_at(0)), 3)
    with pytest.raises(FileNotFoundError, match=r"step 9; there are \[1, 2, 3\]"):
      checkpoints.restore(shapes(state_at(0)), 9)
  for step in (1, 2):
    shutil.rmtree(copy / str(step) / "params" / "d")
  with (
    Checkpoints(copy) as checkpoints,
    pytest.raises(ValueError, match="no other checkpoint is left"),
  ):
    checkpoints.restore(shapes(state_at(0)))


def test_a_value_changed_by_hand_is_found(three, tmp_path):
  """Whole and readable, but not what was saved: the checksum alone can tell."""
  copy = shutil.copytree(three, tmp_path / "copy")
  other = tmp_path / "other"
  with Checkpoints(other) as checkpoints:
    wrong = state_at(3)
    wrong = wrong.replace(
      ema=jax.tree.map(lambda leaf: leaf.at[0].add(1e-7), wrong.ema)
    )
    checkpoints.save(wrong, {})
  shutil.rmtree(copy / "3" / "params")
  shutil.copytree(other / "3" / "params", copy / "3" / "params")
  with (
    Checkpoints(copy) as checkpoints,
    pytest.raises(ValueError, match=r"params/a is not what was saved"),
  ):
    checkpoints.restore_params(shapes(state_at(0).ema), 3)


def test_another_model_is_not_taken_for_damage(three, tmp_path, capsys):
  """No older checkpoint is tried and nothing is renamed."""
  copy = shutil.copytree(three, tmp_path / "copy")
  params = {"a": jnp.zeros((3, 6)), "c": jnp.zeros(2)}
  wide = TrainState.start(params, RULE, ema=True)
  message = (
    r"3: the config does not match the checkpoint: a is \(3, 5\) in the checkpoint, "
    r"\(3, 6\) by the config; b is \(7,\) in the checkpoint, none by the config; "
    r"c is none in the checkpoint, \(2,\) by the config$"
  )
  with Checkpoints(copy) as checkpoints:
    with pytest.raises(CheckpointMismatch, match=message):
      checkpoints.restore(shapes(wide))
    with pytest.raises(CheckpointMismatch, match=message):
      checkpoints.restore_params(shapes(wide.params))
  assert sorted(p.name for p in copy.iterdir() if p.is_dir()) == ["1", "2", "3"]
  assert "warning" not in capsys.readouterr().err


@pytest.mark.parametrize("silent", [False, True])
def test_a_save_that_fails_says_which(tmp_path, monkeypatch, silent):
  checkpoints = Checkpoints(tmp_path)
  checkpoints.save(state_at(1), {})
  checkpoints.wait()
  checkpoints.save(state_at(2), {})
  real = checkpoints._manager.wait_until_finished

  def fail():
    real()
    shutil.rmtree(tmp_path / "2")
    if not silent:
      raise ValueError("NOT_FOUND: no such disk\nand more")

  monkeypatch.setattr(checkpoints._manager, "wait_until_finished", fail)
  reason = "is the disk full" if silent else r"NOT_FOUND: no such disk\); earlier"
  with pytest.raises(OSError, match=rf"step 2 could not be written \({reason}"):
    checkpoints.save(state_at(3), {})
