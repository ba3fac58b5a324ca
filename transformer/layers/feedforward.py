"""The position-wise feed-forward network (§3.3)."""

import dataclasses
from collections.abc import Callable

from flax import linen as nn

from transformer.config import Fraction
from transformer.layers.dropout import dropout
from transformer.layers.linear import project


@dataclasses.dataclass(frozen=True)
class FeedForward:
  """max(0, x W1 + b1) W2 + b2 (§3.3, eq. 2).

  Attributes:
    dropout: probability of dropout on the inner activations; the paper's text has
      none there.
    biases: whether there are b1 and b2; T5 has none (Raffel et al. 2020, §2.1).
  """

  dropout: Fraction = 0.0
  biases: bool = True

  def __call__(self, mod, x_btd, f: int, train: bool):
    """`[b, t, d]` to `[b, t, d]` through `f` inner channels; `mod` holds parameters."""
    y_btf = dropout(mod, self.inner(mod, x_btd, f), self.dropout, train)
    d = x_btd.shape[-1]
    return project(mod, "w2", "btf,fd->btd", y_btf, d=d, bias=self.biases)

  def inner(self, mod, x_btd, f: int):
    """The `f` inner channels of `[b, t, d]`."""
    bias = self.biases
    return self.activate(project(mod, "w1", "btd,df->btf", x_btd, f=f, bias=bias))

  def activate(self, x_btf):
    """The function between the two maps."""
    return nn.relu(x_btf)

  def sublayer(self, residual: Callable, network: Callable, x_btd, train: bool):
    """The residual stream after `network`, through the connection `residual`."""
    x_btd, _ = residual(x_btd, lambda x_btd: (network(x_btd, train), None), train)
    return x_btd


@dataclasses.dataclass(frozen=True)
class GELU(FeedForward):
  """GELU(x W1 + b1) W2 + b2, with GELU(x) = x Φ(x) (Hendrycks and Gimpel 2016, §2).

  Attributes:
    approximate: takes x/2 (1 + tanh(√(2/π) (x + 0.044715 x³))) instead, as GPT-2 does.
  """

  approximate: bool = False

  def activate(self, x_btf):
    return nn.gelu(x_btf, approximate=self.approximate)


@dataclasses.dataclass(frozen=True)
class SiLU(FeedForward):
  """Swish(x W1 + b1) W2 + b2, with Swish(x) = x sigmoid(x) (Ramachandran et al. 2017;
  SiLU in Hendrycks and Gimpel 2016)."""

  def activate(self, x_btf):
    return nn.silu(x_btf)


@dataclasses.dataclass(frozen=True)
class GLU(FeedForward):
  """(σ(x W1) ⊗ x V) W2, without biases (Dauphin et al. 2017; Shazeer 2020, §2).

  Three matrices: as many weights as the paper's two have at two thirds of their d_ff.

  Attributes:
    biases: whether the three maps have biases.
  """

  biases: bool = False

  def inner(self, mod, x_btd, f):
    linear_btf = project(mod, "v", "btd,df->btf", x_btd, f=f, bias=self.biases)
    return super().inner(mod, x_btd, f) * linear_btf

  def activate(self, x_btf):
    return nn.sigmoid(x_btf)


@dataclasses.dataclass(frozen=True)
class GEGLU(GLU):
  """(GELU(x W1) ⊗ x V) W2, without biases (Shazeer 2020, eq. 6).

  Attributes:
    approximate: takes the GELU of tanh instead, as T5 v1.1 and Flan-T5 do.
  """

  approximate: bool = False

  def activate(self, x_btf):
    return nn.gelu(x_btf, approximate=self.approximate)


@dataclasses.dataclass(frozen=True)
class SwiGLU(GLU):
  """(Swish(x W1) ⊗ x V) W2, without biases (Shazeer 2020, eq. 6)."""

  def activate(self, x_btf):
    return nn.silu(x_btf)


@dataclasses.dataclass(frozen=True)
class NoFeedForward(FeedForward):
  """Layers with attention only: no feed-forward sublayer, and no residual connection
  and norm for it."""

  def sublayer(self, residual, network, x_btd, train):
    return x_btd
