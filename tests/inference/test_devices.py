"""Many devices give the outputs and the scores of one; on 8 virtual devices."""

import importlib
import re

import jax
import numpy as np
import pytest
from flax import linen as nn

from tests.models.test_family import small
from transformer.batch import EOS
from transformer.decoding.samplers import TopP
from transformer.inference.devices import Devices
from transformer.inference.generate import Generation
from transformer.inference.score import score_targets
from transformer.inference.search import Search, Searcher, find
from transformer.models.transformer import Transformer
from transformer.runs.generator import Generator
from transformer.runs.run import Run
from transformer.runs.translator import Translator
from transformer.tasks.base import EvaluationInputs
from transformer.training.mesh import Mesh

V = 40
MODULE = small(Transformer).module(V)
ROWS = Mesh(data=8)
ROWS_AND_WEIGHTS = Mesh(data=2, fsdp=2, tensor=2)
ROUNDING = 1e-5


def build(mesh: Mesh | None) -> Devices:
  return Devices() if mesh is None else Devices.local(mesh)


def random_params(devices: Devices):
  """The same on any devices."""

  def make():
    return MODULE.init(jax.random.key(1), small(Transformer).example())["params"]

  shardings = devices.shardings(jax.eval_shape(make))
  params = nn.unbox(jax.jit(make)())
  return jax.tree.map(jax.device_put, params, shardings)


def random_sources(count: int) -> list[np.ndarray]:
  rng = np.random.default_rng(0)
  sizes = rng.integers(0, 15, count)
  return [np.append(rng.integers(4, V, n), EOS).astype(np.int32) for n in sizes]


def found(mesh: Mesh | None, search: Search):
  """The tokens, scores and target scores of 50 random sources, by number."""
  devices, sources = build(mesh), random_sources(50)
  searcher = Searcher(MODULE, random_params(devices), search, devices=devices)
  outputs = dict(searcher.search_all(sources, seed=3))
  scores = {i: score for i, _, score in score_targets(searcher, sources, sources[::-1])}
  return {
    i: (output.token_bwt, output.score_bw, scores[i]) for i, output in outputs.items()
  }


GREEDY = Search(beam=1, extra=5)
BEAM = Search(beam=3, extra=5, n_best=2)
SAMPLING = Search(beam=1, extra=5, n_best=2, sampler=TopP(0.9))


@pytest.mark.parametrize(
  "mesh, search",
  [
    (ROWS, GREEDY),
    (ROWS, SAMPLING),
    (ROWS_AND_WEIGHTS, BEAM),
    pytest.param(ROWS, BEAM, marks=pytest.mark.slow),
    pytest.param(ROWS_AND_WEIGHTS, GREEDY, marks=pytest.mark.slow),
    pytest.param(ROWS_AND_WEIGHTS, SAMPLING, marks=pytest.mark.slow),
  ],
)
def test_many_devices_find_what_one_does(eight_devices, mesh, search):
  one, many = (eight_devices(found, each, search) for each in (None, mesh))
  assert len(one) == len(many) == 50
  assert len({tokens.tobytes() for tokens, _, _ in one.values()}) > 15
  for i, (tokens, scores, target_score) in one.items():
    np.testing.assert_array_equal(many[i][0], tokens, err_msg=str(i))
    np.testing.assert_allclose(many[i][1], scores, atol=ROUNDING)
    np.testing.assert_allclose(many[i][2], target_score, atol=ROUNDING)


def program(mesh: Mesh | None, rows: int):
  """FLOPs of the compiled search for so many rows on one device, and the names of the
  collectives in it."""
  devices = build(mesh)
  search = Search(beam=3, extra=5)
  searcher = Searcher(MODULE, random_params(devices), search, devices=devices)
  batch = searcher.batch(random_sources(8)[1:], [], rows, 32)
  source, constraint, seed_b = devices.put(batch)
  compiled = find.lower(
    MODULE, search, searcher.params, source, constraint, 38, jax.random.key(0), seed_b,
    devices,
  ).compile()  # fmt: skip
  names = r" (all-\w+|collective-permute|reduce-scatter)(?:-start)?\("
  return compiled.cost_analysis()["flops"], set(re.findall(names, compiled.as_text()))


def test_a_device_computes_its_share_without_waiting_for_the_others(eight_devices):
  flops, _ = eight_devices(program, None, 64)
  share, collectives = eight_devices(program, Mesh(data=8), 64)
  assert share == pytest.approx(flops / 8, rel=0.01)
  assert collectives == set()
  share, collectives = eight_devices(program, Mesh(data=4, tensor=2), 64)
  assert share < 1.2 * flops / 8
  assert "all-reduce" in collectives


def translated(path, mesh: Mesh | None):
  """The outputs of a translation run's held-out sources."""
  sources = [pair.source for pair in Run.open(path).config.data.open("val")]
  search = Search(beam=2, extra=5)
  translator = Translator.open(path, search, devices=build(mesh))
  return [
    (each.text, each.tokens)
    for ranked in translator.hypotheses(sources)
    for each in ranked
  ]


@pytest.mark.slow
def test_translations_and_scores_of_a_run_are_those_of_one_device(
  eight_devices, translation_run
):
  one, many = (eight_devices(translated, translation_run, m) for m in (None, Mesh()))
  assert one == many and len(one) == 12
  assert_scores_of_one_device(eight_devices, translation_run)


def generated(path, mesh: Mesh | None):
  """Texts that a language model samples after four prompts."""
  recipe = Generation(max_length=6, samples=3, seed=5, sampler=TopP(0.9))
  generator = Generator.open(path, recipe, devices=build(mesh))
  return list(generator.texts(["the cat", "two", "", "on a"]))


@pytest.mark.slow
def test_samples_and_scores_of_a_language_model_are_those_of_one_device(
  eight_devices, language_run
):
  one, many = (eight_devices(generated, language_run, m) for m in (None, Mesh()))
  assert one == many and len(one) == 4
  assert_scores_of_one_device(eight_devices, language_run)


def evaluated(path, mesh: Mesh | None, modules: tuple[str, ...] = ()):
  """The scores and samples of a run's evaluation; `modules` define its recipes."""
  for module in modules:
    importlib.import_module(module)
  run, devices = Run.open(path), build(mesh)
  inputs = EvaluationInputs(
    run.module(), run.params(devices=devices), run.config.data, run.vocabulary, "val",
    run.cache, False, devices,
  )  # fmt: skip
  scores, samples = run.config.task.evaluate(inputs)
  return dict(scores), samples.rows


def assert_scores_of_one_device(eight_devices, path, *modules):
  """An evaluation has the scores and samples of one device on eight."""
  one, one_rows = eight_devices(evaluated, path, None, modules)
  many, many_rows = eight_devices(evaluated, path, Mesh(), modules)
  assert one.keys() == many.keys() and one_rows == many_rows
  for name, score in one.items():
    if isinstance(score, float):
      score = pytest.approx(score, abs=ROUNDING)
    assert many[name] == score, name


def test_a_mesh_that_does_not_fit_is_refused():
  with pytest.raises(ValueError, match=r"Mesh\(.*fsdp=2.* does not fit 1 devices"):
    Devices.local(Mesh(fsdp=2))
  with pytest.raises(ValueError, match="sequence splits the tokens"):
    Devices.local(Mesh(sequence=-1, data=1))
