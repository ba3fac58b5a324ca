"""Imported BERT computes what the Hugging Face classes compute, and goes back."""

import json

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.interop.fixtures import (
  TOKENIZERS,
  Fixture,
  write_classifier,
  write_directory,
)
from transformer.batch import Labelled, Sentences
from transformer.cli import main
from transformer.interop.families import family_of
from transformer.interop.sentence_modules import pooling, read_modules, text_length
from transformer.interop.weights import export_tensors
from transformer.layers.pooling import FirstToken, Pooling
from transformer.runs.embedder import Embedder
from transformer.runs.run import Run

MODULES = [
  {
    "idx": i,
    "name": str(i),
    "path": path,
    "type": f"sentence_transformers.models.{kind}",
  }
  for i, (kind, path) in enumerate(
    [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")]
  )
]


def test_vectors_of_tokens():
  f = Fixture("bert")
  tokens = f.tokens(f.expected["ids"], f.expected["mask"])
  module, variables = f.model.module(f.order.size), {"params": f.imported.params}
  real_bt = f.expected["mask"] > 0
  encode = jax.jit(lambda variables, x: module.apply(variables, x, method="encode")[0])
  found_btd = np.asarray(encode(variables, tokens))
  expected_btd = f.expected["encoded"]
  np.testing.assert_allclose(
    found_btd[real_bt], expected_btd[real_bt], rtol=0, atol=1e-4
  )
  pooled_btd = jax.jit(module.apply)(variables, Sentences(tokens))
  np.testing.assert_allclose(pooled_btd[:, 0], f.expected["output"], rtol=0, atol=1e-4)


def test_logits_of_masked_tokens():
  f = Fixture("bert_masked")
  tokens = f.tokens(f.expected["ids"], f.expected["mask"])
  module = f.model.module(f.order.size)
  logits_btv = jax.jit(module.apply)({"params": f.imported.params}, tokens)
  found_btv = np.asarray(logits_btv)[:, :, f.order.ours]
  real_bt = f.expected["mask"] > 0
  expected_btv = f.expected["output"]
  np.testing.assert_allclose(
    found_btv[real_bt], expected_btv[real_bt], rtol=0, atol=1e-4
  )


def test_logits_of_classes():
  f = Fixture("bert_classes")
  tokens = f.tokens(f.expected["ids"], f.expected["mask"])
  module = f.model.module(f.order.size)
  batch = Labelled(tokens, np.zeros_like(tokens.id_bt))
  logits_btc = jax.jit(module.apply)({"params": f.imported.params}, batch)
  np.testing.assert_allclose(logits_btc[:, 0], f.expected["output"], rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["bert", "bert_masked", "bert_classes"])
def test_the_same_bytes_for_every_tensor(name):
  f = Fixture(name)
  tensors = f.family.tensor_map(f.origin, f.model, f.order)
  found = export_tensors(f.origin, tensors, *f.imported)
  assert found.keys() == f.origin.infos.keys()
  for tensor in f.origin.infos:
    stored = np.ascontiguousarray(f.directory.read(tensor))
    assert found[tensor].tobytes() == stored.tobytes(), tensor


def test_a_classifier_of_texts_classifies_and_goes_back(tmp_path, capsys):
  directory, run, back = (tmp_path / name for name in ("model", "run", "back"))
  write_classifier(directory)
  assert main(["convert", str(directory), str(run)]) == 0
  capsys.readouterr()
  assert main(["classify", str(run), "a small house", "--top", "3", "--json"]) == 0
  classes = json.loads(capsys.readouterr().out)["classes"]
  assert {each["class"] for each in classes} == {"negative", "neutral", "positive"}
  assert sum(each["probability"] for each in classes) == pytest.approx(1.0)
  assert main(["convert", str(run), str(back), "--to", "huggingface"]) == 0
  for source in directory.iterdir():
    assert (back / source.name).read_bytes() == source.read_bytes(), source.name


def sentence_directory(path, prefix: str, norm: tuple[str, str], pooler: bool):
  """A directory of sentence-transformers, its tensors named as in other checkpoints."""
  words = (TOKENIZERS / "bert" / "vocab.txt").read_text(encoding="utf-8")
  write_directory(path, "bert", "bert", vocab_size=words.count("\n"))
  tensors = load_file(path / "model.safetensors")
  tensors["embeddings.position_ids"] = np.arange(19)[None]
  named = {}
  for name, values in tensors.items():
    if pooler or not name.startswith("pooler."):
      for theirs, other in zip(("weight", "bias"), norm, strict=True):
        name = name.replace(f"LayerNorm.{theirs}", f"LayerNorm.{other}")
      named[prefix + name] = values
  save_file(named, path / "model.safetensors", metadata={"format": "pt"})
  (path / "modules.json").write_text(json.dumps(MODULES))
  (path / "sentence_bert_config.json").write_text('{"max_seq_length": 7}')
  (path / "1_Pooling").mkdir()
  settings = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
  (path / "1_Pooling" / "config.json").write_text(json.dumps(settings))
  return path


@pytest.mark.parametrize(
  "prefix, norm, pooler",
  [("", ("weight", "bias"), False), ("bert.", ("gamma", "beta"), True)],
)
def test_a_model_of_sentences_embeds_and_goes_back(tmp_path, prefix, norm, pooler):
  directory = sentence_directory(tmp_path / "model", prefix, norm, pooler)
  run, back = tmp_path / "run", tmp_path / "back"
  assert main(["convert", str(directory), str(run), "--json"]) == 0
  config = Run.open(run).config
  assert config.task.pooling == FirstToken() and config.task.normalise
  assert config.task.context == 7 and config.model.pooler == pooler
  embedder = Embedder.open(run)
  vectors = embedder.embed(["a house", "a small house " * 9])
  np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
  assert embedder.num_cut == 1
  assert main(["convert", str(run), str(back), "--to", "huggingface"]) == 0
  files = [path for path in directory.rglob("*") if path.is_file()]
  assert len(files) == 7
  for source in files:
    written = (back / source.relative_to(directory)).read_bytes()
    assert written == source.read_bytes(), source.name


def test_what_is_not_covered_is_named(tmp_path):
  with pytest.raises(ValueError, match="BertForQuestionAnswering"):
    family_of({"architectures": ["BertForQuestionAnswering"]})
  assert read_modules(tmp_path) == () and pooling(()) == Pooling()
  assert text_length((), 512) == 512
  for entries, message in (
    ([*MODULES[:2], MODULES[2] | {"type": "x.Dense"}], "Dense are not covered"),
    ([MODULES[0], MODULES[1] | {"path": "../x"}], "in folders beside it"),
    ([{"idx": 0}], "expected the type and path"),
    ({}, "expected a JSON list"),
  ):
    (tmp_path / "modules.json").write_text(json.dumps(entries))
    with pytest.raises(ValueError, match=message):
      read_modules(tmp_path)
  (tmp_path / "modules.json").write_text(json.dumps(MODULES))
  (tmp_path / "sentence_bert_config.json").write_text('{"max_seq_length": 0}')
  modules = read_modules(tmp_path)
  with pytest.raises(ValueError, match=r"1_Pooling/config\.json: expected one of"):
    pooling(modules)
  with pytest.raises(ValueError, match="max_seq_length: expected 3 or more, got 0"):
    text_length(modules, 512)
