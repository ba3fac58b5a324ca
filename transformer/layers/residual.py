"""How a sublayer joins the stream around it."""

import dataclasses
from collections.abc import Callable

from transformer.layers.dropout import dropout
from transformer.layers.norms import Norm


@dataclasses.dataclass(frozen=True)
class Residual:
  """Norm after the sum, LayerNorm(x + Sublayer(x)), with dropout on the sublayer's
  output (§3.1, §5.4)."""

  def __call__(
    self, mod, norm: Norm, x_btd, sublayer: Callable, rate: float, train: bool
  ):
    """Applies `sublayer` to a stream; `mod` holds the norm's parameters."""
    return norm(mod, x_btd + dropout(mod, sublayer(x_btd), rate, train))

  def last(self, mod, norm: Norm, x_btd):
    """What a stack does to its output, once, after the last layer."""
    return x_btd


@dataclasses.dataclass(frozen=True)
class PreNorm(Residual):
  """Norm before the sublayer, x + Sublayer(LayerNorm(x)), and once at the end of the
  stack (tensor2tensor after the paper; Xiong et al. 2020)."""

  def __call__(
    self, mod, norm: Norm, x_btd, sublayer: Callable, rate: float, train: bool
  ):
    return x_btd + dropout(mod, sublayer(norm(mod, x_btd)), rate, train)

  def last(self, mod, norm: Norm, x_btd):
    return norm(mod, x_btd)


@dataclasses.dataclass(frozen=True)
class NoResidual(Residual):
  """No way around the sublayer, LayerNorm(Sublayer(x)): what §3.1 is without the
  connections of He et al. 2016."""

  def __call__(
    self, mod, norm: Norm, x_btd, sublayer: Callable, rate: float, train: bool
  ):
    return norm(mod, dropout(mod, sublayer(x_btd), rate, train))
