"""The position-wise feed-forward network (§3.3)."""

import dataclasses

from flax import linen as nn

from transformer.layers.dropout import dropout
from transformer.layers.linear import project


@dataclasses.dataclass(frozen=True)
class FeedForward:
  """max(0, x W1 + b1) W2 + b2 (§3.3, eq. 2). `dropout` is on the inner activations;
  the paper's text has none there."""

  dropout: float = 0.0

  def __call__(self, mod, x_btd, f: int, train: bool):
    """`[b, t, d]` to the same, through `f` inner channels; `mod` holds parameters."""
    y_btf = nn.relu(project(mod, "w1", "btd,df->btf", x_btd, f=f, bias=True))
    y_btf = dropout(mod, y_btf, self.dropout, train)
    d = x_btd.shape[-1]
    return project(mod, "w2", "btf,fd->btd", y_btf, d=d, bias=True)
