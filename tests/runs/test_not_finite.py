"""A run whose parameters are not finite is refused by every verb that would compute
with them."""

import shutil

import jax
import numpy as np
import pytest

from tests.server.runs import STORY, write_run
from transformer import cli, tree
from transformer.runs.run import Run

VERBS = {
  "translate": ("translation", ("1 May 2000",)),
  "score": ("translation", ("--source", "{text}", "--reference", "{text}")),
  "evaluate": ("translation", ("--split", "test")),
  "embed": ("translation", ("1 May 2000",)),
  "generate": ("language", ("the cat",)),
  "classify": ("questions", ("--json", STORY)),
  "fill": ("fill", ("Ital[MASK]",)),
}


def poison(path, value):
  """Replaces the checkpoints of a run by one with a parameter that has `value`."""
  run = Run.open(path)
  params = jax.tree.map(np.array, run.params())
  name, leaf = list(tree.paths(params).items())[-1]
  leaf.flat[-1] = value
  shutil.rmtree(path / "checkpoints")
  with run.checkpoints() as checkpoints:
    checkpoints.save_params(7, params, {"tokenizer_sha256": run.vocabulary.sha256})
  return name


@pytest.mark.parametrize("verb", VERBS)
def test_a_run_that_is_not_finite_is_refused(
  verb, translation_run, language_run, tmp_path, capsys
):
  kind, words = VERBS[verb]
  trained = {"translation": translation_run, "language": language_run}
  if kind in trained:
    path = shutil.copytree(trained[kind], tmp_path / "run")
  else:
    path = write_run(kind, tmp_path)
  text = tmp_path / "text"
  text.write_text("1 May 2000\n")
  name = poison(path, np.nan if verb != "score" else -np.inf)
  capsys.readouterr()
  status = cli.main([verb, str(path), *(word.format(text=text) for word in words)])
  out, err = capsys.readouterr()
  assert status == 1 and out == "", (out, err)
  assert err == (
    f"error: {path}/checkpoints/7: {name}: not finite (NaN or infinite), so there is "
    "nothing to compute with; take another checkpoint (there are [7]), or train it "
    "again\n"
  )


def test_finite_arrays_are_told_from_others():
  for dtype in (np.float32, np.float16, jax.numpy.bfloat16):
    array = np.arange(35, dtype=np.float32).reshape(5, 7).astype(dtype)
    assert tree.is_finite(array) and tree.is_finite(-array)
    for value in (np.nan, np.inf, -np.inf):
      wrong = array.copy()
      wrong[3, 4] = value
      assert not tree.is_finite(wrong), (dtype, value)
  assert tree.is_finite(np.zeros((0, 3), np.float32))
  assert tree.is_finite(np.array([True])) and tree.is_finite(np.uint8(3))
