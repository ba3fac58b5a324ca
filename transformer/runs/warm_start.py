"""A run that begins with the parameters of another, and parameters that stay."""

import difflib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from transformer import tree
from transformer.training.optimizers import begins_with
from transformer.training.state import TrainState


class Fit(NamedTuple):
  """The paths of a model's parameters: those that another run has under the same name
  and in the same shape, those that it has in another shape, and those it lacks."""

  taken: tuple[str, ...]
  other_shape: tuple[str, ...]
  new: tuple[str, ...]

  def __str__(self) -> str:
    parts = [f"{len(self.taken)} arrays taken ({listed(self.taken)})"]
    if self.other_shape:
      parts.append(f"{len(self.other_shape)} of another shape left")
    fresh = (*self.other_shape, *self.new)
    parts.append(f"{len(fresh)} new ({listed(fresh)})" if fresh else "none new")
    return ", ".join(parts)


def listed(paths: tuple[str, ...], most: int = 8) -> str:
  """The first two names of every path, each once, for a reader."""
  names = list(dict.fromkeys("/".join(path.split("/")[:2]) for path in paths))
  return ", ".join(names[:most] + ["…"] * (len(names) > most))


def fit(own: Any, given: Any) -> Fit:
  """What of the tree `given` fits into the tree `own`; of both, shapes suffice."""
  old = {path: leaf.shape for path, leaf in tree.paths(given).items()}
  taken, other_shape, new = [], [], []
  for path, leaf in tree.paths(own).items():
    if path not in old:
      new.append(path)
    elif old[path] != leaf.shape:
      other_shape.append(path)
    else:
      taken.append(path)
  return Fit(tuple(taken), tuple(other_shape), tuple(new))


def check_fit(own: Any, given: Any, model: str, run: str) -> None:
  """Raises ValueError where nothing of `given`, the parameters of `run`, fits."""
  found = fit(own, given)
  if not found.taken:
    raise ValueError(
      f"--config.init: {run} and this {model} have no parameter in common: there, "
      f"{listed(tuple(tree.paths(given)))}; here, {listed(tuple(tree.paths(own)))}, or "
      "in other shapes; choose another run, or this one's model and sizes"
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


def begin(state: TrainState, given: Any) -> TrainState:
  """The state before the first step with all of `given` that fits, laid out as it was.

  Optimizer state is that of fresh parameters: every rule here begins at zero.
  """
  own = tree.merge(state.params, state.batch_stats)
  fits = set(fit(own, given).taken)
  old = tree.paths(given)

  def leaf(path, here):
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    if name not in fits:
      return here
    array = np.asarray(old[name], here.dtype)
    return jax.make_array_from_callback(here.shape, here.sharding, lambda at: array[at])

  found = jax.tree_util.tree_map_with_path(leaf, own)
  params, batch_stats = tree.divide(found, state.batch_stats)
  average = None if state.ema is None else jax.tree.map(jnp.copy, params)
  return state.replace(params=params, batch_stats=batch_stats, ema=average)  # type: ignore[attr-defined]
