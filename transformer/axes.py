"""The alphabet of axes: one letter names an axis everywhere.

`b` batch, `t` query or target position, `s` key or source position, `d` model width,
`h` head, `k` head channel, `f` feed-forward, `v` vocabulary, `l` layer, `w` beam slot,
`r` relative position, `y x c` image rows, columns and channels, `c` also classes, `e`
a second width. A letter is at once the suffix of an array's name, the letter of an
einsum, and the logical axis of the sharding rules.
"""

import math

import jax
from flax import linen as nn
from flax import struct
from flax.core import meta


class Weight(nn.LogicallyPartitioned):
  """A parameter in a box that records what its axes are.

  The box is made where the parameter is made (`layers.linear.weight`) and is read by
  sharding, by 8-bit quantisation and by optimizers that treat a weight as a matrix.

  Attributes:
    value: the array, or its shape (`jax.eval_shape`).
    names: one letter an axis, the logical axes for sharding.
    inputs: the axes over which the products with the weight sum; empty for whatever is
      not a matrix: biases, scales, tables of positions.
    stacked: the axes along which separate weights are stacked; `nn.scan` adds its own.
    hidden: whether it is a matrix that maps hidden vectors to hidden vectors, unlike
      embeddings and the map to the logits.
    int8: whether its products are computed by `layers.int8.einsum`, so that it may be
      stored in 8 bits.
  """

  inputs: str = struct.field(default="", pytree_node=False)
  stacked: str = struct.field(default="", pytree_node=False)
  hidden: bool = struct.field(default=False, pytree_node=False)
  int8: bool = struct.field(default=False, pytree_node=False)

  def add_axis(self, index, params):
    name = params[meta.PARTITION_NAME]
    return super().add_axis(index, params).replace(stacked=name + self.stacked)

  def remove_axis(self, index, params):
    name = params[meta.PARTITION_NAME]
    stacked = self.stacked.removeprefix(name)
    return super().remove_axis(index, params).replace(stacked=stacked)

  def where(self, letters: str) -> tuple[int, ...]:
    """The positions of those axes that are among `letters`, ascending."""
    return tuple(i for i, name in enumerate(self.names) if name and name in letters)


def constrain_sharding(letters: str, x):
  """`x`, sharded over the mesh as the rules in force require for its axes; without
  rules (decoding, evaluation) the compiler chooses. Changes no number.

  An axis without a rule is whole on every device: keys and values, `bshk`, are gathered
  over the tokens, and queries, `bthk`, are not.
  """
  return nn.with_logical_constraint(x, tuple(letters))


def num_shards(letter: str) -> int:
  """The number of shards that the rules in force divide an axis into."""
  spec = nn.logical_to_mesh_axes((letter,)) or (None,)
  axes = (spec[0],) if isinstance(spec[0], str) else spec[0] or ()
  sizes = jax.sharding.get_abstract_mesh().shape
  return math.prod(sizes.get(axis, 1) for axis in axes)


def dims(**arrays) -> dict[str, int]:
  """Checks that arrays agree on their axes; free under jit, since shapes are static.

  The suffix of each name spells the axes: `dims(q_bthk=q_bthk, k_bshk=k_bshk)`.
  `None` is skipped.

  Returns:
    The size of every letter.

  Raises:
    ValueError: the rank of an array is not that of its name, or one letter has two
      sizes (broadcasting over a size of one is not allowed either).
  """
  sizes: dict[str, int] = {}
  owner: dict[str, str] = {}
  for name, array in arrays.items():
    if array is None:
      continue
    letters = name.rpartition("_")[2]
    if len(array.shape) != len(letters):
      raise ValueError(f"{name}: expected axes '{letters}', got shape {array.shape}")
    for letter, size in zip(letters, array.shape, strict=True):
      if sizes.setdefault(letter, size) != size:
        raise ValueError(
          f"{name}: expected size {sizes[letter]} of axis '{letter}', as in "
          f"{owner[letter]}, got {size}"
        )
      owner.setdefault(letter, name)
  return sizes
