"""The hooks of a position scheme: on embeddings, on queries and keys, on scores."""

import dataclasses
from typing import Annotated, Any, NamedTuple

from transformer.config import Range

SinusoidBase = Annotated[float, Range(1, 10**12)]
"""Of which sinusoids have powers as wavelengths."""


class Relation(NamedTuple):
  """What the positions of query and key add to one layer's self-attention."""

  bias_bhts: Any = None  # added to the scores, float32
  value_btsk: Any = None  # added to the value that query t reads at key s, every head


@dataclasses.dataclass(frozen=True)
class Position:
  """No position information. Subclasses override only the hooks they need."""

  @property
  def table_length(self) -> int | None:
    """Positions of a learned table, beyond which all share its last vector; None where
    a position is a function of its number."""
    return None

  def embed(self, mod, x_btd, pos_bt):
    """Once per stack, on the embeddings; `mod` may hold parameters."""
    return x_btd

  def rotate(self, x_bthk, pos_bt):
    """In every layer, on the queries and keys of self-attention; the decoding cache
    holds rotated keys."""
    return x_bthk

  def bias(self, mod, heads: int, q_pos_bt, k_pos_bs, causal: bool):
    """Once per stack, added to the self-attention scores of all layers; `[b, h, t, s]`
    in float32 or None. `causal` states that no query attends to a later key."""
    return None

  def relate(self, mod, q_bthk, k_bshk, v_bshk, q_pos_bt, k_pos_bs) -> Relation:
    """In every layer, with its queries, keys and values; `mod` holds parameters of
    that layer."""
    return Relation()
