"""The proof of an import: the same outputs as Hugging Face's own class."""

import importlib.util
from typing import Any

import jax
import numpy as np

from transformer.data.id_order import IdOrder
from transformer.interop.family import Family
from transformer.interop.hf_directory import HFDirectory

TOLERANCE = 1e-4
"""The largest difference of two outputs in float32, for outputs of at most 1; larger
ones may differ in proportion."""


def can_compare() -> bool:
  """Whether PyTorch and transformers are installed beside this package."""
  return all(importlib.util.find_spec(name) for name in ("torch", "transformers"))


def largest_difference(
  directory: HFDirectory, family: Family, model: Any, order: IdOrder, params: Any
) -> float:
  """The largest difference between the outputs of the imported model and those of
  Hugging Face's class, for random input with padding.

  Raises:
    ValueError: it is more than the tolerance.
  """
  import torch
  import transformers

  architecture = directory.config["architectures"][0]
  torch_class = getattr(transformers, family.torch_class(architecture))
  torch_model = torch_class.from_pretrained(
    directory.path, dtype=torch.float32, local_files_only=True
  ).eval()
  batch = family.random_batch(model, order, seed=0)
  theirs = family.torch_outputs(torch_model, batch, order)
  module = model.module(order.size)
  with jax.default_matmul_precision("highest"):
    ours = np.asarray(jax.jit(module.apply)({"params": params}, batch))
  meant = ~np.isnan(theirs)
  if ours.shape != theirs.shape or not meant.any():
    raise ValueError(f"expected outputs of shape {theirs.shape}, got {ours.shape}")
  difference = float(np.max(np.abs(ours - theirs), where=meant, initial=0.0))
  most = TOLERANCE * max(1.0, float(np.max(np.abs(theirs), where=meant, initial=0.0)))
  if not difference <= most:
    raise ValueError(
      f"{directory.path}: outputs differ from those of {torch_class.__name__} by "
      f"{difference:.2g}, more than {most:.2g}; nothing was written"
    )
  return difference
