"""The studies in configs/studies: whole, true to the paper, and what they measure."""

import ast
import csv
import inspect
import itertools
import re
import shlex
import typing
from pathlib import Path

import numpy as np
import pytest

from tests.oracles import table3
from transformer import config as configs
from transformer import experiment
from transformer.analysis.counts import flops, parameters
from transformer.cli import main
from transformer.data.sources.dates import ManyDates
from transformer.experiment import Config
from transformer.studies.claims import Claim, Claims
from transformer.studies.study import Study, read

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "studies"
FILES = sorted(FOLDER.glob("*.py"))


def choices():
  """Every file, with each value of each of its options."""
  for path in FILES:
    options = inspect.signature(experiment.load_function(path, "get_study")).parameters
    for name, parameter in options.items():
      for value in typing.get_args(parameter.annotation):
        yield pytest.param(path, [(name, value)], id=f"{path.stem}-{value}")
    if not options:
      yield pytest.param(path, [], id=path.stem)


@pytest.mark.parametrize("path, options", choices())
def test_a_study_is_whole(path, options):
  study = read(path, options)
  for word in ("Claim:", "Command:", "Cost:", "Result:"):
    assert word in path.read_text()
  if isinstance(study, Claims):
    assert study.claims
    return
  assert isinstance(study, Study)
  for config, _ in study.configs():
    assert configs.loads(Config, configs.dumps(config)) == config


def of_table3(scale):
  study = read(FOLDER / "table3.py", [("scale", scale)])
  return study, dict(zip((r.name for r in study.rows), study.configs(), strict=True))


def test_table_3_is_the_papers():
  study, made = of_table3("paper")
  assert len(study.rows) == len(table3.ROWS) == 20
  for ours, row in zip(study.rows, table3.ROWS, strict=True):
    group, _, name = ours.name.rpartition(": ")
    assert (group or ours.name, name) == (row.group, row.name)
    millions, perplexity, bleu = ours.published
    assert (perplexity, bleu) == (row.perplexity, row.bleu)
    assert millions == (row.millions and row.millions * 1e6)
    full, (config, _) = table3.complete(row), made[ours.name]
    model = config.model
    found = model.layers, model.d_model, model.d_ff, model.heads, model.key_width
    assert found == (full.layers, full.d_model, full.d_ff, full.heads, full.d_k)
    assert model.value_width == full.d_v
    assert (model.dropout, config.task.smoothing) == (full.dropout, full.smoothing)
    assert config.steps == full.steps
    if row.millions and row is not table3.BIG:
      assert round(parameters(config) / 1e6) == row.millions
  # docs/papers.md: no vocabulary fits the big row and the others.
  assert parameters(made["big"][0]) / 1e6 == pytest.approx(213, abs=5.5)


def test_the_small_scale_moves_parameters_as_the_paper_does():
  (_, large), (_, small) = of_table3("paper"), of_table3("small")
  assert list(large) == list(small)
  base, small_base = (parameters(made["base"][0]) for made in (large, small))
  order = []
  for name in large:
    wanted = parameters(large[name][0]) / base
    found = parameters(small[name][0]) / small_base
    order.append((wanted, found))
    assert np.sign(found - 1) == np.sign(wanted - 1), name
  by_large = sorted({pair for pair in order if pair[0] != 1})
  assert all(x < y for (_, x), (_, y) in itertools.pairwise(by_large))


@pytest.mark.parametrize(
  ("name", "size"),
  [
    ("families", parameters),
    ("multi30k", flops),
    ("data_size", parameters),
    ("pretraining", parameters),
  ],
)
def test_networks_are_compared_at_one_size(name, size):
  study = read(FOLDER / f"{name}.py", [])
  configs_ = [config for config, _ in study.configs()]
  assert len({type(config.model) for config in configs_}) >= 2
  counts = [size(config) for config in configs_]
  assert max(counts) < 1.04 * min(counts)


