"""A Hugging Face directory: its JSON files, and its tensors one by one."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import ml_dtypes
import numpy as np
import safetensors

from transformer.interop.sentence_modules import read_modules
from transformer.interop.torch_file import TorchFile

DTYPES = {
  "F64": np.float64,
  "F32": np.float32,
  "F16": np.float16,
  "BF16": ml_dtypes.bfloat16,
  "I64": np.int64,
  "I32": np.int32,
  "I16": np.int16,
  "I8": np.int8,
  "U8": np.uint8,
  "BOOL": np.bool_,
}
"""The types of tensors by their names in safetensors."""

DTYPE_NAMES = {np.dtype(dtype): name for name, dtype in DTYPES.items()}


class TensorInfo(NamedTuple):
  """What is known of a tensor before it is read."""

  shape: tuple[int, ...]
  dtype: str  # a key of `DTYPES`


class TensorFile(Protocol):
  """One file of tensors."""

  infos: dict[str, TensorInfo]

  def read(self, name: str) -> np.ndarray:
    """The values of a tensor."""


class SafetensorsFile:
  """The tensors of a safetensors file.

  Raises:
    ValueError: it is damaged.
  """

  def __init__(self, path: Path):
    self._path = path
    try:
      with safetensors.safe_open(path, framework="numpy") as file:
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
    except safetensors.SafetensorError as error:
      raise ValueError(f"{path}: not a safetensors file, or damaged: {error}") from None
    self.infos = {
      name: TensorInfo(tuple(part.get_shape()), part.get_dtype())
      for name, part in slices.items()
    }

  def read(self, name: str) -> np.ndarray:
    """The values of a tensor."""
    # An open file is mapped, and keeps in memory all that was read of it.
    with safetensors.safe_open(self._path, framework="numpy") as file:
      return file.get_tensor(name)


class PickledFile:
  """The tensors of a file of `torch.save`; see `TorchFile`."""

  def __init__(self, path: Path):
    self._file = TorchFile(path)
    self.infos = {
      name: TensorInfo(tensor.shape, DTYPE_NAMES[np.dtype(tensor.storage.dtype)])
      for name, tensor in self._file.tensors.items()
    }

  def read(self, name: str) -> np.ndarray:
    """The values of a tensor."""
    return self._file.read(name)


WEIGHTS: dict[str, Callable[[Path], TensorFile]] = {
  "model.safetensors": SafetensorsFile,
  "pytorch_model.bin": PickledFile,
}
"""Names of the file of weights, in the order in which they are looked for; in several
parts, `NAME.index.json` has the part of each tensor."""


class HFDirectory:
  """A model as Hugging Face's `save_pretrained` writes it.

  Attributes:
    path: the directory.
    config: its config.json.
    generation: its generation_config.json, empty if there is none.
    preprocessor: its preprocessor_config.json, empty if there is none.
    infos: shape and type of every tensor by name.
    modules: those of a sentence-transformers directory, none in another.
  """

  def __init__(self, path: Path | str):
    """Opens a directory.

    Raises:
      FileNotFoundError: it, or a file of it, is missing.
      ValueError: a file is damaged.
    """
    self.path = Path(path)
    if not (self.path / "config.json").is_file():
      raise FileNotFoundError(
        f"{self.path}: not a Hugging Face directory (it has no config.json); download "
        f"one with: hf download NAME --local-dir {self.path}"
      )
    self.config = read_json(self.path / "config.json")
    self.generation = read_optional_json(self.path / "generation_config.json")
    self.preprocessor = read_optional_json(self.path / "preprocessor_config.json")
    self.modules = read_modules(self.path)
    self._files: dict[str, TensorFile] = {}
    for file in self._open_weights():
      for name, info in file.infos.items():
        if info.dtype not in DTYPES:
          raise ValueError(
            f"{self.path}: tensor {name}: type {info.dtype} is not covered"
          )
        if name in self._files:
          raise ValueError(f"{self.path}: {name} is in two files of weights")
        self._files[name] = file
    self.infos = {name: file.infos[name] for name, file in self._files.items()}

  @property
  def size(self) -> int:
    """The size of all tensors, in bytes."""
    return sum(
      math.prod(info.shape) * np.dtype(DTYPES[info.dtype]).itemsize
      for info in self.infos.values()
    )

  def _open_weights(self) -> list[TensorFile]:
    for name, kind in WEIGHTS.items():
      index = self.path / f"{name}.index.json"
      if (self.path / name).is_file():
        return [kind(self.path / name)]
      if index.is_file():
        return [kind(part) for part in self._parts(index)]
    raise FileNotFoundError(
      f"{self.path}: no weights; expected {' or '.join(WEIGHTS)}, or one in parts with "
      "its .index.json (weights for TensorFlow or Rust alone are not read)"
    )

  def _parts(self, index: Path) -> list[Path]:
    parts = read_json(index).get("weight_map")
    if not isinstance(parts, dict):
      raise ValueError(f"{index}: expected weight_map, the file of each tensor")
    paths = []
    for name in dict.fromkeys(parts.values()):
      if not isinstance(name, str) or Path(name).name != name:
        raise ValueError(f"{index}: expected names of files beside it, got {name!r}")
      if not (self.path / name).is_file():
        raise FileNotFoundError(f"{self.path}: no {name}, which {index.name} names")
      paths.append(self.path / name)
    return paths

  def read(self, name: str) -> np.ndarray:
    """The values of a tensor."""
    return self._files[name].read(name)


def read_json(path: Path) -> dict[str, Any]:
  """The object of a JSON file.

  Raises:
    ValueError: it is damaged.
  """
  try:
    value = json.loads(path.read_text(encoding="utf-8"))
  except (ValueError, RecursionError) as error:
    raise ValueError(f"{path}: not JSON, or damaged: {error}") from None
  if not isinstance(value, dict):
    raise ValueError(f"{path}: expected a JSON object, got {type(value).__name__}")
  return value


def read_optional_json(path: Path) -> dict[str, Any]:
  """The object of a JSON file; an empty one without the file.

  Raises:
    ValueError: it is damaged.
  """
  return read_json(path) if path.is_file() else {}
