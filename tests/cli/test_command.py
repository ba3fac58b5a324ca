"""The command as a whole: its verbs, help and errors, and `--import`."""

import gc
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from absl import flags as absl_flags

import train as training_command
from tests.cli.conftest import SEARCH
from transformer import cli, experiment
from transformer.runs import trainer

ROOT = Path(__file__).resolve().parents[2]


def test_there_is_one_file_for_each_verb():
  shared = {"__init__", "__main__", "flags", "lines", "output_format", "parser"}
  shared |= {"shards", "streams"}
  files = {path.stem for path in Path(cli.__file__).parent.glob("*.py")} - shared
  assert {module.__name__.rpartition(".")[2] for module in cli.VERBS} == files
  for module in cli.VERBS:
    assert module is getattr(cli, module.__name__.rpartition(".")[2])


def test_help_needs_no_jax():
  names = [module.__name__.rpartition(".")[2] for module in cli.VERBS]
  # The last: the sources of data, which its help describes, need NumPy.
  names.sort(key="evaluate".__eq__)
  program = (
    "import sys\n"
    "from transformer.cli import main\n"
    f"for words in {[[], *([name] for name in names)]}:\n"
    "  try: main([*words, '--help'])\n"
    "  except SystemExit: print(*words, {'jax', 'numpy'} & {*sys.modules})"
  )
  words = [sys.executable, "-c", program]
  done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
  assert all(f"\n{name} set()\n" in done.stdout for name in names[:-1])
  assert "\nevaluate {'numpy'}\n" in done.stdout
  assert "\n  ImageFolder(directory): " in done.stdout
  assert all(f"    {m.__name__.rpartition('.')[2]} " in done.stdout for m in cli.VERBS)


def test_help_has_every_recipe_with_its_formula(capsys):
  with pytest.raises(SystemExit):
    cli.main(["translate", "--help"])
  text = " ".join(capsys.readouterr().out.split())
  for part in (
    "GNMT(alpha=0.6): ((5 + n) / 6)^alpha",
    "Average(): n: the score is the mean log-probability",
    "LengthPenalty(): No penalty: the score is the log-probability",
    "TopP(p=0.9, temperature=1.0)",
    "MinP(p=0.1",
  ):
    assert part in text


def test_help_of_evaluate_has_every_source_of_data(capsys):
  with pytest.raises(SystemExit):
    cli.main(["evaluate", "--help"])
  text = " ".join(capsys.readouterr().out.split())
  for source in experiment.SOURCES:
    assert f" {source.__name__}(" in text
  assert "ImageFolder(directory): Image files" in text and "MISSING" not in text


