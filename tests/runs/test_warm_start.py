"""Runs that start from another's parameters, and frozen parameters."""

import dataclasses
import json
import re
import shutil

import jax
import numpy as np
import optax
import pytest

from tests.tiny import TINY
from tests.tiny_run import Now, digest, losses, train
from transformer import cli, experiment, tree
from transformer.axes import Weight
from transformer.layers.positions import Learned
from transformer.models.rnn import RNNSeq2Seq
from transformer.runs import trainer, warm_start
from transformer.runs.run import Run
from transformer.training.optimizers import Adafactor, Adam, Muon, frozen
from transformer.training.schedules import Schedule


@pytest.fixture
def parent(translation_run):
  """A finished run, not to be changed."""
  return translation_run


def child(path, parent, **changes):
  settings = dict(init=str(parent), seed=3, steps=2, eval_every=2, save_every=1)
  return train(path, **settings | changes)


def leaves(path, step=None):
  return {k: np.asarray(v) for k, v in tree.paths(Run.open(path).params(step)).items()}


def test_a_run_starts_from_anothers_parameters_and_says_so(parent, tmp_path, capsys):
  still = dict(schedule=Schedule(rate=0.0), steps=1)
  assert child(tmp_path / "run", parent, **still) == 0
  assert digest(tmp_path / "run") == digest(parent)
  err = capsys.readouterr().err
  assert f"run: starts from {parent}: " in err and "none new" in err
  assert "made from the training data" not in err
  names = "tokenizer.model"
  assert (tmp_path / "run" / names).read_bytes() == (parent / names).read_bytes()
  assert cli.main(["info", str(tmp_path / "run"), "--json"]) == 0
  found = json.loads(capsys.readouterr().out)["init"]
  assert found == {"run": str(parent), "parameters_sha256": digest(parent)}


def test_the_tokenizer_is_the_parents_and_another_setting_is_named(
  parent, tmp_path, capsys
):
  other = dataclasses.replace(TINY.tokenizer, vocabulary=600, bpe_dropout=0.1)
  assert child(tmp_path / "run", parent, tokenizer=other) == 0
  found = Run.open(tmp_path / "run")
  assert found.tokenizer.size == found.config.tokenizer.vocabulary == 560
  assert found.config.tokenizer.bpe_dropout == 0.1
  line = "SentencePiece(vocabulary=560, bpe_dropout=0.1), in place of"
  err = capsys.readouterr().err
  assert f"the tokenizer is that of {parent}, {line} SentencePiece(" in err
  # Neither when it is resumed nor when it is the same, is there anything to say.
  assert child(tmp_path / "run", parent, tokenizer=other, steps=3) == 0
  assert "in place of" not in capsys.readouterr().err


@pytest.mark.slow
def test_what_matches_is_taken_and_the_rest_is_initialised(parent, tmp_path, capsys):
  model = dataclasses.replace(TINY.model, d_ff=28, position=Learned(31))
  still = dict(schedule=Schedule(rate=0.0), steps=1, model=model)
  assert child(tmp_path / "run", parent, **still) == 0
  assert train(tmp_path / "fresh", seed=3, **still) == 0
  found, old, new = (leaves(p) for p in (tmp_path / "run", parent, tmp_path / "fresh"))
  for path, leaf in found.items():
    fits = path in old and old[path].shape == leaf.shape
    source = old if fits else new
    np.testing.assert_array_equal(leaf, source[path], path)
  line = next(x for x in capsys.readouterr().err.splitlines() if " taken (" in x)
  assert re.search(
    r"6 of another shape initialised \(decoder/\S+ is \(.*\) there and \(.*28.*\) "
    r"here; .*; and 3 more\), 2 new \(decoder/position_encoding, ",
    line,
  ), line


@pytest.mark.slow
def test_a_stopped_run_needs_its_parent_no_more_and_keeps_its_origin(
  parent, tmp_path, monkeypatch, capsys
):
  assert child(tmp_path / "whole", parent) == 0
  gone = shutil.copytree(parent, tmp_path / "gone")
  with monkeypatch.context() as patch:
    patch.setattr(trainer, "Interrupt", Now)
    assert child(tmp_path / "run", gone) == trainer.INTERRUPTED
  shutil.rmtree(gone)
  assert child(tmp_path / "run", gone) == 0
  assert losses(tmp_path / "run") == losses(tmp_path / "whole")
  assert digest(tmp_path / "run") == digest(tmp_path / "whole")
  capsys.readouterr()
  assert cli.main(["info", str(tmp_path / "run"), "--json"]) == 0
  assert json.loads(capsys.readouterr().out)["init"]["run"] == str(gone)


