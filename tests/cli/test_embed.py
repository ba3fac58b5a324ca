"""`transformer embed`: vectors of texts by a run's encoder."""

import json

import numpy as np
import pytest

from tests.models.test_transformer import tokens
from transformer.runs.run import Run


def vectors_of(out):
  records = [json.loads(line) for line in out.splitlines()]
  texts = [record["text"] for record in records]
  return texts, np.array([record["vector"] for record in records], np.float32)


@pytest.mark.parametrize("pooling", ["mean", "first"])
def test_vectors_are_pooled_outputs_of_the_encoder(call, run, lines, pooling):
  status, out, _ = call("embed", run, *lines[:3], "--pooling", pooling)
  texts, found = vectors_of(out)
  assert status == 0 and texts == lines[:3]
  opened = Run.open(run)
  module, params = opened.module(), opened.params()
  for text, vector in zip(texts, found, strict=True):
    (ids,) = opened.tokenizer.encode([text])
    x_btd = module.apply({"params": params}, tokens([[ids.tolist()]]), method="encode")
    expected = x_btd[0].mean(axis=0) if pooling == "mean" else x_btd[0, 0]
    np.testing.assert_allclose(vector, expected, atol=1e-5)


def test_a_vector_does_not_depend_on_the_other_texts(call, run, lines):
  _, alone, _ = call("embed", run, lines[2])
  texts = [*lines, *(line * 4 for line in lines), *lines, *lines]
  _, batched, _ = call("embed", run, *texts)
  assert batched.splitlines()[2] == alone.strip()
  found, vectors = vectors_of(batched)
  assert found == texts and len(np.unique(vectors, axis=0)) == 12


def test_files_in_and_arrays_out(call, run, lines, tmp_path):
  (tmp_path / "in").write_text("\n".join([*lines, ""]) + "\n")
  for name in ("v.npz", "v.jsonl"):
    status, out, _ = call(
      *("embed", run, "--input", tmp_path / "in", "--output", tmp_path / name),
      "--normalise",
    )
    assert status == 0 and out == ""
  texts, expected = vectors_of((tmp_path / "v.jsonl").read_text())
  assert texts == [*lines, ""]
  found = np.load(tmp_path / "v.npz")["vectors"]
  assert found.dtype == np.float32
  np.testing.assert_array_equal(found, expected)
  np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)
  assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "v.jsonl", "v.npz"]


def test_a_model_without_an_encoder_is_refused(call, language_run, tmp_path):
  output = tmp_path / "v.npz"
  status, out, err = call("embed", language_run, "a", "--output", output)
  assert status == 1 and out == "" and not output.exists()
  assert err == (
    f"error: {language_run}: DecoderOnly has no encoder of texts, so no vectors to "
    "pool; use the run of a Transformer or of BERT\n"
  )


def test_an_output_that_cannot_be_written_is_named(call, run, tmp_path):
  output = tmp_path / "missing" / "v.npz"
  status, _, err = call("embed", run, "a", "--output", output)
  assert status == 1
  assert err == f"error: {output}: cannot be written (No such file or directory)\n"


def test_a_full_disk_is_named(call, run, lines, tmp_path):
  output = tmp_path / "v.npz"
  output.symlink_to("/dev/full")
  status, _, err = call("embed", run, *lines, "--output", output)
  assert status == 1 and output.is_symlink()
  assert err == f"error: {output}: cannot be written (No space left on device)\n"