@pytest.mark.parametrize(
  "words, message",
  [
    (["translate", "{tmp}", "x"], "not a run"),
    (["translate", "{run}", "--beam", "0", "x"], "--beam: expected 1 or more, got 0"),
    (["translate", "{run}", "--max-length", "1", "--min-length", "2", "x"],
     "--max-length 1 is below --min-length 2"),
    (["translate", "{run}", "--batch-size", "0", "x"],
     "--batch-size: expected 1 or more, got 0"),
    (["translate", "{run}", "--input", "{tmp}/none"], "none: cannot be read"),
    (["translate", "{run}", "--input", "{tmp}/none", "x"], "not both"),
    (["translate", "{run}", "--step", "5", "x"], "no checkpoint of step 5; there are"),
    (["translate", "{run}", "--sample", "TopQ(1)", "x"], "did you mean TopP?"),
    (["translate", "{run}", "--sample", "TopK(0)", "x"], "--sample: TopK"),
    (["translate", "{run}", "--penalty", "Mean()", "x"], "--penalty: no LengthPenalty"),
    (["translate", "{run}", "--penalty", "GNMT()", "--alpha", "1", "x"], "not both"),
    (["translate", "{run}", "--penalty", "Coverage()", "--beam", "1", "x"],
     "a beam of 1"),
    (["translate", "{run}", "--sample", "TopK(2)", "--beam", "2", "x"],
     "--sample needs --beam 1, got 2"),
    (["translate", "{run}", "--stream", "--json", "x"], "cannot be combined"),
    (["translate", "{run}", "--n-best", "2", "--mbr", "2", "x"], "not both"),
    (["translate", "{run}", "--stream", "--beam", "2", "x"],
     "--stream needs --beam 1, got 2"),
    (["translate", "{run}", "--n-best", "9", "--beam", "4", "x"],
     "--n-best 9 needs --beam 9 or more, got 4"),
    (["translate", "{run}", "--mbr", "9", "--beam", "4", "x"],
     "--mbr 9 needs --beam 9 or more, got 4"),
    (["translate", "{run}", "--alpha", "nan", "x"],
     "--alpha: expected a finite number, got nan"),
    (["translate", "{run}", "--alpha", "-1e300", "x"], "--alpha: expected -10 to 10"),
    (["translate", "{run}", "--alpha", "-11", "x"], "--alpha: expected -10 to 10"),
    (["translate", "{run}", "--penalty", "GNMT(inf)", "x"],
     "--penalty: GNMT.alpha: expected a finite number, got inf"),
    (["translate", "{run}", "--penalty", "Coverage(nan)", "x"],
     "--penalty: Coverage.beta: expected a finite number, got nan"),
    (["translate", "{run}", "--sample", "TopP(nan)", "x"], "--sample: TopP"),
    (["translate", "{run}", "--sample", "TopK(3, inf)", "x"], "--sample: TopK"),
    (["translate", "{run}", "--suppress", "QXQ", "x"], "--suppress: 'QXQ' is no piece"),
    (["translate", "{run}", "--output", "{tmp}/no/out", "x"], "cannot be written"),
    (["translate", "{run}", "--seed", "-1", "x"],
     "--seed: expected 0 to 2**32 - 1, got -1"),
    (["translate", "{run}", "--seed", "99999999999999999999", "x"],
     "--seed: expected 0 to 2**32 - 1"),
    (["translate", "{run}", "--beam", "1000000", "x"],
     "out of memory; lower --batch-size or --beam or --extra or --max-length"),
    (["evaluate", "{run}", "--source", "{tmp}/no", "--reference", "{tmp}/no"],
     "no: no such file; check --source and --reference"),
    (["evaluate", "{run}", "--source", "/dev/null", "--reference", "/dev/null"],
     "/dev/null: not a regular file"),
    (["evaluate", "{run}", "--name", "a/b"], "--name: expected a plain file name"),
    (["evaluate", "{run}", "--split", "dev"], "train, val, test"),
    (["evaluate", "{run}", "--source", "x"], "give both --source and --reference"),
    (["average", "{run}", "--last", "9"], "--last: expected 1 to 3, got 9"),
    (["average", "{run}", "--last", "2", "--output", "{tmp}"], "already exists"),
    (["translate", "{run}", "--extra", "99999999999999999999", "x"],
     "--extra: expected less than 2**31, got 99999999999999999999"),
    (["info", "{tmp}/a\nb"], "/a\\nb: not a run"),
    (["average", "{run}", "--last", "1", "--output", "/dev/null/x"],
     "/dev/null/x: cannot be written (Not a directory)"),
    (["info", "{tmp}/none"], "not a run"),
    (["--import", "{tmp}/none.py", "info", "{run}"], "none.py: no such Python file"),
  ],
)  # fmt: skip
def test_mistakes_get_one_line(run, call, tmp_path, words, message):
  words = [word.format(run=run, tmp=tmp_path) for word in words]
  status, out, err = call(*words)
  assert status == 1 and out == ""
  assert err.startswith("error: ") and err.count("\n") == 1 and message in err


@pytest.mark.parametrize("verb", ["translate", "generate", "fill", "classify"])
def test_without_arguments_the_run_alone_is_asked_for(verb, capsys):
  with pytest.raises(SystemExit) as end:
    cli.main([verb])
  assert end.value.code == 2
  assert capsys.readouterr().err.endswith(
    f"arguments are required: RUN; see transformer {verb} --help\n"
  )


@pytest.mark.parametrize(
  "words, flag",
  [
    (["translate", "run", "Hallo", "--beam", "4", "Welt", "--bogus", "x"], "--bogus"),
    (["generate", "run", "Once", "--seed", "3", "upon", "--lenght", "9"], "--lenght"),
    (["translate", "run", "Hallo", "-x", "--beam", "4"], "-x"),
  ],
)
def test_a_misspelt_flag_among_texts_is_no_text(words, flag, capsys):
  with pytest.raises(SystemExit) as end:
    cli.main(words)
  assert end.value.code == 2
  message = f"error: unrecognized arguments: {flag}; see transformer {words[0]} --help"
  assert capsys.readouterr().err == f"{message}\n"


