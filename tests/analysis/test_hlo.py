"""Counting products in a program, and collectives in what XLA makes of it."""

import jax
import jax.numpy as jnp
import pytest

from transformer.analysis import counts, hlo


def count(function, *shapes):
  arrays = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
  return counts.jaxpr_flops(jax.make_jaxpr(function)(*arrays).jaxpr)


def test_products_count_two_for_each_multiply_add():
  assert count(lambda a, b: a @ b, (3, 5), (5, 7)) == 2 * 3 * 5 * 7
  spec = "bthk,bshk->bhts"
  shapes = (2, 5, 4, 8), (2, 7, 4, 8)
  assert count(lambda a, b: jnp.einsum(spec, a, b), *shapes) == 2 * 2 * 4 * 5 * 7 * 8
  assert count(lambda a: jnp.exp(a) + a, (3, 5)) == 0


def test_loops_count_as_often_as_they_run_and_branches_by_the_most_expensive():
  def loop(x, w):
    return jax.lax.scan(lambda x, _: (jnp.tanh(x @ w), None), x, None, length=6)[0]

  assert count(loop, (3, 5), (5, 5)) == 6 * 2 * 3 * 5 * 5
  assert count(jax.checkpoint(loop), (3, 5), (5, 5)) == 6 * 2 * 3 * 5 * 5

  def branch(x, w):
    return jax.lax.cond(x[0, 0] > 0, lambda: x @ w @ w, lambda: x @ w)

  assert count(branch, (3, 5), (5, 5)) == 2 * 2 * 3 * 5 * 5


def test_convolutions_count_their_window():
  def convolve(image, kernel):
    return jax.lax.conv_general_dilated(
      image, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )

  found = count(convolve, (2, 9, 8, 3), (4, 5, 3, 7))
  assert found == 2 * (2 * 6 * 4 * 7) * (4 * 5 * 3)


HLO = """
HloModule step

%add (x: f32[], y: f32[]) -> f32[] {
  ROOT %sum = f32[] add(%x, %y)
}

%body (state: (s32[], f32[8,3])) -> (s32[], f32[8,3]) {
  %g = bf16[8,3]{1,0} all-gather(%a), replica_groups=[2,4]<=[4,2]T(1,0), dimensions={0}
  %r = f32[5]{0} all-reduce(%b), replica_groups={{0,1},{2,3},{4,5},{6,7}}, to_apply=%add
  ROOT %out = (s32[], f32[8,3]) tuple(%i, %s)
}

%until (state: (s32[], f32[8,3])) -> pred[] {
  ROOT %less = pred[] compare(%i, %n), direction=LT
}

%outer (state: (s32[], f32[8,3])) -> (s32[], f32[8,3]) {
  ROOT %w = (s32[], f32[8,3]) while(%state), condition=%until, body=%body, backend_config={"known_trip_count":{"n":"6"}}
}

ENTRY %main (p: f32[8,3]) -> f32[8,3] {
  %t = (f32[2,3]{1,0}, s32[7]{0}) all-reduce(%p, %q), replica_groups={}, to_apply=%add
  %c = f32[4]{0} collective-permute(%p), source_target_pairs={{0,1},{1,0}}
  %w2 = (s32[], f32[8,3]) while(%t), condition=%until, body=%outer, backend_config={"known_trip_count":{"n":"2"}}
  %s = f32[3]{0} reduce-scatter(%p), replica_groups=mesh['a'=2,'b'=4] {'a'}, to_apply=%add
  ROOT %z = f32[8,3] copy(%p)
}
"""  # noqa: E501


def test_collectives_are_counted_with_the_loops_around_them():
  found, unknown = hlo.collectives(HLO, 8)
  assert unknown == 0
  by_kind = {}
  for one in found:
    by_kind.setdefault(one.kind, []).append(one)
  (gather,) = by_kind["all-gather"]
  assert (gather.times, gather.group) == (12, 4)
  assert gather.payload == 12 * 2 * 24
  assert gather.sent == pytest.approx(12 * 2 * 24 * 3 / 4)
  pairs, whole = sorted(by_kind["all-reduce"], key=lambda one: one.group)
  assert (pairs.times, pairs.group, pairs.spread) == (12, 2, 2)
  assert pairs.sent == pairs.payload == 12 * 4 * 5
  assert (whole.times, whole.group, whole.payload) == (1, 8, 4 * 6 + 4 * 7)
  assert whole.sent == pytest.approx(52 * 2 * 7 / 8)
  (permute,) = by_kind["collective-permute"]
  assert (permute.payload, permute.sent) == (16, 16)
  (scatter,) = by_kind["reduce-scatter"]
  assert (scatter.group, scatter.spread, scatter.sent) == (2, 5, 12)


def test_a_loop_of_unknown_length_is_reported():
  endless = HLO.replace('backend_config={"known_trip_count":{"n":"2"}}', "x=1")
  found, unknown = hlo.collectives(endless, 8)
  assert unknown == 1
  assert {one.times for one in found} == {1, 6}


@pytest.mark.parametrize(
  "written, expected",
  [
    ("replica_groups={{0,2},{1,3}}", [[0, 2], [1, 3]]),
    ("replica_groups={}", [[0, 1, 2, 3]]),
    ("replica_groups=[2,2]<=[4]", [[0, 1], [2, 3]]),
    ("replica_groups=[2,2]<=[2,2]T(1,0)", [[0, 2], [1, 3]]),
    ("replica_groups=mesh['a'=2,'b'=2] {'b'}", [[0, 1], [2, 3]]),
    ("replica_groups=mesh['a'=2,'b'=2] {'a'}", [[0, 2], [1, 3]]),
    (
      "replica_groups=mesh['a'=2,'b'=2], device_ids=([2,2]T(1,0)) {'a'}",
      [[0, 1], [2, 3]],
    ),
    ("replica_groups=mesh['a'=4], device_ids=(3,2,1,0) {'a':(1)2}", [[3, 1], [2, 0]]),
    ("replica_groups=mesh['a'=4] {'a':(2)2}", [[0, 1], [2, 3]]),
    ("source_target_pairs={{0,1},{1,0}}", [[0, 1], [1, 0]]),
  ],
)
def test_groups_of_devices_are_read_however_they_are_written(written, expected):
  line = f"  %r = f32[5]{{0}} all-reduce(%b), channel_id=1, {written}, dimensions={{0}}"
  assert hlo.groups(line, 4) == expected


def test_groups_in_an_unknown_format_are_an_error():
  with pytest.raises(ValueError, match="not understood: replica_groups=~1~2"):
    hlo.groups("%r = f32[5] all-reduce(%b), replica_groups=~1~2", 4)
