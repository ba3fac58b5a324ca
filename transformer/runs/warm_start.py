"""Warm starts: parameters taken from another run, and parameters that are frozen."""

import difflib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from transformer import tree
from transformer.training.optimizers import begins_with
from transformer.training.state import TrainState

Shape = tuple[int, ...]


class Match(NamedTuple):
  """The paths of a model's parameters, by what a parent run has for them.

  Attributes:
    same: parameters of the same name and shape.
    other_shape: of the same name in another shape, with the shape that the parent has
      and the model's.
    missing: those that it does not have.
  """

  same: tuple[str, ...]
  other_shape: dict[str, tuple[Shape, Shape]]
  missing: tuple[str, ...]

  def __str__(self) -> str:
    parts = [f"{len(self.same)} arrays taken ({summarise(self.same)})"]
    if self.other_shape:
      parts.append(
        f"{len(self.other_shape)} of another shape initialised "
        f"({self.describe_shapes()})"
      )
    if self.missing:
      parts.append(f"{len(self.missing)} new ({summarise(self.missing)})")
    return ", ".join(parts if len(parts) > 1 else [*parts, "none new"])

  def describe_shapes(self, most: int = 3) -> str:
    """The parameters of another shape, the first ones, with both shapes."""
    examples = [
      f"{path} is {there} there and {here} here"
      for path, (there, here) in list(self.other_shape.items())[:most]
    ]
    more = len(self.other_shape) - len(examples)
    return "; ".join(examples + [f"and {more} more"] * (more > 0))


def summarise(paths: tuple[str, ...], most: int = 8) -> str:
  """The first two parts of every path, each once, for the reader."""
  names = list(dict.fromkeys("/".join(path.split("/")[:2]) for path in paths))
  return ", ".join(names[:most] + ["…"] * (len(names) > most))


def match_params(params: Any, parent: Any) -> Match:
  """Compares two trees of parameters, or of their shapes."""
  shapes = {path: leaf.shape for path, leaf in tree.paths(parent).items()}
  same, other_shape, missing = [], {}, []
  for path, leaf in tree.paths(params).items():
    if path not in shapes:
      missing.append(path)
    elif shapes[path] != leaf.shape:
      other_shape[path] = shapes[path], leaf.shape
    else:
      same.append(path)
  return Match(tuple(same), other_shape, tuple(missing))


def check_any_match(params: Any, parent: Any, model: str, run: str) -> None:
  """Raises ValueError where `run`, with the parameters `parent`, has none that `params`
  of a `model` could start from."""
  match = match_params(params, parent)
  if match.other_shape and not match.same:
    raise ValueError(
      f"--config.init: {run} and this {model} have no parameter of the same shape in "
      f"common: {match.describe_shapes()}; choose another run, or its sizes"
    )
  if not match.same:
    theirs, ours = (summarise(tuple(tree.paths(part))) for part in (parent, params))
    raise ValueError(
      f"--config.init: {run} and this {model} have no parameter in common: there, "
      f"{theirs}; here, {ours}; choose another run, or this one's model"
    )


def check_frozen(own: Any, prefixes: tuple[str, ...]) -> None:
  """Raises ValueError where a prefix names no parameter, or all together name all."""
  paths = list(tree.paths(own))
  for prefix in prefixes:
    if not any(begins_with(tuple(path.split("/")), (prefix,)) for path in paths):
      known = sorted({"/".join(p.split("/")[:n]) for p in paths for n in (1, 2, 3)})
      near = difflib.get_close_matches(prefix, known, n=1)
      hint = f"; did you mean {near[0]}?" if near else ""
      raise ValueError(
        f"--config.freeze: no parameter's path begins with {prefix!r}{hint} (there "
        f"are: {', '.join(dict.fromkeys(p.split('/')[0] for p in paths))})"
      )
  if prefixes and all(begins_with(tuple(path.split("/")), prefixes) for path in paths):
    raise ValueError(
      f"--config.freeze: {prefixes!r} names every parameter, and leaves none to train"
    )


def count_parameters(params: Any, freeze: tuple[str, ...]) -> str:
  """How many parameters there are, and how many of them `freeze` leaves as they are."""
  total, leaves = tree.size(params), tree.paths(params)
  frozen = tree.size(
    {
      name: a
      for name, a in leaves.items()
      if begins_with(tuple(name.split("/")), freeze)
    }
  )
  text = f"{total:,} parameters"
  return f"{text} ({total - frozen:,} trained, {frozen:,} frozen)" if frozen else text


def warm_start(state: TrainState, parent: Any) -> TrainState:
  """The state before the first step with every parameter of `parent` that matches,
  sharded as it was.

  The optimizer's state is that of fresh parameters: every rule here starts at zero.
  """
  own = tree.merge(state.params, state.batch_stats)
  same = set(match_params(own, parent).same)
  parent_leaves = tree.paths(parent)

  def leaf(path, fresh):
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    if name not in same:
      return fresh
    array = np.asarray(parent_leaves[name], fresh.dtype)
    return jax.make_array_from_callback(fresh.shape, fresh.sharding, array.__getitem__)

  mixed = jax.tree_util.tree_map_with_path(leaf, own)
  params, batch_stats = tree.divide(mixed, state.batch_stats)
  ema = None if state.ema is None else jax.tree.map(jnp.copy, params)
  return state.replace(params=params, batch_stats=batch_stats, ema=ema)  # type: ignore[attr-defined]