def test_texts_may_begin_with_a_hyphen():
  words = ["translate", "run", "a", "--beam", "4", "-5", "-", "- b", "--", "--bogus"]
  arguments = cli.parse(words)
  assert arguments.texts == ["a", "-5", "-", "- b", "--bogus"] and arguments.beam == 4


OWN_PENALTY = '''
import dataclasses
from pathlib import Path

from transformer.decoding.penalty import GNMT

Path(__file__).with_suffix(".ran").touch()


@dataclasses.dataclass(frozen=True)
class {name}(GNMT):
  """A penalty in a file of its own."""


def get_config():
  from transformer import experiment

  config = experiment.read_config({config!r})
  search = dataclasses.replace(config.task.search, penalty={name}())
  return dataclasses.replace(
    config, task=dataclasses.replace(config.task, search=search)
  )
'''


@pytest.fixture
def own_file(tmp_path):
  """Writes a file that defines a length penalty; forgets it afterwards."""

  def write(name):
    path = tmp_path / f"{name.lower()}.py"
    config = str(ROOT / "configs" / "dates.py")
    path.write_text(OWN_PENALTY.format(name=name, config=config))
    return path

  yield write
  for path in experiment.imported_files():
    del sys.modules[f"{experiment.FILE_MODULE}{path}"]
  gc.collect()


def test_a_run_with_a_recipe_in_a_file_of_its_own(run, call, own_file, tmp_path):
  path = own_file("Own")
  copy = shutil.copytree(run, tmp_path / "copy")
  stored = json.loads((copy / "config.json").read_text())
  stored["task"]["search"]["penalty"]["type"] = "Own"
  (copy / "config.json").write_text(json.dumps(stored))
  shutil.copy(path, copy / "own.py")
  status, _, err = call("info", copy)
  assert status == 1 and "config.task.search.penalty: no LengthPenalty is named" in err
  assert err.endswith("if it is defined in a file of your own, give --import FILE\n")
  # Nothing of the run was executed.
  assert not (copy / "own.ran").exists() and not path.with_suffix(".ran").exists()
  status, out, err = call("--import", path, "info", copy, "--json")
  assert status == 0 and path.with_suffix(".ran").exists(), err
  assert json.loads(out)["config"]["task"]["search"]["penalty"]["type"] == "Own"


def test_import_also_follows_the_verb_and_can_be_repeated(
  run, lines, call, own_file, capsys
):
  first, second = own_file("First"), own_file("Second")
  imports = ["--import", first, "translate", "--import", second]
  words = [run, *SEARCH, lines[0]]
  status, out, err = call(*imports, *words, "--penalty", "Second(0.6)")
  assert status == 0, err
  assert out == call("translate", *words)[1]
  assert call("translate", *words, "--penalty", "First(0.6)")[1] == out
  with pytest.raises(SystemExit):
    cli.main(["translate", "--import", str(first), "--help"])
  assert "First(alpha=0.6): A penalty in a file of its own." in capsys.readouterr().out


def test_plan_passes_imported_files_on(call, own_file):
  path = own_file("Planned")
  status, _, err = call("plan", path, "--devices", 7, "--mesh", "Mesh(data=7)")
  # The process that compiles has read the config, and refused the mesh.
  assert status == 1 and "over 7 devices" in err, err


def test_training_takes_imports_too(own_file, monkeypatch):
  path = own_file("Trained")
  configs = []
  monkeypatch.setattr(trainer, "train", lambda config, _: configs.append(config) or 0)
  # Values of earlier calls would be kept.
  for flag in absl_flags.FLAGS.get_flags_for_module(training_command):
    flag.unparse()
  words = ["--config", str(ROOT / "configs" / "dates.py"), "--import", str(path)]
  setting = "--config.task.search.penalty=Trained(0.5)"
  monkeypatch.setattr(sys, "argv", ["train.py", *words, setting])
  with pytest.raises(SystemExit) as end:
    training_command.entry()
  assert end.value.code == 0
  assert repr(configs[0].task.search.penalty) == "Trained(alpha=0.5)"
