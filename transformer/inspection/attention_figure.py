"""Attention as a figure: a heat map with tokens on both axes, or weights over an
image."""

import io

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from transformer.inspection.attention import Attention, AttentionMap


def figure(
  found: Attention,
  name: str | None = None,
  layer: int | None = None,
  head: int | None = None,
) -> bytes:
  """One attention of one layer as a PNG.

  Args:
    found: from `attention_of`.
    name: of the attention; that to the source by default.
    layer: from 1; the last by default.
    head: from 1; the mean over heads by default.

  Raises:
    ValueError: there is no such attention, layer or head.
  """
  shown = found.map(name)
  layers, heads = shown.weights_lhts.shape[:2]
  layer = layers if layer is None else layer
  for flag, value, most in (("--layer", layer, layers), ("--head", head, heads)):
    if value is not None and not 1 <= value <= most:
      raise ValueError(f"{flag}: expected 1 to {most}, got {value}")
  if head is None:
    weights_ts, part = shown.mean_lts[layer - 1], f"mean over {heads} heads"
  else:
    weights_ts, part = shown.weights_lhts[layer - 1, head - 1], f"head {head}"
  title = f"{shown.title}, layer {layer}, {part if heads > 1 else ''}".rstrip(", ")
  draw = draw_tokens if found.image_yxc is None else draw_image
  drawn = draw(found, shown, weights_ts)
  drawn.suptitle(title, fontsize=11)
  buffer = io.BytesIO()
  drawn.savefig(buffer, format="png", dpi=150)
  plt.close(drawn)
  return buffer.getvalue()


def draw_tokens(found: Attention, shown: AttentionMap, weights_ts: np.ndarray):
  """A cell for every query and key."""
  t, s = weights_ts.shape
  cell = min(0.32, 9.0 / max(t, s))
  drawn, axes = plt.subplots(
    figsize=(1.9 + max(2.2, cell * s), 1.5 + max(1.2, cell * t)), layout="constrained"
  )
  image = axes.imshow(weights_ts, cmap="Greys", vmin=0.0, vmax=1.0, aspect="auto")
  # Tokens are text, and a dollar sign in them no formula.
  axes.set_xticks(
    range(s), [plain(x) for x in shown.keys], rotation=90, parse_math=False
  )
  axes.set_yticks(range(t), [plain(x) for x in shown.queries], parse_math=False)
  axes.tick_params(length=0, labelsize=9 if cell > 0.2 else 6)
  axes.set_xlabel("attended to (key)")
  axes.set_ylabel("attends (query)")
  for side in axes.spines.values():
    side.set_color("lightgray")
  drawn.colorbar(image, ax=axes, label="weight", shrink=0.8)
  return drawn


def draw_image(found: Attention, shown: AttentionMap, weights_ts: np.ndarray):
  """The image, and what the class token attends to in it."""
  rows, columns = (int(n) for n in shown.keys[-1].split(","))
  image_yxc = found.image_yxc
  assert image_yxc is not None
  height, width = image_yxc.shape[:2]
  flat = image_yxc[..., 0] if image_yxc.shape[-1] == 1 else image_yxc
  drawn, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3.6), layout="constrained")
  left.imshow(flat, cmap="gray", extent=(0, width, height, 0))
  right.imshow(flat, cmap="gray", extent=(0, width, height, 0), alpha=0.35)
  weights_yx = weights_ts[0, 1:].reshape(rows, columns)
  over = right.imshow(
    weights_yx, cmap="Greys", extent=(0, width, height, 0), alpha=0.75, vmin=0.0
  )
  left.set_title(f"input; predicted {found.output}", fontsize=9, parse_math=False)
  right.set_title("what the class token attends to", fontsize=9)
  for axes in (left, right):
    axes.set(xlabel="column in pixels", ylabel="row in pixels")
  drawn.colorbar(over, ax=right, label="weight", shrink=0.8)
  return drawn


def plain(piece: str) -> str:
  """A piece for a reader: the mark of a space is left out of words."""
  return piece.removeprefix("▁") or "␣"
