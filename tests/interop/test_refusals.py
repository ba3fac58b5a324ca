"""What cannot be imported is refused in one line, and leaves nothing behind."""

import io
import json
import os
import pickle
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.interop.fixtures import FIXTURES, write_marian
from transformer.interop.convert import import_run
from transformer.interop.families import family_of
from transformer.interop.hf_directory import HFDirectory
from transformer.interop.torch_file import TorchFile
from transformer.interop.weights import import_params, origin_of


@pytest.fixture
def directory(tmp_path) -> Path:
  """A copy of MarianMT's fixture."""
  path = tmp_path / "model"
  path.mkdir()
  for name in ("config.json", "generation_config.json", "model.safetensors"):
    shutil.copy(FIXTURES / "marian" / name, path / name)
  return path


def change_tensors(directory: Path, change) -> None:
  """Writes the tensors again as `change` leaves them."""
  tensors = load_file(directory / "model.safetensors")
  change(tensors)
  save_file(tensors, directory / "model.safetensors")


def change_config(directory: Path, **values) -> None:
  """Writes config.json again with other values."""
  config = json.loads((directory / "config.json").read_text()) | values
  (directory / "config.json").write_text(json.dumps(config))


def read(path: Path):
  """The parameters of a directory."""
  opened = HFDirectory(path)
  family, origin = family_of(opened.config), origin_of(opened)
  order = family.order(origin)
  return import_params(opened, family, family.model(origin, order), order)


def test_what_is_changed_here_is_whole(directory):
  change_tensors(directory, lambda tensors: None)
  change_config(directory)
  assert read(directory).params


FC1 = "model.encoder.layers.0.fc1.weight"


def drop(tensors):
  del tensors[FC1]


def add(tensors):
  tensors["model.encoder.layers.2.fc1.weight"] = tensors[FC1]


def reshape(tensors):
  tensors[FC1] = np.ascontiguousarray(tensors[FC1].T)


def retype(tensors):
  tensors[FC1] = tensors[FC1].astype(np.int32)


def diverge(tensors):
  tensors[FC1] = np.where(tensors[FC1] > 0.0, np.nan, tensors[FC1])


def untie(tensors):
  tensors["lm_head.weight"] = tensors["model.shared.weight"] + 1.0


def move(tensors):
  tensors["model.encoder.embed_positions.weight"] = np.ones((40, 24), np.float32)


@pytest.mark.parametrize(
  "change, message",
  [
    (drop, f"tensor {FC1} is missing"),
    (add, "tensor model.encoder.layers.2.fc1.weight is not one of this model"),
    (reshape, r"fc1.weight: expected shape \(28, 24\) by config.json, got \(24, 28\)"),
    (retype, "fc1.weight: expected type F64, F32, F16, BF16, got I32"),
    (diverge, r"tensor model.encoder.layers.0.fc1.weight has values .* \(NaN or"),
    (untie, "tensor lm_head.weight differs from model.shared.weight"),
    (move, "embed_positions.weight: its values are not those which the model computes"),
  ],
)
def test_tensors(directory, change, message):
  change_tensors(directory, change)
  with pytest.raises(ValueError, match=message) as caught:
    read(directory)
  assert "\n" not in str(caught.value) and str(directory) in str(caught.value)


@pytest.mark.parametrize(
  "values, message",
  [
    ({"architectures": ["LlamaForCausalLM"]}, "LlamaForCausalLM.*is not covered"),
    ({"architectures": None}, "expected a list with the model's class, got null; wri"),
    ({"architectures": "BertModel"}, 'model.s class, got "BertModel"; write in it'),
    ({"activation_function": "tanh"}, "activation_function: 'tanh' is not covered"),
    ({"d_model": "24"}, "d_model: expected int, got '24'"),
    ({"encoder_layers": 0}, "encoder_layers: expected 1 or more, got 0"),
    ({"decoder_ffn_dim": 30}, "encoder_ffn_dim 28 and decoder_ffn_dim 30"),
    ({"decoder_vocab_size": 44}, "decoder_vocab_size: 44 is not covered"),
    ({"decoder_start_token_id": 43}, "decoder_start_token_id: expected an id"),
    ({"encoder_attention_heads": 5, "decoder_attention_heads": 5}, "multiple of"),
  ],
)
def test_settings(directory, values, message):
  change_config(directory, **values)
  with pytest.raises(ValueError, match=message):
    read(directory)


@pytest.mark.parametrize(
  "name", ["t5", "flan_t5", "gpt2", "vit", "deit_teacher", "bert_classes"]
)
def test_tensors_of_other_families(name, tmp_path):
  """Each tensor of the first layer, and the last of all, is needed in its shape."""
  path = tmp_path / name
  shutil.copytree(FIXTURES / name, path)
  tensors = load_file(path / "model.safetensors")
  assert read(path).params
  first = next(n for n, x in tensors.items() if ".0." in n and len({*x.shape}) == 2)
  turned = np.ascontiguousarray(tensors[first].T)
  without = {n: x for n, x in tensors.items() if n != first}
  for changed, message in (
    (without, "is missing"),
    (tensors | {"x": turned}, "is not one of"),
    (without | {first: turned}, "expected shape"),
  ):
    save_file(changed, path / "model.safetensors")
    with pytest.raises(ValueError, match=f"tensor (x|{re.escape(first)}):? {message}"):
      read(path)


