"""Rows of a study: what they change, and sizes matched to the base."""

import dataclasses

import pytest

from tests.studies.test_ablate import BASE, STUDY
from transformer.analysis.counts import count
from transformer.config import override
from transformer.layers.feedforward import SwiGLU
from transformer.layers.norms import RMSNorm
from transformer.layers.positions import Learned
from transformer.studies.rows import Match, MatchFlops, MatchParameters, Row


def test_a_row_that_changes_what_is_no_setting_is_refused():
  for changes, message in (
    ({"model.layer": 3}, r"row 'x': model.layer: no such field; did you mean layers"),
    ({"model.layers": "3"}, r"row 'x': model.layers: expected an integer, got '3'"),
    ({"model.heads": 3}, r"row 'x': model.d_model: expected a multiple of model.heads"),
    ({"steps.x": 3}, r"row 'x': steps.x: steps is 4, without fields"),
  ):
    study = dataclasses.replace(STUDY, rows=(Row("x", changes),), published=())
    with pytest.raises(ValueError, match=message):
      study.configs()


def test_changes_are_shown_as_on_the_command_line():
  row = Row(
    "x", {"model.position": Learned(length=7), "model.norm": RMSNorm(), "ema": 0.5}
  )
  assert row.shown == (
    "model.position=Learned(length=7)",
    "model.norm=RMSNorm()",
    "ema=0.5",
  )
  config = BASE
  for text in row.shown:
    config = override(config, *text.split("=", 1))
  assert row.apply(BASE) == config


@pytest.mark.parametrize(
  "kind, field", [(MatchParameters, "parameters"), (MatchFlops, "flops")]
)
def test_matched_rows_cost_what_the_base_costs(kind, field):
  rows = (Row("base"), Row("gated", {"model.feed_forward": SwiGLU()}, match=kind()))
  (base, none), (gated, chosen) = dataclasses.replace(
    STUDY, rows=rows, published=()
  ).configs()
  assert none == "" and gated.model.feed_forward == SwiGLU()
  size = gated.model.d_ff
  assert chosen == f"model.d_ff={size}" and size < base.model.d_ff

  def away(d_ff):
    model = dataclasses.replace(gated.model, d_ff=d_ff)
    made = dataclasses.replace(gated, model=model)
    return abs(getattr(count(made), field) - getattr(count(base), field))

  assert away(size) <= min(away(size - 1), away(size + 1))
  assert away(size) < away(base.model.d_ff)


def test_layers_can_be_matched_and_what_cannot_is_said():
  by_layers = MatchParameters(field="model.layers")
  rows = (Row("base", {"model.layers": 6}), Row("wider", {"model.d_ff": 72}))
  rows = (rows[0], dataclasses.replace(rows[1], match=by_layers))
  configs = dataclasses.replace(STUDY, rows=rows, published=()).configs()
  assert configs[1][0].model.layers < 6

  def match(field: str) -> MatchParameters:
    return MatchParameters(f"model.{field}")

  for row, message in (
    (Row("x", match=MatchParameters("log_every")), "log_every does not change the"),
    # However many heads share the width, the layer too many stays.
    (Row("x", {"model.layers": 7}, match=match("heads")), "model.heads does not"),
    (Row("x", {"model.d_model": 64}, match=match("layers")), "even at model.layers=1"),
  ):
    with pytest.raises(ValueError, match=f"row 'x': match: {message}"):
      dataclasses.replace(STUDY, rows=(Row("base"), row), published=()).configs()
  assert Match().fit(BASE, BASE) == (BASE, "")


def test_flops_are_three_forward_passes():
  """By hand: one layer each way; products with weights, and of attention."""
  model = dataclasses.replace(BASE.model, layers=1)
  shape = BASE.batching.shapes[0]
  d, f, v, s = model.d_model, model.d_ff, BASE.tokenizer.vocabulary, shape.source
  weights = 3 * 4 * d * d + 2 * 2 * d * f + v * d
  attention = 3 * 2 * s * d
  found = count(dataclasses.replace(BASE, model=model))
  assert found.flops == pytest.approx(3 * 2 * (weights + attention))
