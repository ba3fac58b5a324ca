"""Residual connections around sublayers."""

import dataclasses
from collections.abc import Callable

from transformer.layers.dropout import dropout


@dataclasses.dataclass(frozen=True)
class Residual:
  """Norm after the sum, LayerNorm(x + Sublayer(x)), with dropout on the sublayer's
  output (§3.1, §5.4)."""

  def __call__(
    self, mod, norm: Callable, x_btd, sublayer: Callable, rate: float, train: bool
  ):
    """Applies `sublayer(x_btd) -> (y_btd, extra)`; returns the residual stream after it
    and `extra`. `mod` holds the norm's parameters."""
    y_btd, extra = sublayer(x_btd)
    return norm(mod, x_btd + dropout(mod, y_btd, rate, train)), extra

  def final_norm(self, mod, norm: Callable, x_btd):
    """What a stack applies to its output once, after the last layer."""
    return x_btd


@dataclasses.dataclass(frozen=True)
class PreNorm(Residual):
  """Norm before the sublayer, x + Sublayer(LayerNorm(x)), and once at the end of the
  stack (tensor2tensor after the paper; Xiong et al. 2020)."""

  def __call__(
    self, mod, norm: Callable, x_btd, sublayer: Callable, rate: float, train: bool
  ):
    y_btd, extra = sublayer(norm(mod, x_btd))
    return x_btd + dropout(mod, y_btd, rate, train), extra

  def final_norm(self, mod, norm: Callable, x_btd):
    return norm(mod, x_btd)


@dataclasses.dataclass(frozen=True)
class NoResidual(Residual):
  """No residual connection, LayerNorm(Sublayer(x)): what is left of §3.1 without the
  connections of He et al. 2016."""

  def __call__(
    self, mod, norm: Callable, x_btd, sublayer: Callable, rate: float, train: bool
  ):
    y_btd, extra = sublayer(x_btd)
    return norm(mod, dropout(mod, y_btd, rate, train)), extra
