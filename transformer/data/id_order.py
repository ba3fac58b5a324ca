"""The order of an imported vocabulary.

The ids of the special tokens are the same in every vocabulary of this project
(`transformer.batch`). A vocabulary made elsewhere has its own, so its ids are permuted
when it is imported: its special tokens take ours, and all others follow in their order.
"""

import dataclasses
import functools

import numpy as np

from transformer.batch import BOS, EOS, PAD, UNK

ABSENT = -1
"""In place of the id of a special token that an imported vocabulary does not have."""


@dataclasses.dataclass(frozen=True)
class IdOrder:
  """A permutation between our ids and those of an imported vocabulary.

  Attributes:
    theirs: for each of our ids the imported vocabulary's, or `ABSENT`.
  """

  theirs: tuple[int, ...]

  @property
  def size(self) -> int:
    """The number of our ids."""
    return len(self.theirs)

  @property
  def imported_size(self) -> int:
    """The number of ids of the imported vocabulary."""
    return self.size - len(self.absent)

  @property
  def absent(self) -> tuple[int, ...]:
    """Our ids of special tokens that the imported vocabulary does not have."""
    return tuple(i for i, their_id in enumerate(self.theirs[:4]) if their_id == ABSENT)

  @functools.cached_property
  def ours(self) -> np.ndarray:
    """For each id of the imported vocabulary our id, int32."""
    theirs = np.asarray(self.theirs)
    present = np.flatnonzero(theirs != ABSENT)
    ours = np.empty(len(present), np.int32)
    ours[theirs[present]] = present
    return ours

  def import_rows(self, array: np.ndarray) -> np.ndarray:
    """An array with one row for each imported id, in our order; absent ids have
    zeros."""
    theirs = np.asarray(self.theirs)
    rows = array[np.maximum(theirs, 0)]
    rows[theirs == ABSENT] = 0
    return rows

  def export_rows(self, array: np.ndarray) -> np.ndarray:
    """The inverse of `import_rows`: rows in our order to the imported vocabulary's."""
    return array[self.ours]


def id_order(
  size: int,
  *,
  pad: int | None = None,
  eos: int | None = None,
  bos: int | None = None,
  unk: int | None = None,
) -> IdOrder:
  """The order in which a vocabulary of `size` ids is imported.

  Args:
    size: the number of imported ids.
    pad, eos, bos, unk: the imported ids that become `PAD`, `EOS`, `BOS` and `UNK`; None
      where there is no such token. An id with several roles takes the first of EOS,
      PAD, BOS and UNK, and the other tokens are absent.

  Raises:
    ValueError: an id is not one of the vocabulary.
  """
  roles = ((EOS, "eos", eos), (PAD, "pad", pad), (BOS, "bos", bos), (UNK, "unk", unk))
  special = [ABSENT] * len(roles)
  for our_id, name, their_id in roles:
    if their_id is None:
      continue
    if not 0 <= their_id < size:
      raise ValueError(
        f"{name} token: expected an id from 0 to {size - 1}, got {their_id}"
      )
    if their_id not in special:
      special[our_id] = their_id
  taken = set(special)
  return IdOrder((*special, *(i for i in range(size) if i not in taken)))
