"""An exported search, in a process that has JAX and nothing of this package."""

import json
import os
import subprocess
import sys
import sysconfig

import numpy as np
import pytest

from tests.runs.random_run import random_run
from tests.tiny import language_config
from transformer import cli
from transformer.batch import EOS, PAD
from transformer.inference.export import decode, export_search
from transformer.inference.search import Search, Searcher
from transformer.runs.prepare import prepare
from transformer.runs.run import Run

CHILD = """
import json, sys
sys.path.insert(0, sys.argv[1])
try:
  import transformer
except ModuleNotFoundError:
  pass
else:
  sys.exit("the package is in reach")
import numpy as np
from jax import export
search = export.deserialize(bytearray(open(sys.argv[2], "rb").read()))
batches = json.load(sys.stdin)
found = [search.call(np.array(ids, np.int32)) for ids in batches]
print(json.dumps([{k: np.asarray(v).tolist() for k, v in f.items()} for f in found]))
print(sorted(name for name in sys.modules if name.split(".")[0] in ("flax", "optax")))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  return random_run(tmp_path_factory.mktemp("export") / "run")


def sources(count):
  """Token ids of 2 to 20 pieces."""
  rng = np.random.default_rng(2)
  rows = [rng.integers(4, 560, rng.integers(2, 21)) for _ in range(count)]
  return [np.append(row, EOS).astype(np.int32) for row in rows]


def padded(rows):
  width = max(map(len, rows))
  return [[*row.tolist(), *[PAD] * (width - len(row))] for row in rows]


@pytest.mark.slow
def test_200_sentences_decode_alike_where_this_package_is_not(run, tmp_path):
  searcher = Searcher(run.module(), run.params(), Search(beam=4, extra=6, n_best=2))
  file = tmp_path / "search.stablehlo"
  file.write_bytes(export_search(searcher))
  given = sources(200)
  # Batches of three shapes, none of which the run itself would make.
  cuts = [given[:150], given[150:199], given[199:]]
  # No site module, no environment, an empty folder: what is installed is named.
  words = [sys.executable, "-I", "-S", "-c", CHILD, sysconfig.get_paths()["purelib"]]
  cache = "JAX_COMPILATION_CACHE_DIR"
  done = subprocess.run(
    [*words, str(file)],
    input=json.dumps([padded(rows) for rows in cuts]),
    cwd=tmp_path,
    env={"JAX_PLATFORMS": "cpu", cache: os.environ[cache]},
    capture_output=True,
    text=True,
    timeout=500,
  )
  assert done.returncode == 0, done.stderr
  found, modules = done.stdout.splitlines()
  assert modules == "[]"
  rows = [
    (tokens, scores)
    for batch in json.loads(found)
    for tokens, scores in zip(batch["tokens"], batch["scores"], strict=True)
  ]
  assert len(rows) == 200
  lengths = set()
  for i, output in searcher.search_all(given):
    tokens, scores = rows[i]
    assert len(tokens) == len(scores) == 2
    for w in range(2):
      n = output.length_bw[w]
      assert [t for t in tokens[w] if t] == output.token_bwt[w, :n].tolist()
      # Rounding alone: the parameters are large, and the cache has other sizes.
      np.testing.assert_allclose(scores[w], output.score_bw[w], rtol=5e-4, atol=1e-5)
      lengths.add(int(n))
  assert len(lengths) > 8


@pytest.mark.slow
@pytest.mark.parametrize("int8", [False, True])
def test_limits_are_in_the_file_and_an_empty_row_has_no_output(run, int8):
  search = Search(beam=1, extra=50, min_length=3, max_length=5, suppressed=(7, 300))
  searcher = Searcher(run.module(), run.params(int8=int8), search)
  given = [*sources(6), np.array([EOS], np.int32)]
  found = decode(export_search(searcher), given)
  wanted = dict(searcher.outputs(given))
  for i, ids in enumerate(found):
    assert ids.tolist() == [t for t in wanted[i].tolist() if t]
    assert len(ids) == 0 if i == 6 else 4 <= len(ids) <= 6


def test_the_verb_writes_a_file_that_it_has_tried(run, capsys, tmp_path):
  file = tmp_path / "search.stablehlo"
  words = ["export", run.path, "--beam", 1, "--extra", 4, "--samples", 3]
  words = [str(word) for word in [*words, "--output", file]]
  assert cli.main(words) == 0
  assert "3 samples decoded from it agree with the run" in capsys.readouterr().out
  opened = Run.open(run.path)
  ids = opened.tokenizer.encode(["12 May 2001"])
  searcher = Searcher(opened.module(), opened.params(), Search(beam=1, extra=4))
  (found,) = decode(file.read_bytes(), ids)
  ((_, wanted),) = searcher.outputs(ids)
  assert found.tolist() == [t for t in wanted.tolist() if t]
  assert cli.main(words) == 1
  assert "already exists" in capsys.readouterr().err
  with pytest.raises(ValueError, match="no exported search"):
    decode(b"something else", ids)


def test_a_file_that_decodes_otherwise_is_not_kept(run, capsys, tmp_path, monkeypatch):
  from transformer.inference import export

  def spoilt(blob, given):
    found = decode(blob, given)
    found[1] = np.append(found[1], 9)
    return found

  monkeypatch.setattr(export, "decode", spoilt)
  (tmp_path / "in").write_text("12 May 2001\n3 June 1999\n4\n", encoding="utf-8")
  words = ["export", run.path, "--beam", 1, "--extra", 4, "--input", tmp_path / "in"]
  words = [str(word) for word in [*words, "--output", tmp_path / "out"]]
  assert cli.main(words) == 1
  assert "not written: sample 2 of 3" in capsys.readouterr().err
  assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_search_that_draws_is_not_exported(run):
  from transformer.decoding.samplers import TopK

  search = Search(beam=1, sampler=TopK(3))
  with pytest.raises(ValueError, match="draws nothing"):
    export_search(Searcher(run.module(), run.params(), search))


def test_a_run_of_another_task_gets_one_line(capsys, tmp_path):
  path = prepare(language_config(tmp_path), tmp_path / "run").path
  assert cli.main(["export", str(path), "--output", str(tmp_path / "out")]) == 1
  err = capsys.readouterr().err.splitlines()[-1]
  assert err.startswith(f"error: {path}: expected the task Translation, got Language")
  assert not (tmp_path / "out").exists()
