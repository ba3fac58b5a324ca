"""What the figures of studies draw."""

from types import SimpleNamespace

import matplotlib.pyplot as plt
import pytest

from transformer.studies import figures, row_results
from transformer.studies.row_results import RowResults
from transformer.studies.rows import Row


@pytest.fixture
def axis():
  """An empty panel."""
  figure, axis = plt.subplots()
  yield axis
  plt.close(figure)


def row(name: str, *values: float, line: str = "") -> RowResults:
  """A row with a score `bleu` of each seed."""
  results = [SimpleNamespace(scores={"bleu": value}) for value in values]
  return RowResults(Row(name, line=line), None, "", None, results=results)


def test_a_line_goes_from_left_to_right_whatever_the_order_of_its_rows(axis):
  points = [
    (4, row_results.summarise([1.0])),
    (1, row_results.summarise([2.0])),
    (2, None),
  ]
  figures.line(axis, 0, "a", points)
  assert axis.lines[0].get_xdata().tolist() == [1, 4]
  assert axis.lines[0].get_ydata().tolist() == [2.0, 1.0]


def test_a_mean_beyond_the_limits_is_written_at_their_edge(axis):
  rows = [row("a", 10.0, 12.0), row("b", 0.5, 1.5), row("c", 98.0, 99.0), row("d")]
  figures.dots(axis, rows, "bleu", rows[0], (5.0, 20.0))
  assert axis.get_xlim() == (5.0, 20.0)
  shown = [(text.get_text(), text.get_position()) for text in axis.texts]
  assert shown == [("← 1", (5.0, 1)), ("98.5 →", (20.0, 2))]
  means = [bar.lines[0].get_data() for bar in axis.containers]
  assert [(x.tolist(), y.tolist()) for x, y in means] == [([11.0], [0])]


def test_a_mean_that_is_not_finite_is_written_in_the_middle(axis):
  rows = [row("a", 1.0, float("nan")), row("b", 1.0, 3.0)]
  figures.dots(axis, rows, "bleu", rows[0], (0.0, 5.0))
  shown = [(text.get_text(), text.get_position()) for text in axis.texts]
  assert shown == [("nan", (0.5, 0))]


def test_each_drawn_column_has_limits_or_none_has():
  with pytest.raises(ValueError, match="expected one of each column"):
    figures.DotPlot(("a", "b"), ((0.0, 1.0),))


def test_a_panel_for_each_line_has_the_rows_in_the_same_order(monkeypatch, tmp_path):
  """A row that a line lacks leaves a gap."""
  drawn = []
  monkeypatch.setattr(figures, "dots", lambda *words: drawn.append(words[1:4]))
  rows = [
    row("a", 1.0, line="short"),
    row("b", 2.0, line="short"),
    row("b, long", 3.0, line="long"),
  ]
  figure = figures.DotPlotByLine("bleu")
  assert figure.draw(tmp_path / "a.png", "Rows", rows, ("bleu",), ())
  first, second = drawn
  assert first == ([rows[0], rows[1]], "bleu", rows[0])
  assert second == ([None, rows[2]], "bleu", None)
