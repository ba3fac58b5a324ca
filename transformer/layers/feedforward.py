"""The position-wise feed-forward network (§3.3)."""

import dataclasses
from collections.abc import Callable

from flax import linen as nn

from transformer.layers.dropout import dropout
from transformer.layers.linear import project


@dataclasses.dataclass(frozen=True)
class FeedForward:
  """max(0, x W1 + b1) W2 + b2 (§3.3, eq. 2).

  Attributes:
    dropout: probability of dropout on the inner activations; the paper's text has
      none there.
  """

  dropout: float = 0.0

  def __call__(self, mod, x_btd, f: int, train: bool):
    """`[b, t, d]` to `[b, t, d]` through `f` inner channels; `mod` holds parameters."""
    y_btf = self.activate(project(mod, "w1", "btd,df->btf", x_btd, f=f, bias=True))
    y_btf = dropout(mod, y_btf, self.dropout, train)
    d = x_btd.shape[-1]
    return project(mod, "w2", "btf,fd->btd", y_btf, d=d, bias=True)

  def activate(self, x_btf):
    """The function between the two maps."""
    return nn.relu(x_btf)

  def sublayer(self, residual: Callable, network: Callable, x_btd, train: bool):
    """The residual stream after `network`, through the connection `residual`."""
    x_btd, _ = residual(x_btd, lambda x_btd: (network(x_btd, train), None), train)
    return x_btd


@dataclasses.dataclass(frozen=True)
class GELU(FeedForward):
  """GELU(x W1 + b1) W2 + b2, with GELU(x) = x Φ(x) exactly, not by its approximation
  (Hendrycks and Gimpel 2016, §2)."""

  def activate(self, x_btf):
    return nn.gelu(x_btf, approximate=False)


@dataclasses.dataclass(frozen=True)
class SiLU(FeedForward):
  """Swish(x W1 + b1) W2 + b2, with Swish(x) = x sigmoid(x) (Ramachandran et al. 2017;
  SiLU in Hendrycks and Gimpel 2016)."""

  def activate(self, x_btf):
    return nn.silu(x_btf)


@dataclasses.dataclass(frozen=True)
class SwiGLU(FeedForward):
  """(Swish(x W1) ⊗ x V) W2, without biases (Shazeer 2020, eq. 6).

  Three matrices: as many weights as the paper's two have at two thirds of their d_ff.
  """

  def __call__(self, mod, x_btd, f: int, train: bool):
    gate_btf = nn.silu(project(mod, "w1", "btd,df->btf", x_btd, f=f))
    y_btf = gate_btf * project(mod, "v", "btd,df->btf", x_btd, f=f)
    y_btf = dropout(mod, y_btf, self.dropout, train)
    return project(mod, "w2", "btf,fd->btd", y_btf, d=x_btd.shape[-1])


@dataclasses.dataclass(frozen=True)
class NoFeedForward(FeedForward):
  """Layers with attention only: no feed-forward sublayer, and no residual connection
  and norm for it."""

  def sublayer(self, residual, network, x_btd, train):
    return x_btd
