"""Tensors of a file that `torch.save` wrote, read without running anything in it.

Such a file is a pickle, which may name any function and have it called when it is read.
Here only the names below are admitted, each by a stand-in of our own that records what
a tensor is; every other name is refused before anything is made of it. Tensors are read
one by one, when they are asked for.

Two layouts exist (`torch/serialization.py`). A zip archive, since PyTorch 1.6:

  NAME/data.pkl    the pickle, which refers to storages by their key
  NAME/data/KEY    the bytes of a storage

and, before, one pickle after the other (a magic number, a version, facts on the system,
the object, the list of keys) followed by the storages in the order of that list, each
with its number of elements in front, int64.
"""

import collections
import math
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, NamedTuple

import ml_dtypes
import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C
"""What a file of the old layout begins with."""

STORAGES = {
  "DoubleStorage": np.float64,
  "FloatStorage": np.float32,
  "HalfStorage": np.float16,
  "BFloat16Storage": ml_dtypes.bfloat16,
  "LongStorage": np.int64,
  "IntStorage": np.int32,
  "ShortStorage": np.int16,
  "CharStorage": np.int8,
  "ByteStorage": np.uint8,
  "BoolStorage": np.bool_,
}
"""The types of storages by their class in `torch`, with the type of their elements."""


class StorageType(NamedTuple):
  """In place of a class of storages."""

  dtype: Any


class Storage(NamedTuple):
  """A storage of a file."""

  key: str
  dtype: Any
  size: int  # elements


class TorchTensor(NamedTuple):
  """A tensor of a file: where its elements are in a storage."""

  storage: Storage
  offset: int
  shape: tuple[int, ...]
  stride: tuple[int, ...]


def _rebuild_tensor(storage, offset, shape, stride, *_) -> TorchTensor:
  """`torch._utils._rebuild_tensor_v2`."""
  if not isinstance(storage, Storage):
    raise pickle.UnpicklingError("a tensor without a storage")
  sizes = [offset, *shape, *stride]
  if len(shape) != len(stride) or not all(isinstance(n, int) for n in sizes):
    raise pickle.UnpicklingError("a tensor of no shape")
  last = offset + sum((n - 1) * step for n, step in zip(shape, stride, strict=True))
  if min(sizes) < 0 or (math.prod(shape) and last >= storage.size):
    raise pickle.UnpicklingError("a tensor outside its storage")
  return TorchTensor(storage, offset, tuple(shape), tuple(stride))


def _rebuild_parameter(data, *_) -> TorchTensor:
  """`torch._utils._rebuild_parameter`."""
  return data


ADMITTED = {
  ("collections", "OrderedDict"): collections.OrderedDict,
  ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
  ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
  **{("torch", name): StorageType(dtype) for name, dtype in STORAGES.items()},
}
"""The names that a file may have."""


class _Unpickler(pickle.Unpickler):
  """Reads a pickle that has admitted names alone."""

  def find_class(self, module: str, name: str) -> Any:
    try:
      return ADMITTED[module, name]
    except KeyError:
      raise pickle.UnpicklingError(
        f"it has {module}.{name}, which no tensor needs and which is not run"
      ) from None

  def persistent_load(self, pid: Any) -> Storage:
    kind, storage_type, key, _, size, *_ = pid
    if kind != "storage" or not isinstance(storage_type, StorageType):
      raise pickle.UnpicklingError("a reference to something that is no storage")
    return Storage(str(key), storage_type.dtype, int(size))


class TorchFile:
  """The tensors of one file by name.

  Raises:
    ValueError: it is damaged, or has something other than tensors.
  """

  def __init__(self, path: Path):
    self.path = path
    try:
      self._open()
    # A damaged pickle raises nearly anything.
    except Exception as error:
      raise ValueError(
        f"{path}: not a file of tensors, or damaged: {_line(error)}"
      ) from None

  def _open(self) -> None:
    self._bytes: Callable[[Storage], bytes]
    if zipfile.is_zipfile(self.path):
      self._archive = zipfile.ZipFile(self.path)
      names = self._archive.namelist()
      (pickled,) = (name for name in names if name.endswith("/data.pkl"))
      self._root = pickled.removesuffix("data.pkl")
      with self._archive.open(pickled) as file:
        found = _Unpickler(file).load()
      self._bytes = self._from_archive
    else:
      with self.path.open("rb") as file:
        found = self._open_old(file)
      self._bytes = self._from_end
    if not isinstance(found, dict):
      raise ValueError(f"expected tensors by name, got {type(found).__name__}")
    found = found.get("state_dict", found)
    for name, tensor in found.items():
      if not isinstance(name, str) or not isinstance(tensor, TorchTensor):
        raise ValueError(f"expected a tensor, got {type(tensor).__name__} at {name!r}")
    self.tensors: dict[str, TorchTensor] = dict(found)

  def _open_old(self, file: IO[bytes]) -> Any:
    if _Unpickler(file).load() != MAGIC:
      raise ValueError("it does not begin as one")
    for _ in range(2):
      _Unpickler(file).load()
    seen: dict[str, Storage] = {}

    class Recording(_Unpickler):
      def persistent_load(self, pid):
        storage = super().persistent_load(pid)
        seen[storage.key] = storage
        return storage

    found = Recording(file).load()
    keys = _Unpickler(file).load()
    self._starts: dict[str, int] = {}
    size = self.path.stat().st_size
    for key in keys:
      storage = seen[key]
      count = int.from_bytes(file.read(8), "little")
      start = file.tell()
      end = start + storage.size * np.dtype(storage.dtype).itemsize
      if count != storage.size or end > size:
        raise ValueError("its end is missing")
      self._starts[key] = start
      file.seek(end)
    return found

  def _from_archive(self, storage: Storage) -> bytes:
    return self._archive.read(f"{self._root}data/{storage.key}")

  def _from_end(self, storage: Storage) -> bytes:
    with self.path.open("rb") as file:
      file.seek(self._starts[storage.key])
      return file.read(storage.size * np.dtype(storage.dtype).itemsize)

  def read(self, name: str) -> np.ndarray:
    """The values of a tensor.

    Raises:
      ValueError: its bytes are damaged.
    """
    storage, offset, shape, stride = self.tensors[name]
    try:
      flat = np.frombuffer(self._bytes(storage), storage.dtype, storage.size)
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
      raise ValueError(f"{self.path}: {name} is damaged: {_line(error)}") from None
    strides = [step * flat.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(flat[offset:], shape, strides)


def _line(error: Exception) -> str:
  return str(error).partition("\n")[0] or type(error).__name__
