"""What `convert` says of Hugging Face directories, in and out."""

import dataclasses
import json

import numpy as np
from safetensors.numpy import load_file, save_file

from tests.interop.fixtures import write_classifier, write_marian
from transformer import config as configs
from transformer.runs.run import Run


def test_directories_of_hugging_face(case):
  call, folder = case.call, case.folder
  model, path = folder / "model", folder / "imported"
  case.assert_sees(
    "the directory is not one of Hugging Face", call("convert", folder / "none", path)
  )
  write_classifier(model)
  write_marian(folder / "marian")
  assert call("convert", model, path)[0] == 0
  settings = json.loads((model / "config.json").read_text())
  case.write("model/config.json", json.dumps(settings | {"architectures": None}))
  case.assert_sees("config.json names no class", call("convert", model, folder / "new"))
  case.write("model/config.json", json.dumps(settings))
  tensors = load_file(model / "model.safetensors")
  tensors["classifier.bias"][0] = np.inf
  save_file(tensors, model / "model.safetensors")
  case.assert_sees("a tensor is not finite", call("convert", model, folder / "new"))
  case.write("model/tokenizer_config.json", '{"do_lower_case": null}')
  answer = call("convert", model, folder / "new")
  case.assert_sees("a setting of the tokenizer is of another type", answer)
  (model / "vocab.txt").unlink()
  case.assert_sees("the tokenizer is missing", call("convert", model, folder / "new"))
  ids = json.loads((folder / "marian" / "vocab.json").read_text())
  del ids["<pad>"]
  case.write("marian/vocab.json", json.dumps(ids))
  answer = call("convert", folder / "marian", folder / "new")
  case.assert_sees("the vocabulary has no padding", answer)
  assert not (folder / "new").exists()

  back = ("--to", "huggingface")
  run = case.run()
  answer = call("convert", run, folder / "new", *back)
  case.assert_sees("a run that was not imported is to be written back", answer)
  config = dataclasses.replace(Run.open(run).config, init=str(path))
  case.write("run/config.json", configs.dumps(config))
  answer = call("convert", run, folder / "new", *back)
  case.assert_sees("a run has another tokenizer than its imported parent", answer)
  config = Run.open(path).config
  labels = (config.task.labels[0], "odd", *config.task.labels[2:])
  task = dataclasses.replace(config.task, labels=labels)
  case.write(
    "imported/config.json", configs.dumps(dataclasses.replace(config, task=task))
  )
  answer = call("convert", path, folder / "new", *back)
  case.assert_sees("a run has other classes than the directory", answer)
  assert not (folder / "new").exists()
