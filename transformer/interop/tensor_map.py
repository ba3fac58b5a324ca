"""How the tensors of a directory and the parameters of a model correspond, as data that
is read in both directions."""

import collections
import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from transformer.data.id_order import IdOrder

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Layout:
  """The numbers of a parameter in their order, in one axis: biases and norms, whatever
  the axes of the parameter. Subclasses are other arrangements.

  A layout is of one layer; stacking is the map's.
  """

  def shape(self, param: Shape) -> Shape:
    """The shape of the tensor of a parameter of the shape `param`."""
    return (math.prod(param),)

  def to_param(self, tensor: np.ndarray, param: Shape) -> np.ndarray:
    """The parameter, of the shape `param`, of a tensor."""
    return tensor.reshape(param)

  def to_tensor(self, param: np.ndarray) -> np.ndarray:
    """The inverse of `to_param`."""
    return param.reshape(self.shape(param.shape))


@dataclasses.dataclass(frozen=True)
class Same(Layout):
  """The parameter itself, axes and all."""

  def shape(self, param):
    return param


@dataclasses.dataclass(frozen=True)
class Linear(Layout):
  """The matrix `[outputs, inputs]` of `torch.nn.Linear`. The first `inputs` axes of the
  parameter are its inputs, the others its outputs."""

  inputs: int = 1

  def shape(self, param):
    return math.prod(param[self.inputs :]), math.prod(param[: self.inputs])

  def to_param(self, tensor, param):
    return tensor.T.reshape(param)

  def to_tensor(self, param):
    return param.reshape(self.shape(param.shape)[::-1]).T


@dataclasses.dataclass(frozen=True)
class Conv1D(Linear):
  """The matrix `[inputs, outputs]` of GPT-2's `Conv1D`."""

  def shape(self, param):
    return super().shape(param)[::-1]

  def to_param(self, tensor, param):
    return tensor.reshape(param)

  def to_tensor(self, param):
    return param.reshape(self.shape(param.shape))


@dataclasses.dataclass(frozen=True)
class VocabularyRows(Layout):
  """A row for every id of a vocabulary, in the imported order."""

  order: IdOrder

  def shape(self, param):
    return self.order.imported_size, *param[1:]

  def to_param(self, tensor, param):
    return self.order.import_rows(tensor)

  def to_tensor(self, param):
    return self.order.export_rows(param)


@dataclasses.dataclass(frozen=True)
class VocabularyRow(VocabularyRows):
  """A number for every id of a vocabulary, in one row `[1, v]`."""

  def shape(self, param):
    return 1, self.order.imported_size

  def to_param(self, tensor, param):
    return super().to_param(tensor[0], param)

  def to_tensor(self, param):
    return super().to_tensor(param)[None]


class Entry(NamedTuple):
  """A tensor, and what it becomes.

  Attributes:
    name: of the tensor.
    paths: of the parameter; of several, in equal parts of the tensor along `axis`.
    layout: of each of them.
    layer: the index in parameters that are stacked over layers; None for others.
    axis: of the tensor.
  """

  name: str
  paths: tuple[str, ...]
  layout: Layout = Layout()
  layer: int | None = None
  axis: int = -1

  def param_shape(self, shape: Shape) -> Shape:
    """The shape of one layer of a parameter of the shape `shape`."""
    return shape if self.layer is None else shape[1:]

  def tensor_shape(self, shapes: Mapping[str, Shape]) -> Shape:
    """The shape of the tensor, given those of all parameters."""
    parts = [self.layout.shape(self.param_shape(shapes[path])) for path in self.paths]
    whole = list(parts[0])
    if len(parts) > 1:
      whole[self.axis] = sum(part[self.axis] for part in parts)
    return tuple(whole)

  def write_params(self, tensor: np.ndarray, params: Mapping[str, np.ndarray]) -> None:
    """Writes the tensor's values into `params`, which are by their path."""
    parts = [tensor]
    if len(self.paths) > 1:
      parts = np.split(tensor, len(self.paths), self.axis)
    for path, part in zip(self.paths, parts, strict=True):
      target = params[path]
      index = () if self.layer is None else self.layer
      target[index] = self.layout.to_param(part, self.param_shape(target.shape))

  def tensor(self, params: Mapping[str, np.ndarray]) -> np.ndarray:
    """The tensor of `params`: the inverse of `write_params`."""
    parts = [
      self.layout.to_tensor(params[path] if self.layer is None
                            else params[path][self.layer])
      for path in self.paths
    ]  # fmt: skip
    return parts[0] if len(parts) == 1 else np.concatenate(parts, self.axis)


