"""Fused attention against our plain one; what cannot run is said, never passed over.

The TPU kernel runs in Pallas' interpret mode. cuDNN needs an NVIDIA GPU: here its
refusals alone are tested, and its numbers where there is one.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.experimental.pallas import tpu

from tests.models.test_transformer import SMALL, V, variables
from tests.training.test_step import largest_difference, ragged
from transformer.layers import kernels
from transformer.layers.attention import Attention, TokenContext
from transformer.layers.kernels import Cudnn, Flash, Kernel, Plain
from transformer.layers.masks import causal, same_segment
from transformer.layers.scores import Dot
from transformer.tasks.translation import Translation
from transformer.training.mesh import RULES, Mesh

B, T, S, D, H, K = 2, 9, 150, 12, 3, 4


@pytest.fixture
def on_tpu(monkeypatch):
  """The process believes itself on a TPU, and kernels for it are interpreted."""
  monkeypatch.setattr(kernels, "platform", lambda: "tpu")
  kernels.announce.cache_clear()
  with tpu.force_tpu_interpret_mode():
    yield


def inputs(s=S, causal_too=False):
  """Arguments of attention over packed rows with padding at their ends: arrays, and the
  context of the tokens."""
  rng = np.random.default_rng(0)
  x_btd, k_bshk, v_bshk = (
    jnp.asarray(rng.normal(size=shape), jnp.float32)
    for shape in ((B, T, D), (B, s, H, K), (B, s, H, K))
  )

  def segments(size):
    cuts = np.sort(rng.integers(1, size, (B, 3)), axis=1)
    seg = (np.arange(size)[None, :, None] >= cuts[:, None, :-1]).sum(axis=-1) + 1
    return jnp.asarray(np.where(np.arange(size) < cuts[:, -1:], seg, 0), jnp.int32)

  q_seg_bt = segments(T)
  k_seg_bs = q_seg_bt if causal_too else segments(s)
  mask_bts = same_segment(q_seg_bt, k_seg_bs)
  if causal_too:
    pos_bt = jnp.broadcast_to(jnp.arange(T), (B, T))
    mask_bts = mask_bts & causal(pos_bt, pos_bt)
  tokens = TokenContext(mask_bts, q_seg_bt=q_seg_bt, k_seg_bs=k_seg_bs)
  return (x_btd, k_bshk, v_bshk), tokens


def gradients(kernel, arrays, tokens, **settings):
  """Outputs of rows that attend to something, and gradients by inputs and
  parameters."""
  module = Attention(H, K, kernel=kernel, **settings)
  params = jax.jit(Attention(H, K).init)(jax.random.key(0), *arrays, tokens)
  seen_bt = tokens.mask_bts.any(axis=-1) & (tokens.q_seg_bt > 0)

  def run(params, *arrays):
    y_btd, _ = module.apply(params, *arrays, tokens, train=True)
    y_btd = jnp.where(seen_bt[:, :, None], y_btd, 0.0)
    return jnp.sum(jnp.sin(y_btd)), y_btd

  call = jax.value_and_grad(run, argnums=(0, 1, 2), has_aux=True)
  return functools.partial(jax.jit(call), params, *arrays), jax.make_jaxpr(call)(
    params, *arrays
  )


@pytest.mark.parametrize("causal_too", [False, True])
def test_the_tpu_kernel_is_our_plain_attention(on_tpu, causal_too):
  given = inputs(T if causal_too else S, causal_too)
  flash, program = gradients(Flash(), *given, causal=causal_too)
  plain, other = gradients(Plain(), *given, causal=causal_too)
  assert "pallas_call" in str(program) and "pallas_call" not in str(other)
  assert largest_difference(flash(), plain()) < 5e-6


@pytest.mark.slow
def test_the_tpu_kernel_is_neutral_in_the_whole_model(on_tpu):
  model = dataclasses.replace(SMALL, layers=2, d_v=8)
  batch, params = ragged(3), variables(model)["params"]

  def gradient(kernel):
    module = dataclasses.replace(model, kernel=kernel).module(V)

    def loss(params):
      return Translation().loss(module, params, batch, jax.random.key(3))[0].value

    return jax.jit(jax.value_and_grad(loss))(params)

  assert largest_difference(gradient(Flash()), gradient(Plain())) < 5e-6


@pytest.mark.slow
def test_the_tpu_kernel_is_divided_by_hand_under_a_mesh(on_tpu):
  given = inputs(T, True)
  alone, _ = gradients(Plain(), *given, causal=True)
  with jax.set_mesh(Mesh().build(jax.devices()[:1])), nn.logical_axis_rules(RULES):
    flash, program = gradients(Flash(), *given, causal=True)
    assert "shard_map" in str(program) and "pallas_call" in str(program)
    assert largest_difference(flash(), alone()) < 5e-6


def test_what_computes_is_said_once(on_tpu, capsys):
  for _ in range(2):
    _, program = gradients(Kernel(), *inputs())
    assert "pallas_call" in str(program)
  assert capsys.readouterr().err == "attention: Flash\n"


def test_inference_is_plain_whatever_the_machine_offers(on_tpu):
  arrays, tokens = inputs()
  module = Attention(H, K, kernel=Flash())
  params = module.init(jax.random.key(0), *arrays, tokens)
  assert "pallas_call" not in str(jax.make_jaxpr(module.apply)(params, *arrays, tokens))


@pytest.mark.parametrize(
  "settings, reason",
  [
    (dict(dropout=0.1), "dropout on the weights"),
    (dict(score=Dot()), r"the score is Dot\(\), not a scaled dot product"),
  ],
)
def test_what_a_kernel_lacks_makes_it_plain_visibly(on_tpu, capsys, settings, reason):
  arrays, tokens = inputs()
  module = Attention(H, K, **settings)
  params = module.init(jax.random.key(0), *arrays, tokens)
  rngs = {"dropout": jax.random.key(1)}
  run = functools.partial(module.apply, train=True, rngs=rngs)
  assert "pallas_call" not in str(jax.make_jaxpr(run)(params, *arrays, tokens))
  said = capsys.readouterr().err
  assert said.startswith("attention: plain XLA (") and said.count("\n") == 1
  with pytest.raises(ValueError, match=f"model.kernel: Flash.. cannot run .*{reason}"):
    Attention(H, K, kernel=Flash(), **settings).apply(
      params, *arrays, tokens, train=True, rngs=rngs
    )


def test_a_bias_or_an_unknown_mask_makes_it_plain(on_tpu, capsys):
  arrays, tokens = inputs()
  module = Attention(H, K)
  params = module.init(jax.random.key(0), *arrays, tokens)
  biased = tokens._replace(bias_bhts=jnp.ones((B, H, T, S)))
  module.apply(params, *arrays, biased, train=True)
  assert "the scores have a bias" in capsys.readouterr().err
  module.apply(params, *arrays, tokens._replace(k_seg_bs=None), train=True)
  assert "the mask is not made of segments" in capsys.readouterr().err


@pytest.mark.parametrize(
  "kernel, reason", [(Cudnn(), "needs an NVIDIA GPU"), (Flash(), "needs a TPU")]
)
def test_a_kernel_that_cannot_run_here_is_an_error_that_says_why(kernel, reason):
  if kernels.platform() != "cpu":
    pytest.skip("not on a CPU")
  with pytest.raises(ValueError, match=f"{reason}, this is cpu; choose another"):
    gradients(kernel, *inputs())


def test_cudnn_is_asked_and_its_answer_is_the_reason(monkeypatch):
  """On a machine without cuDNN, JAX itself says so, and nothing is computed."""
  if kernels.platform() == "gpu":
    pytest.skip("on a GPU")
  monkeypatch.setattr(kernels, "platform", lambda: "gpu")
  with pytest.raises(ValueError, match=r"cannot run here: .*(cuDNN|fp16|bf16)"):
    gradients(Cudnn(), *inputs_even())


def inputs_even():
  """Packed rows of an even number of tokens on either side."""
  (x_btd, k_bshk, v_bshk), tokens = inputs()
  mask_bts, q_seg_bt = tokens.mask_bts[:, :8], tokens.q_seg_bt[:, :8]
  tokens = tokens._replace(mask_bts=mask_bts, q_seg_bt=q_seg_bt)
  return (x_btd[:, :8], k_bshk, v_bshk), tokens


@pytest.mark.skipif(kernels.platform() != "gpu", reason="cuDNN needs an NVIDIA GPU")
def test_cudnn_is_our_plain_attention():
  (x_btd, k_bshk, v_bshk), tokens = inputs_even()
  half = tuple(jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, 4)]).astype(jnp.bfloat16)
               for x in (k_bshk, v_bshk))  # fmt: skip
  arrays = (x_btd.astype(jnp.bfloat16), *half, tokens)

  def run(kernel):
    module = Attention(H, 8, kernel=kernel)
    params = Attention(H, 8).init(jax.random.key(0), *arrays)
    return module.apply(params, *arrays, train=True)[0]

  seen = tokens.mask_bts.any(axis=-1)
  found, expected = (np.asarray(run(k), np.float32)[seen] for k in (Cudnn(), Plain()))
  np.testing.assert_allclose(found, expected, atol=0.02)