def test_the_study_of_pre_training_names_the_commands_of_its_parents():
  path = FOLDER / "pretraining.py"
  commands = ast.get_docstring(ast.parse(path.read_text())).replace("\\\n", " ")
  parents = {}
  for words in map(shlex.split, re.findall(r"python train\.py (.*)", commands)):
    config, workdir = words[words.index("--config") + 1], words[3]
    parents[workdir] = experiment.read_config(FOLDER.parents[1] / config)
    for name, text in re.findall(r"--config\.(\S+?)=(\S+)", " ".join(words)):
      parents[workdir] = configs.override(parents[workdir], name, text)
  made = [config for config, _ in read(path, []).configs()]
  assert {config.init for config in made} == {"", *parents}
  for config in made:
    if config.init:
      parent = parents[config.init]
      assert parent.model == config.model
      # Of equally many classes the head would be taken too.
      assert len(parent.data.classes()) != len(config.data.classes())
  assert sorted(parent.steps for parent in parents.values()) == [2000, 2000, 6000]


def test_classes_count_as_the_vocabulary():
  patches, places, first, last = 4 * 64 + 64, 17 * 64, 64, 2 * 64
  layer = 4 * 64 * 64 + (64 * 128 + 128 + 128 * 64 + 64) + 2 * 2 * 64
  ten_classes = 64 * 10 + 10
  total = patches + places + first + 3 * layer + last + ten_classes
  assert parameters(experiment.read_config(FOLDER.parent / "vit.py")) == total


@pytest.mark.parametrize("name", ["scaling", "why"])
def test_claims_hold_and_are_written(name, tmp_path, capsys):
  command = ["ablate", str(FOLDER / f"{name}.py"), "--workdir", str(tmp_path)]
  assert main(command) == 0
  claims = read(FOLDER / f"{name}.py", []).claims
  assert capsys.readouterr().err.count("(yes)") == len(claims)
  text = (tmp_path / "table.md").read_text()
  assert text.count("| yes |") == len(claims) and "NO" not in text
  with (tmp_path / "table.csv").open(newline="") as file:
    rows = list(csv.DictReader(file))
  assert [row["claim"] for row in rows] == [claim.text for claim in claims]
  for row in rows:
    assert row["holds"] == "yes"
    assert float(row["least"]) <= float(row["measured"]) <= float(row["most"])
  assert "</html>" in (tmp_path / "report.html").read_text()
  assert (tmp_path / "figure.png").is_file() == (name == "scaling")


def test_a_claim_that_does_not_hold_is_told(tmp_path, capsys):
  claims = Claims("Of numbers", (Claim("a | b", "me", lambda: 3.0, 4.0, 5.0),))
  assert claims.run(tmp_path) == 1
  assert "| a \\| b | me | 3 | 4 to 5 | – | NO |" in (tmp_path / "table.md").read_text()
  assert "a | b,me,3.0,4.0,5.0,,no\n" in (tmp_path / "table.csv").read_text()
  assert "(NO)" in capsys.readouterr().err
  ranges = [Claim("", "", float, *span).expected for span in ((2, 2), (2,))]
  assert [*ranges, Claim("", "", float, most=2).expected] == [
    "2",
    "at least 2",
    "at most 2",
  ]


def test_claims_have_no_base_to_change(tmp_path, capsys):
  command = ["ablate", str(FOLDER / "why.py"), "--workdir", str(tmp_path / "o")]
  assert main([*command, "--config.steps=3"]) == 1
  assert "--config.steps" in capsys.readouterr().err


def test_many_dates_are_as_many_as_asked():
  made = ManyDates(examples=30, several=4, fewest=3).open("val")
  counts = {len(made[i].target.split()) for i in range(60)}
  assert counts == {3, 4}
  one = ManyDates(several=1, fewest=1).open("val")
  assert {len(one[i].target.split()) for i in range(20)} == {1}
  with pytest.raises(ValueError, match="fewest: 3 is not between 1 and several, 2"):
    ManyDates(fewest=3)
