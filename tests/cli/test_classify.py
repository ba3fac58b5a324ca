"""The lines of `transformer classify`."""

import json

from transformer.cli.classify import format_result
from transformer.tasks.classification import Prediction

PREDICTION = Prediction("a\tb", ("x\ty", "z"), (0.75, 0.25))


def test_a_tab_in_a_text_or_a_class_shifts_no_column():
  line = format_result(PREDICTION, 2, as_object=False)
  assert line.split("\t") == ["a b", "x y", "0.7500", "z", "0.2500"]


def test_json_keeps_tabs():
  record = json.loads(format_result(PREDICTION, 1, as_object=True))
  assert record == {
    "input": "a\tb",
    "classes": [{"class": "x\ty", "probability": 0.75}],
  }
