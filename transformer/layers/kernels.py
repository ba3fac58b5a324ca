"""Attention kernels for training: a speed setting.

Fused kernels never write the `[b, h, t, s]` weights to memory. They round differently
from plain XLA, so they are used in training only: the results of evaluation and
decoding do not depend on the kernels that a machine has.
"""

import abc
import dataclasses
import functools
import sys
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from transformer.axes import num_shards
from transformer.layers.scores import Score


class Segments(NamedTuple):
  """What a mask is made of, for kernels that make it themselves: tokens attend to their
  own segment and, if `causal`, to no token to the right of them."""

  q_seg_bt: jax.Array
  k_seg_bs: jax.Array
  causal: bool


class AttentionInputs(NamedTuple):
  """The inputs of attention: the softmax of the masked `score` times the values."""

  q_bthk: jax.Array
  k_bshk: jax.Array
  v_bshk: jax.Array
  mask_bts: jax.Array
  bias_bhts: jax.Array | None
  relative_btsk: jax.Array | None  # added to the value of key s for query t
  segments: Segments | None
  score: Score
  dropout: float


@dataclasses.dataclass(frozen=True)
class Kernel:
  """The first that supports the inputs: cuDNN, flash, plain XLA. On an accelerator
  reports on stderr, once, which it is and why those before it are not used."""

  def select(self, inputs: AttentionInputs) -> Callable[[], jax.Array] | None:
    """A function that computes `[b, t, h, k]` with a fused kernel; None for plain XLA.

    Raises:
      ValueError: a kernel was chosen that does not support the inputs.
    """
    if platform() == "cpu":
      return None
    reasons = []
    for kernel in (Cudnn(), Flash()):
      reason = kernel.unsupported(inputs)
      if not reason:
        announce(f"attention: {type(kernel).__name__}")
        return functools.partial(kernel.run, inputs)
      reasons.append(f"{type(kernel).__name__}: {reason}")
    announce(f"attention: plain XLA ({'; '.join(reasons)})")
    return None


@dataclasses.dataclass(frozen=True)
class Plain(Kernel):
  """Plain XLA on every machine."""

  def select(self, inputs: AttentionInputs) -> Callable[[], jax.Array] | None:
    return None


@dataclasses.dataclass(frozen=True)
class _Fused(Kernel, abc.ABC):
  def select(self, inputs: AttentionInputs) -> Callable[[], jax.Array] | None:
    reason = self.unsupported(inputs)
    if reason:
      raise ValueError(
        f"model.kernel: {self} cannot run here: {reason}; choose another, or Kernel() "
        "for the first that can"
      )
    return functools.partial(self.run, inputs)

  def unsupported(self, inputs: AttentionInputs) -> str:
    """Why the kernel cannot compute the inputs; empty if it can."""
    if inputs.bias_bhts is not None:
      return "the scores have a bias"
    if inputs.relative_btsk is not None:
      return "positions add to the values"
    if inputs.dropout:
      return "there is dropout on the weights (model.attention_dropout)"
    # Not `isinstance`: a subclass is another function of queries and keys.
    if type(inputs.score) is not Score:
      return f"the score is {inputs.score}, not a scaled dot product"
    if inputs.v_bshk.shape[-1] != inputs.k_bshk.shape[-1]:
      return "keys and values differ in width (d_k, d_v)"
    if num_shards("t") > 1:
      return f"tokens are sharded over {num_shards('t')} devices (sequence)"
    return self.unsupported_here(inputs)

  @abc.abstractmethod
  def unsupported_here(self, inputs: AttentionInputs) -> str:
    """Why the kernel cannot run on this machine or these shapes; empty if it can."""

  @abc.abstractmethod
  def run(self, inputs: AttentionInputs) -> jax.Array:
    """The output, `[b, t, h, k]`."""


