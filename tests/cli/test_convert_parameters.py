"""Parameters alone as a safetensors file, and back."""

import json

import numpy as np
import pytest
import safetensors
from safetensors.numpy import load_file, save_file

from transformer import tree
from transformer.runs.run import Run


def test_parameters_survive_a_round_trip(run, call, tmp_path):
  file, back = tmp_path / "params.safetensors", tmp_path / "back"
  status, out, err = call("convert", run, file, "--to", "safetensors", "--json")
  assert status == 0, err
  params, record = Run.open(run).params(), json.loads(out)
  digest = tree.sha256(params)
  assert record["parameters_sha256"] == digest and record["step"] == "120"
  stored, expected = load_file(file), tree.paths(params)
  assert stored.keys() == expected.keys()
  for name, array in stored.items():
    np.testing.assert_array_equal(array, np.asarray(expected[name]), err_msg=name)
  with safetensors.safe_open(file, framework="numpy") as opened:
    assert opened.metadata()["parameters_sha256"] == digest
  assert call("convert", file, back, "--like", run)[0] == 0
  info = json.loads(call("info", back, "--json")[1])
  assert info["parameters_sha256"] == digest and info["step"] == 0
  words = "translate", "January 1, 2001", "--beam", 1
  assert call(words[0], back, *words[1:]) == call(words[0], run, *words[1:])


@pytest.mark.parametrize(
  "change, message",
  [
    (lambda p: p.pop("embedding/table"), "no parameter embedding/table, which the run"),
    (lambda p: p.update(more=np.zeros(1, np.float32)), "the run has no parameter more"),
    (
      lambda p: p.update({"embedding/table": np.zeros((3, 2), np.float32)}),
      "embedding/table: expected the shape (280, 16) as in the run, got (3, 2)",
    ),
    (
      lambda p: p.update({"embedding/table": p["embedding/table"].astype(np.float16)}),
      "embedding/table: expected type float32, got float16",
    ),
    (lambda p: p["embedding/table"].fill(np.inf), "embedding/table: not finite (NaN"),
  ],
)
def test_parameters_of_another_model_are_refused(run, call, tmp_path, change, message):
  file = tmp_path / "params.safetensors"
  arrays = {
    name: np.array(leaf) for name, leaf in tree.paths(Run.open(run).params()).items()
  }
  change(arrays)
  save_file(arrays, file)
  status, _, err = call("convert", file, tmp_path / "back", "--like", run)
  assert (status == 1 and err == f"error: {file}: {message}\n") or message in err
  assert err.count("\n") == 1 and not (tmp_path / "back").exists()
  assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_what_is_no_such_file_is_refused(run, call, tmp_path):
  file = tmp_path / "params.safetensors"
  status, _, err = call("convert", file, tmp_path / "back", "--like", run)
  assert status == 1 and err == f"error: {file}: no such file\n"
  file.write_bytes(b"no tensors")
  status, _, err = call("convert", file, tmp_path / "back", "--like", run)
  assert status == 1 and "not a safetensors file, or damaged" in err
  status, _, err = call("convert", run, file, "--to", "safetensors")
  assert status == 1 and "already exists" in err
