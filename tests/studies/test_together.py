"""The seeds of a row as one program: each its own run, and all that is refused."""

import dataclasses
import shutil

import numpy as np
import pytest

from tests.runs.test_run import digest
from tests.studies.test_ablate import BASE
from transformer import trainer, tree
from transformer.data.batching import Grouped
from transformer.runs.metrics import Metrics
from transformer.runs.run import Run
from transformer.studies.together import opened, part, stack
from transformer.training.schedules import Schedule


def seeds_of(tmp_path, name):
  base = dataclasses.replace(BASE, schedule=Schedule(1e-3))
  experiments = [dataclasses.replace(base, seed=seed) for seed in (3, 5)]
  folders = [tmp_path / name / str(config.seed) for config in experiments]
  return experiments, folders


def losses(path):
  return [v for _, name, v in Metrics.read(path) if name == "train/loss"]


def test_seeds_together_are_each_seeds_own_run(tmp_path):
  """And they go on from the last step that all have: as if killed while saving, one
  seed here is a checkpoint behind, and the other is done."""
  experiments, folders = seeds_of(tmp_path, "together")
  _, alone = seeds_of(tmp_path, "alone")
  for config, path in zip(experiments, alone, strict=True):
    assert trainer.train(config, path) == 0
  shutil.copytree(alone[0], folders[0])
  shutil.copytree(alone[1], folders[1])
  shutil.rmtree(folders[1] / "checkpoints" / "4")
  for begin in (2, 0):
    with opened(experiments, folders) as seeds:
      assert begin or seeds.ratio().together > 0
      assert seeds.go() == 0
    for path, other in zip(folders, alone, strict=True):
      assert len(losses(path)) == 4
      np.testing.assert_allclose(losses(path), losses(other), rtol=1e-5)
      ours, wanted = (tree.paths(Run.open(p).params()) for p in (path, other))
      for name in wanted:
        # Adam may turn the rounding of a gradient near zero into a whole update.
        assert np.abs(ours[name] - wanted[name]).mean() < 2e-5, name
      assert (path / "report.md").is_file()
      shutil.rmtree(path)
  assert losses(alone[0]) != losses(alone[1])


def test_seeds_together_begin_with_another_run(tmp_path):
  (one, other), folders = seeds_of(tmp_path, "together")
  parent = tmp_path / "parent"
  assert trainer.train(dataclasses.replace(one, steps=2), parent) == 0
  still = dict(init=str(parent), schedule=Schedule(0.0))
  experiments = [dataclasses.replace(c, **still) for c in (one, other)]
  with opened(experiments, folders) as seeds:
    assert seeds.go() == 0
  for path in folders:
    assert digest(path) == digest(parent)


def test_seeds_whose_steps_differ_in_shape_are_refused(tmp_path):
  experiments, folders = seeds_of(tmp_path, "together")
  grouped = Grouped(tokens=192, lengths=(24, 48))
  experiments = [dataclasses.replace(c, batching=grouped) for c in experiments]
  with (
    pytest.raises(ValueError, match="more than one shape"),
    opened(experiments, folders),
  ):
    pass


def test_stack_and_part_are_inverse():
  trees = [{"a": np.full((2, 3), i), "b": np.array(i)} for i in range(4)]
  for i, one in enumerate(trees):
    found = part(stack(trees), i)
    assert all(np.array_equal(found[name], one[name]) for name in one)