@dataclasses.dataclass(frozen=True)
class Cudnn(_Fused):
  """cuDNN's fused attention on NVIDIA GPUs, in bfloat16, through JAX."""

  def unsupported_here(self, inputs: AttentionInputs) -> str:
    if platform() != "gpu":
      return f"it needs an NVIDIA GPU, this is {platform()}"
    if inputs.q_bthk.shape[1] % 2 or inputs.k_bshk.shape[1] % 2:
      return "rows have an odd number of tokens"
    # JAX checks its own conditions on cuDNN, dtypes and widths; nothing is computed.
    shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in inputs[:4]]
    try:
      jax.eval_shape(
        lambda q, k, v, mask: jax.vjp(
          lambda q, k, v: self.attend(q, k, v, mask), q, k, v
        )[0],
        *shapes,
      )
    except (ValueError, NotImplementedError, RuntimeError) as error:
      return str(error).partition("\n")[0]
    return ""

  def run(self, inputs: AttentionInputs) -> jax.Array:
    return self.attend(*inputs[:4])

  def attend(self, q_bthk, k_bshk, v_bshk, mask_bts) -> jax.Array:
    """`[b, t, h, k]`."""
    return jax.nn.dot_product_attention(
      q_bthk, k_bshk, v_bshk, mask=mask_bts[:, None], implementation="cudnn"
    )


@dataclasses.dataclass(frozen=True)
class Flash(_Fused):
  """FlashAttention (Dao et al. 2022) on TPUs, JAX's Pallas kernel. It makes the mask
  from segments, block by block; rows are padded to a multiple of 128 tokens."""

  def unsupported_here(self, inputs: AttentionInputs) -> str:
    k = inputs.k_bshk.shape[-1]
    if platform() != "tpu":
      return f"it needs a TPU, this is {platform()}"
    if inputs.segments is None:
      return "the mask is not made of segments"
    if k > LANES and k % LANES:
      return f"d_k {k} is above {LANES} and not a multiple of it"
    return ""

  def run(self, inputs: AttentionInputs) -> jax.Array:
    assert inputs.segments is not None
    q_seg_bt, k_seg_bs, causal = inputs.segments

    def attend(q_bthk, k_bshk, v_bshk, q_seg_bt, k_seg_bs):
      # Not at the top: importing Pallas for TPUs takes a second.
      from jax.experimental.pallas.ops.tpu import flash_attention as flash

      t, scale = q_bthk.shape[1], q_bthk.shape[-1] ** -0.5
      q, k, v = (padded(x, 0).swapaxes(1, 2) for x in (q_bthk, k_bshk, v_bshk))
      segments = flash.SegmentIds(padded(q_seg_bt, -1), padded(k_seg_bs, -1))
      q_block, k_block = block(q.shape[2]), block(k.shape[2])
      sizes = flash.BlockSizes(
        block_q=q_block,
        block_k_major=k_block,
        block_k=k_block,
        block_b=1,
        block_q_major_dkv=q_block,
        block_k_major_dkv=k_block,
        block_k_dkv=k_block,
        block_q_dkv=q_block,
        block_k_major_dq=k_block,
        block_k_dq=k_block,
        block_q_dq=q_block,
      )
      y = flash.flash_attention(
        q, k, v, None, segments, causal=causal, sm_scale=scale, block_sizes=sizes
      )
      return y.swapaxes(1, 2)[:, :t]

    arrays = (*inputs[:3], q_seg_bt, k_seg_bs)
    if jax.sharding.get_abstract_mesh().empty:
      return attend(*arrays)
    # The compiler cannot shard a kernel; rows and heads are sharded by hand.
    q_spec, k_spec, q_seg_spec, k_seg_spec = (
      nn.logical_to_mesh_axes(tuple(axes)) for axes in ("bthk", "bshk", "bt", "bs")
    )
    specs = (q_spec, k_spec, k_spec, q_seg_spec, k_seg_spec)
    sharded = jax.shard_map(attend, in_specs=specs, out_specs=q_spec, check_vma=False)
    return sharded(*arrays)


LANES = 128
"""Width of a TPU's vector registers."""


def padded(array, value):
  """`[b, t, …]` with `t` padded to a multiple of 128."""
  padding = [(0, 0)] * array.ndim
  padding[1] = (0, -array.shape[1] % LANES)
  return jnp.pad(array, padding, constant_values=value)


def block(tokens: int) -> int:
  """The largest block of at most 512 tokens that divides a row."""
  return next(size for size in (512, 256, LANES) if tokens % size == 0)


def platform() -> str:
  """The platform of the process: `cpu`, `gpu` or `tpu`."""
  return jax.default_backend()


@functools.cache
def announce(text: str) -> None:
  """Prints a line on stderr, the first time only."""
  print(text, file=sys.stderr, flush=True)