def test_a_moving_average_starts_there_too(parent, tmp_path):
  still = dict(schedule=Schedule(rate=0.0), steps=1, ema=0.9)
  assert child(tmp_path / "run", parent, **still) == 0
  found, wanted = leaves(tmp_path / "run"), leaves(parent)
  # 0.1 x + 0.9 x is not always x.
  for path in wanted:
    np.testing.assert_allclose(found[path], wanted[path], rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("prefix", ["encoder", "decoder/layers/self_sublayer"])
def test_frozen_parameters_stay_and_the_others_move(parent, tmp_path, prefix):
  assert child(tmp_path / "run", parent, freeze=(prefix,)) == 0
  old, new = leaves(parent), leaves(tmp_path / "run")
  stay = {path for path in old if path.startswith(prefix + "/")}
  assert 0 < len(stay) < len(old)
  for path in old:
    assert np.array_equal(old[path], new[path]) == (path in stay), path


@pytest.mark.parametrize("optimizer", [Adam(clip=0.1, decay=0.1), Muon(), Adafactor()])
def test_what_is_frozen_has_no_state_and_no_effect(optimizer):
  params = {
    "encoder": {"w": np.ones((3, 5), np.float32)},
    "encoder_head": np.ones(7, np.float32),
  }
  rest = {"encoder_head": params["encoder_head"]}
  weights = {
    "encoder": {"w": Weight(None, ("d", "f"))},
    "encoder_head": Weight(None, ("d",)),
  }
  rule = optimizer.transform(lambda count: 0.1, weights)
  held = frozen(rule, ("encoder",))
  state = held.init(params)
  assert tree.size(state) == tree.size(rule.init(rest))
  gradient = {"encoder": {"w": 1e6 * params["encoder"]["w"]}, **rest}
  found, _ = held.update(gradient, state, params)
  assert not np.any(found["encoder"]["w"])
  alone, _ = rule.update(rest, rule.init(rest), rest)
  np.testing.assert_array_equal(found["encoder_head"], alone["encoder_head"])
  assert optax.apply_updates(params, found)["encoder"]["w"].shape == (3, 5)


def test_bad_settings_leave_nothing_behind(parent, tmp_path):
  empty = shutil.copytree(parent, tmp_path / "empty")
  shutil.rmtree(empty / "checkpoints")
  for changes, error, message in (
    (dict(init=str(tmp_path / "none")), FileNotFoundError, "none: not a run"),
    (dict(init=str(empty)), FileNotFoundError, "empty: no checkpoint; train it first"),
    (dict(model=RNNSeq2Seq(d_model=20)), ValueError, "no parameter in common"),
    (dict(freeze=("encodr",)), ValueError, "begins with 'encodr'; did you mean enc"),
    (dict(freeze=("e",)), ValueError, "begins with 'e'"),
    (dict(freeze=("encoder", "decoder", "embedding")), ValueError, "names every"),
  ):
    with pytest.raises(error, match=message) as found:
      child(tmp_path / "run", parent, **changes)
    assert "\n" not in str(found.value)
    assert not (tmp_path / "run").exists()


def test_a_damaged_parent_gets_one_line(parent, tmp_path):
  broken = shutil.copytree(parent, tmp_path / "broken")
  other = TINY.task.make_vocabulary(
    dataclasses.replace(TINY.data, seed=5), TINY.tokenizer
  )
  (broken / "tokenizer.model").write_bytes(other)
  with pytest.raises(
    ValueError, match=r"--config\.init: .*broken: tokenizer\.model is"
  ):
    child(tmp_path / "run", broken)
  (broken / "tokenizer.model").write_bytes(b"no model")
  with pytest.raises(ValueError, match=r"--config\.init: .*the model is damaged"):
    child(tmp_path / "other", broken)
  assert not (tmp_path / "other").exists()


def test_another_origin_is_another_run():
  changed = dataclasses.replace(TINY, init="runs/x")
  assert experiment.resume_conflicts(TINY, changed) == [
    "init: '' in the run, 'runs/x' now"
  ]


def test_the_state_is_sharded_as_it_was(parent):
  from transformer.training.mesh import Mesh
  from transformer.training.state import (
    abstract_state,
    abstract_weights,
    create_state,
    init_state,
  )

  run = Run.open(parent)
  weights = abstract_weights(run.module(), run.config.model.example())
  rule = run.config.gradient_transformation(weights)
  init = init_state(run.module(), run.config.model.example(), rule, jax.random.key(5))
  abstract = abstract_state(init, Mesh().build())
  state = warm_start.warm_start(create_state(init, abstract), run.params())
  same = jax.tree.map(lambda a, b: a.sharding == b.sharding, state, abstract)
  assert jax.tree.all(same)
  assert tree.sha256(state.params) == digest(parent)


def test_shapes_that_differ_are_named(translation_run):
  params = Run.open(translation_run).abstract_params()
  wider = jax.tree.map(lambda x: jax.ShapeDtypeStruct((*x.shape, 2), x.dtype), params)
  with pytest.raises(ValueError) as error:
    warm_start.check_any_match(wider, params, "Transformer", "runs/a")
  text = str(error.value)
  assert text.startswith(
    "--config.init: runs/a and this Transformer have no parameter of the same shape in "
    "common: "
  )
  path, leaf = next(iter(tree.paths(params).items()))
  assert f"{path} is {leaf.shape} there and {(*leaf.shape, 2)} here" in text
