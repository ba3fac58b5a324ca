"""What `ablate` says of study files and of the directories of studies."""

STUDY = """
from tests.tiny import TINY
from transformer.studies.budget import TargetTokens
from transformer.studies.claims import Claims
from transformer.studies.rows import MatchParameters, Row
from transformer.studies.study import Study

def get_study():
  return {}
"""


def test_studies(case):
  path = case.folder / "study"

  def ablate(made, *words):
    file = case.write("study.py", STUDY.format(made))
    return case.call("ablate", file, "--workdir", path, *words)

  answer = ablate("Study('t', TINY, (Row('a'),), seeds=3)")
  case.assert_sees("a field of a study is of another type", answer)
  answer = ablate("Study('t', TINY, (Row('..'),))")
  case.assert_sees("a row's name is that of no directory", answer)
  matched = "Study('t', TINY, (Row('a'), Row('b', {!r}, match=MatchParameters({!r}))))"
  answer = ablate(matched.format({"model.layers": 3}, "model.heads"))
  case.assert_sees("a row is matched by what does not change its size", answer)
  answer = ablate(matched.format({"model.d_model": 64}, "model.layers"))
  case.assert_sees("a row is too large at any matched size", answer)
  answer = ablate("Study('t', TINY, (Row('a'),))", "--config.seed=3")
  case.assert_sees("one seed is given to a study", answer)
  answer = ablate("Claims('t', ())", "--seeds", 1)
  case.assert_sees("seeds are given where nothing is trained", answer)
  assert not path.exists()

  budget = "Study('t', TINY, (Row('a'),), budget=TargetTokens(9))"
  assert ablate(budget, "--count")[0] == 0
  case.write("study/budget.json", "[]")
  case.assert_sees("the measured budget is damaged", ablate(budget, "--count"))
  (path / "budget.json").unlink()
  (path / "table.csv").unlink()
  (path / "table.csv").mkdir()
  case.assert_sees("a table is a directory", ablate(budget, "--count"))
  (path / "table.md").unlink()
  case.assert_sees("the directory is no study's", ablate(budget, "--count"))
