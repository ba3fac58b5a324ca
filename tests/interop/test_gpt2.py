"""Imported GPT-2 computes what the Hugging Face classes compute, and goes back."""

import json

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.interop.fixtures import Fixture, write_gpt2
from transformer.batch import EOS
from transformer.cli import main
from transformer.decoding.sample import Sampler
from transformer.inference.generate import Generation, TextGenerator
from transformer.interop.weights import export_tensors


def test_logits():
  f = Fixture("gpt2")
  target_bt = np.roll(f.expected["input_ids"], -1, axis=1)
  tokens = f.tokens(target_bt, f.expected["mask"])
  module = f.model.module(f.order.size)
  logits_btv = np.asarray(jax.jit(module.apply)({"params": f.imported.params}, tokens))
  real_bt = f.expected["mask"] > 0
  np.testing.assert_allclose(
    logits_btv[:, :, f.order.ours][real_bt], f.expected["logits"][real_bt], rtol=0,
    atol=1e-4,
  )  # fmt: skip
  assert np.all(logits_btv[:, :, list(f.order.absent)] == -np.inf)


class Numbers:
  """Texts of imported ids as decimal numbers."""

  def __init__(self, order):
    self.order = order

  def encode(self, texts):
    return [
      np.append(self.order.ours[[int(word) for word in text.split()]], EOS)
      for text in texts
    ]

  def decode(self, sequences):
    theirs = np.asarray(self.order.theirs)
    return [" ".join(str(theirs[i]) for i in ids if i > EOS) for ids in sequences]


def test_greedy_tokens_and_a_stream_of_them():
  f = Fixture("gpt2")
  generator = TextGenerator(
    f.model.module(f.order.size), f.imported.params, Numbers(f.order),
    Generation(Sampler(), max_length=9), f.model.position.length, start_token=False,
  )  # fmt: skip
  numbers = [
    (
      prompt,
      np.concatenate([f.expected[f"{kind}_{n}"] for kind in ("prompt", "greedy")]),
    )
    for n in (1, 4, 7)
    for prompt in [f.expected[f"prompt_{n}"]]
  ]
  prompts, expected = ([" ".join(map(str, ids)) for ids in each]
                       for each in zip(*numbers, strict=True))  # fmt: skip
  assert [texts[0] for texts in generator.texts(prompts)] == expected
  assert "".join(generator.stream(prompts[0])) == expected[0]
  # After the start token the continuation is another.
  generator.start_token = True
  assert generator.texts(prompts[:1])[0][0] != expected[0]


def rename(directory) -> None:
  """Gives a directory the names that the first ones had, and their buffers."""
  config = json.loads((directory / "config.json").read_text())
  config["architectures"] = ["GPT2Model"]
  (directory / "config.json").write_text(json.dumps(config))
  weights = directory / "model.safetensors"
  tensors = {n.removeprefix("transformer."): x for n, x in load_file(weights).items()}
  for i in range(config["n_layer"]):
    tensors[f"h.{i}.attn.bias"] = np.tril(np.ones((1, 1, 26, 26), np.float32))
    tensors[f"h.{i}.attn.masked_bias"] = np.array(-1e4, np.float32)
  save_file(tensors, weights, metadata={"format": "pt"})


@pytest.mark.parametrize("bare", [False, True])
def test_a_run_generates_and_every_byte_goes_back(bare, tmp_path, capsys):
  directory, run, back = (tmp_path / name for name in ("model", "run", "back"))
  write_gpt2(directory)
  if bare:
    rename(directory)
  assert main(["convert", str(directory), str(run)]) == 0
  generate = ["generate", str(run), "a house", "--max-length", "5"]
  capsys.readouterr()
  assert main([*generate, "--sample", "Sampler()"]) == 0
  assert capsys.readouterr().out.startswith("a house")
  assert main(["convert", str(run), str(back), "--to", "huggingface"]) == 0
  for source in directory.iterdir():
    assert (back / source.name).read_bytes() == source.read_bytes(), source.name


def test_the_same_bytes_for_every_tensor():
  f = Fixture("gpt2")
  tensors = f.family.tensor_map(f.origin, f.model, f.order)
  found = export_tensors(f.origin, tensors, *f.imported)
  for name in f.origin.infos:
    assert found[name].tobytes() == f.directory.read(name).tobytes(), name


def test_a_buffer_that_is_no_causal_mask_is_refused(tmp_path, capsys):
  write_gpt2(tmp_path / "model")
  rename(tmp_path / "model")
  weights = tmp_path / "model" / "model.safetensors"
  tensors = load_file(weights)
  tensors["h.1.attn.bias"][:] = 1.0
  save_file(tensors, weights)
  assert main(["convert", str(tmp_path / "model"), str(tmp_path / "run")]) == 1
  assert "tensor h.1.attn.bias: its values are not" in capsys.readouterr().err
  assert not (tmp_path / "run").exists()
