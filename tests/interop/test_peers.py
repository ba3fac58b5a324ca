"""Imported models beside the Hugging Face classes themselves, at real sizes.

`TRANSFORMER_PEERS` names a Python with PyTorch and transformers (`make peers`).
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.interop.fixtures import Fixture
from transformer.batch import Images, Labelled
from transformer.interop.weights import export_tensors

PEERS = os.environ.get("TRANSFORMER_PEERS", "")
HERE = Path(__file__).parent

pytestmark = [
  pytest.mark.slow,
  pytest.mark.skipif(
    not PEERS, reason="TRANSFORMER_PEERS names no Python with PyTorch and transformers"
  ),
]


def peers(*arguments) -> str:
  """Runs a program of `peers.py`; its standard output."""
  done = subprocess.run(
    [PEERS, HERE / "peers.py", *map(str, arguments)], capture_output=True, text=True,
    timeout=300, env={**os.environ, "PYTHONPATH": str(HERE)},
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  return done.stdout


def of_targets(f: Fixture, apply):
  """The logits of an encoder-decoder, ours in the imported order, and theirs."""
  real_bt = f.expected["decoder_mask"] > 0
  return apply(f.batch)[:, :, f.order.ours][real_bt], f.expected["logits"][real_bt]


def of_texts(f: Fixture, apply):
  """Those of a decoder alone, which reads the token of the end first."""
  mask_bt = f.expected["attention_mask"]
  tokens = f.tokens(np.roll(f.expected["input_ids"], -1, axis=1), mask_bt)
  ours_btv = apply(tokens)[:, :, f.order.ours]
  return ours_btv[mask_bt > 0], f.expected["logits"][mask_bt > 0]


def of_classes(f: Fixture, apply):
  """Those of a classifier of texts, ours of the first token."""
  tokens = f.tokens(f.expected["input_ids"], f.expected["attention_mask"])
  batch = Labelled(tokens, np.zeros_like(tokens.id_bt))
  return apply(batch)[:, 0], f.expected["logits"]


def of_images(f: Fixture, apply):
  """Those of a classifier of images."""
  batch = Images(f.expected["image"], np.zeros(3, np.int32), np.ones(3, np.int32))
  return apply(batch), f.expected["logits"]


FAMILIES = {
  **dict.fromkeys(("marian", "m2m", "bart", "mbart", "t5", "flan_t5"), of_targets),
  **{"gpt2": of_texts, "bert_classes": of_classes},
  **dict.fromkeys(("vit", "deit_teacher"), of_images),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_logits_here_and_back(family, tmp_path):
  """Sizes of published models, up to 150 tokens, with padding."""
  path, back = tmp_path / family, tmp_path / "back"
  peers("make", family, path)
  f = Fixture(path)
  module = f.model.module(f.order.size)

  def apply(batch):
    return np.asarray(jax.jit(module.apply)({"params": f.imported.params}, batch))

  ours, theirs = FAMILIES[family](f, apply)
  np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * np.abs(theirs).max())
  back.mkdir()
  for source in path.glob("*.json"):
    shutil.copy(source, back)
  tensors = f.family.tensor_map(f.origin, f.model, f.order)
  save_file(
    export_tensors(f.origin, tensors, *f.imported), back / "model.safetensors",
    metadata={"format": "pt"},
  )  # fmt: skip
  peers("check", path, back)


PROOF = """
import sys
sys.path.append(sys.argv[1])
from tests.interop.fixtures import FIXTURES, Fixture
from transformer.interop.proof import can_compare, largest_difference
assert can_compare()
for name in sys.argv[2:]:
  f = Fixture(name)
  parts = f.directory, f.family, f.model, f.order
  assert largest_difference(*parts, f.imported.params) < 1e-4
attention = f.imported.params["encoder"]["layers"]["self_attention"]
attention["q"] = attention["q"].at[0].multiply(1.01)
try:
  largest_difference(*parts, f.imported.params)
except ValueError as error:
  print(error)
"""


def test_the_proof_finds_a_wrong_weight():
  """With PyTorch and transformers beside this package in one environment; the last
  family's weight is the wrong one."""
  names = ["bert", "bert_masked", "bert_classes", "t5", "flan_t5", "gpt2", "vit",
           "deit", "deit_teacher", "marian"]  # fmt: skip
  find = "import transformers, os; print(os.path.dirname(transformers.__path__[0]))"
  done = subprocess.run([PEERS, "-c", find], capture_output=True, text=True, check=True)
  proof = subprocess.run(
    [sys.executable, "-c", PROOF, done.stdout.strip(), *names],
    capture_output=True, text=True, timeout=600,
  )  # fmt: skip
  assert proof.returncode == 0, proof.stderr
  assert "outputs differ from those of MarianMTModel by" in proof.stdout
