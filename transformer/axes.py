"""The alphabet of axes: one letter names an axis everywhere.

`b` batch, `t` query or target position, `s` key or source position, `d` model width,
`h` head, `k` head channel, `f` feed-forward, `v` vocabulary, `l` layer, `w` beam,
`r` relative position, `y x c` image rows, columns and colours. A letter is at once the
suffix of an array's name, the letter of an einsum, and what sharding rules speak of.
"""


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