@pytest.mark.parametrize(
  "name, values, message",
  [
    ("t5", {"feed_forward_proj": "gated-relu"}, "feed_forward_proj: 'gated-relu' is"),
    ("t5", {"relative_attention_num_buckets": 6}, "multiple of 4, got 6"),
    ("t5", {"decoder_start_token_id": 45}, "decoder_start_token_id: expected an id"),
    ("t5", {"num_decoder_layers": 0}, "num_decoder_layers: expected 1 or more, got 0"),
    ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "layer_idx: True is not cov"),
    ("gpt2", {"activation_function": "quick_gelu"}, "'quick_gelu' is not covered"),
    ("gpt2", {"n_head": 5}, "multiple of"),
    ("gpt2", {"eos_token_id": 41}, "eos token: expected an id from 0 to 40, got 41"),
    ("bert_classes", {"problem_type": "regression"}, "problem_type: 'regression'"),
  ],
)
def test_settings_of_other_families(name, values, message, tmp_path):
  path = tmp_path / name
  shutil.copytree(FIXTURES / name, path)
  change_config(path, **values)
  with pytest.raises(ValueError, match=message):
    read(path)


def test_settings_of_generation_without_a_counterpart_are_named(directory):
  opened = HFDirectory(directory)
  family, origin = family_of(opened.config), origin_of(opened)
  assert family.uncovered(origin) == []
  settings = json.loads((directory / "generation_config.json").read_text())
  settings |= {
    "do_sample": True, "repetition_penalty": 1.3, "eos_token_id": [0, 5],
    "bad_words_ids": [[4], [5, 6]],
  }  # fmt: skip
  (directory / "generation_config.json").write_text(json.dumps(settings))
  assert family.uncovered(origin_of(HFDirectory(directory))) == [
    "do_sample True",
    "repetition_penalty 1.3",
    "eos_token_id [0, 5], of which the first alone ends an output",
    "bad_words_ids [[5, 6]]",
  ]


def test_directories(directory, tmp_path):
  with pytest.raises(FileNotFoundError, match="not a Hugging Face directory"):
    HFDirectory(tmp_path)
  weights = directory / "model.safetensors"
  weights.write_bytes(weights.read_bytes()[:-1000])
  with pytest.raises(ValueError, match="not a safetensors file, or damaged"):
    HFDirectory(directory)
  weights.unlink()
  with pytest.raises(FileNotFoundError, match="no weights"):
    HFDirectory(directory)
  for text in ("{", "[" * 100_000):
    (directory / "config.json").write_text(text)
    with pytest.raises(ValueError, match="not JSON, or damaged"):
      HFDirectory(directory)


def test_nothing_is_left_behind(directory, tmp_path):
  """A directory without a tokenizer is no run."""
  with pytest.raises(ValueError, match=r"source\.spm"):
    import_run(HFDirectory(directory), tmp_path / "run")
  assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def test_a_vocabulary_without_the_padding_is_not_of_this_model(tmp_path):
  write_marian(tmp_path / "model")
  file = tmp_path / "model" / "vocab.json"
  ids = json.loads(file.read_text())
  pad = ids.pop("<pad>")
  file.write_text(json.dumps(ids))
  message = f"config.json has pad_token_id {pad}, but no file of the tokenizer has such"
  with pytest.raises(ValueError, match=message):
    import_run(HFDirectory(tmp_path / "model"), tmp_path / "run")


class Call:
  """Pickles as a call of a function."""

  def __init__(self, function, *arguments):
    self.call = function, arguments

  def __reduce__(self):
    return self.call


def torch_zip(path: Path, value) -> None:
  """A file in the layout of `torch.save`."""
  pickled = io.BytesIO()
  pickle.Pickler(pickled, protocol=2).dump(value)
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("archive/data.pkl", pickled.getvalue())


def test_a_pickle_that_would_run_something_is_not_run(tmp_path):
  made = tmp_path / "made"
  path = tmp_path / "pytorch_model.bin"
  torch_zip(path, {"weight": Call(made.mkdir.__func__, made)})
  with pytest.raises(ValueError, match="which no tensor needs and which is not run"):
    TorchFile(path)
  torch_zip(path, {"weight": Call(os.system, "true")})
  with pytest.raises(ValueError, match=r"posix\.system, which no tensor needs"):
    TorchFile(path)
  assert not made.exists()
  torch_zip(path, {"weight": 1.0})
  with pytest.raises(ValueError, match="expected a tensor, got float at 'weight'"):
    TorchFile(path)
  path.write_bytes(b"PK")
  with pytest.raises(ValueError, match="not a file of tensors, or damaged"):
    TorchFile(path)
