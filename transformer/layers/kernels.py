"""Which program computes attention in training: a speed setting.

Fused kernels never write the `[b, h, t, s]` weights to memory. They round otherwise
than plain XLA, so they serve training alone: what evaluation and decoding answer does
not depend on what a machine offers.
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
  """How the mask of a work came about, for kernels that make it themselves: tokens see
  their own segment and, if `causal`, none to the right of them."""

  q_seg_bt: jax.Array
  k_seg_bs: jax.Array
  causal: bool


class Work(NamedTuple):
  """What is to be computed: the softmax of `score`, masked, times the values."""

  q_bthk: jax.Array
  k_bshk: jax.Array
  v_bshk: jax.Array
  mask_bts: jax.Array
  bias_bhts: jax.Array | None
  relative_btsk: jax.Array | None  # added to the values that query t reads at key s
  segments: Segments | None
  score: Score
  dropout: float


Program = Callable[[], jax.Array]
"""Gives `[b, t, h, k]`."""


@dataclasses.dataclass(frozen=True)
class Kernel:
  """The first that can do the work: cuDNN, flash, plain XLA. Says on stderr, once,
  which it is and what spoke against those before it."""

  def program(self, work: Work) -> Program | None:
    """A fused program for some work; None stands for plain XLA.

    Raises:
      ValueError: the kernel was asked for and cannot do it; says why.
    """
    reasons = []
    for kernel in (Cudnn(), Flash()):
      reason = kernel.obstacle(work)
      if not reason:
        announce(f"attention: {type(kernel).__name__}")
        return functools.partial(kernel.run, work)
      reasons.append(f"{type(kernel).__name__}: {reason}")
    announce(f"attention: plain XLA ({'; '.join(reasons)})")
    return None


@dataclasses.dataclass(frozen=True)
class Plain(Kernel):
  """Plain XLA, whatever the machine offers."""

  def program(self, work: Work) -> Program | None:
    return None


@dataclasses.dataclass(frozen=True)
class _Fused(Kernel, abc.ABC):
  def program(self, work: Work) -> Program | None:
    reason = self.obstacle(work)
    if reason:
      raise ValueError(
        f"model.kernel: {self} cannot run here: {reason}; choose another, or Kernel() "
        "for the first that can"
      )
    return functools.partial(self.run, work)

  def obstacle(self, work: Work) -> str:
    """Why the kernel cannot do some work; empty if it can."""
    if work.bias_bhts is not None:
      return "the scores have a bias"
    if work.relative_btsk is not None:
      return "positions add to the values"
    if work.dropout:
      return "there is dropout on the weights (model.attention_dropout)"
    # Not `isinstance`: a subclass is another function of queries and keys.
    if type(work.score) is not Score:
      return f"the score is {work.score}, no scaled dot product"
    if work.v_bshk.shape[-1] != work.k_bshk.shape[-1]:
      return "keys and values differ in width (d_k, d_v)"
    if num_shards("t") > 1:
      return f"tokens lie over {num_shards('t')} devices (sequence)"
    return self.missing(work)

  @abc.abstractmethod
  def missing(self, work: Work) -> str:
    """What the machine or the kernel lacks for such shapes; empty if nothing."""

  @abc.abstractmethod
  def run(self, work: Work) -> jax.Array:
    """The values found, `[b, t, h, k]`."""


@dataclasses.dataclass(frozen=True)
class Cudnn(_Fused):
  """cuDNN's fused attention on NVIDIA GPUs, in bfloat16, through JAX."""

  def missing(self, work: Work) -> str:
    if platform() != "gpu":
      return f"it needs an NVIDIA GPU, this is {platform()}"
    if work.q_bthk.shape[1] % 2 or work.k_bshk.shape[1] % 2:
      return "rows have an odd number of slots"
    # JAX knows its conditions on cuDNN, dtypes and widths: it is asked, and nothing is
    # computed.
    shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in work[:4]]
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

  def run(self, work: Work) -> jax.Array:
    return self.attend(*work[:4])

  def attend(self, q_bthk, k_bshk, v_bshk, mask_bts) -> jax.Array:
    """`[b, t, h, k]`."""
    return jax.nn.dot_product_attention(
      q_bthk, k_bshk, v_bshk, mask=mask_bts[:, None], implementation="cudnn"
    )


@dataclasses.dataclass(frozen=True)
class Flash(_Fused):
  """FlashAttention (Dao et al. 2022) on TPUs, JAX's Pallas kernel. It makes the mask
  from segments, block by block; rows are filled up to a multiple of 128 slots."""

  def missing(self, work: Work) -> str:
    k = work.k_bshk.shape[-1]
    if platform() != "tpu":
      return f"it needs a TPU, this is {platform()}"
    if work.segments is None:
      return "the mask is not one of segments"
    if k > LANES and k % LANES:
      return f"d_k {k} is above {LANES} and no multiple of it"
    return ""

  def run(self, work: Work) -> jax.Array:
    assert work.segments is not None
    q_seg_bt, k_seg_bs, causal = work.segments

    def attend(q_bthk, k_bshk, v_bshk, q_seg_bt, k_seg_bs):
      # Not at the top: importing Pallas for TPUs takes a second.
      from jax.experimental.pallas.ops.tpu import flash_attention as flash

      t, scale = q_bthk.shape[1], q_bthk.shape[-1] ** -0.5
      q, k, v = (filled(x, 0).swapaxes(1, 2) for x in (q_bthk, k_bshk, v_bshk))
      segments = flash.SegmentIds(filled(q_seg_bt, -1), filled(k_seg_bs, -1))
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

    arrays = (*work[:3], q_seg_bt, k_seg_bs)
    if jax.sharding.get_abstract_mesh().empty:
      return attend(*arrays)
    # The compiler cannot divide a kernel; rows and heads are divided by hand.
    q_spec, k_spec, q_seg_spec, k_seg_spec = (
      nn.logical_to_mesh_axes(tuple(axes)) for axes in ("bthk", "bshk", "bt", "bs")
    )
    specs = (q_spec, k_spec, k_spec, q_seg_spec, k_seg_spec)
    divided = jax.shard_map(attend, in_specs=specs, out_specs=q_spec, check_vma=False)
    return divided(*arrays)


LANES = 128
"""Width of a TPU's vector registers."""


def filled(array, value):
  """`[b, t, …]` with `t` filled up to a multiple of 128."""
  padding = [(0, 0)] * array.ndim
  padding[1] = (0, -array.shape[1] % LANES)
  return jnp.pad(array, padding, constant_values=value)


def block(slots: int) -> int:
  """The largest block of at most 512 slots that divides a row."""
  return next(size for size in (512, 256, LANES) if slots % size == 0)


def platform() -> str:
  """What the process computes on: `cpu`, `gpu` or `tpu`."""
  return jax.default_backend()


@functools.cache
def announce(text: str) -> None:
  """Prints a line on stderr, the first time alone."""
  print(text, file=sys.stderr, flush=True)
