"""The alphabet of axes: one letter names an axis everywhere.

`b` batch, `t` query or target position, `s` key or source position, `d` model width,
`h` head, `k` head channel, `f` feed-forward, `v` vocabulary, `l` layer, `w` beam,
`r` relative position, `y x c` image rows, columns and channels, `c` also classes, `e`
a second width. A letter is at once the
suffix of an array's name, the letter of an einsum, and what sharding rules speak of.
"""

import math

import jax
from flax import linen as nn


def constrain_sharding(letters: str, x):
  """`x`, laid over the mesh as the rules in force say for its axes; where none are
  (decoding, evaluation) as the compiler likes. Changes no number.

  An axis without a rule is whole on every device: keys and values, `bshk`, are gathered
  over the tokens, and queries, `bthk`, are not.
  """
  return nn.with_logical_constraint(x, tuple(letters))


def num_shards(letter: str) -> int:
  """Over how many devices the rules in force spread an axis."""
  spec = nn.logical_to_mesh_axes((letter,)) or (None,)
  axes = (spec[0],) if isinstance(spec[0], str) else spec[0] or ()
  sizes = jax.sharding.get_abstract_mesh().shape
  return math.prod(sizes.get(axis, 1) for axis in axes)


def dims(**arrays) -> dict[str, int]:
  """Checks that arrays agree on their axes; free under jit, since shapes are static.

  The suffix of each name spells the axes: `dims(q_bthk=q_bthk, k_bshk=k_bshk)`.
  `None` is passed over.

  Returns:
    The size of every letter.

  Raises:
    ValueError: an array has another rank than its name says, or two arrays give one
      letter two sizes (broadcasting over a size of one is not allowed either).
  """
  sizes: dict[str, int] = {}
  owner: dict[str, str] = {}
  for name, array in arrays.items():
    if array is None:
      continue
    letters = name.rpartition("_")[2]
    if len(array.shape) != len(letters):
      raise ValueError(f"{name}: shape {array.shape} has not the axes '{letters}'")
    for letter, size in zip(letters, array.shape, strict=True):
      if sizes.setdefault(letter, size) != size:
        raise ValueError(
          f"{name}: axis '{letter}' has size {size}, but {sizes[letter]} in "
          f"{owner[letter]}"
        )
      owner.setdefault(letter, name)
  return sizes