def linear_map(
  tensor: str, path: str, layout: Layout, layer: int | None = None
) -> Iterator[Entry]:
  """A linear map and its bias."""
  yield Entry(f"{tensor}.weight", (path,), layout, layer)
  yield Entry(f"{tensor}.bias", (f"{path}_bias",), Layout(), layer)


def norm(
  tensor: str, path: str, layer: int | None = None,
  names: tuple[str, str] = ("weight", "bias"),
) -> Iterator[Entry]:  # fmt: skip
  """A layer norm; `names` are those of its scale and bias."""
  for theirs, ours in zip(names, ("scale", "bias"), strict=True):
    yield Entry(f"{tensor}.{theirs}", (f"{path}/{ours}",), Layout(), layer)


@dataclasses.dataclass(frozen=True)
class TensorMap:
  """All tensors that a family of models knows.

  Attributes:
    entries: the tensors that are parameters.
    copies: for a tensor that may be stored once more under another name, that of the
      tensor which it repeats.
    constants: tensors that may be stored although they follow from the settings, and
      what gives their values for a shape; None for one whose value has no meaning.
  """

  entries: tuple[Entry, ...]
  copies: Mapping[str, str] = dataclasses.field(default_factory=dict)
  constants: Mapping[str, Callable[[Shape], Any] | None] = dataclasses.field(
    default_factory=dict
  )

  @property
  def by_name(self) -> dict[str, Entry]:
    """The entries by the name of their tensor."""
    return {entry.name: entry for entry in self.entries}

  def check_params(self, shapes: Mapping[str, Shape]) -> None:
    """Raises ValueError unless every parameter, each of its layers, is of one entry.

    That is a fault of the map, not of a directory.
    """
    counts = collections.Counter(
      (path, entry.layer) for entry in self.entries for path in entry.paths
    )
    wanted: set[tuple[str, int | None]] = set()
    for path, shape in shapes.items():
      layers = {layer for at, layer in counts if at == path and layer is not None}
      wanted |= {(path, i) for i in range(shape[0])} if layers else {(path, None)}
    wrong = sorted(map(str, {key for key, n in counts.items() if n > 1}
                   | (wanted ^ set(counts))))  # fmt: skip
    if wrong:
      raise ValueError(f"no tensor, or more than one, for the parameter {wrong[0]}")

  def check_tensors(self, tensors: Mapping[str, Shape], shapes: Mapping[str, Shape]):
    """Raises ValueError unless `tensors`, shapes by name, are those of this map for
    parameters of the shapes `shapes`: all of them, none else, each of its shape."""
    entries = self.by_name
    known = {*entries, *self.copies, *self.constants}
    if missing := [name for name in entries if name not in tensors]:
      raise ValueError(f"tensor {missing[0]} is missing{_others(missing)}")
    if surplus := [name for name in tensors if name not in known]:
      raise ValueError(
        f"tensor {surplus[0]} is not one of this model{_others(surplus)}"
      )
    for name, shape in tensors.items():
      source = entries.get(self.copies.get(name, name))
      if source is None:
        continue
      expected = source.tensor_shape(shapes)
      if shape != expected:
        raise ValueError(
          f"tensor {name}: expected shape {expected} by config.json, got {shape}"
        )


def _others(names: list[str]) -> str:
  return f", and {len(names) - 1} more" if len(names) > 1 else ""
