"""The batches that models read: named plain arrays."""

from typing import Any, NamedTuple

PAD, EOS, BOS, UNK = 0, 1, 2, 3
"""Ids of the special tokens, the same in every vocabulary of this project."""

MASK = UNK
"""Replaces a masked token. A vocabulary with byte fallback never encodes to `UNK`, so
its id is free to be the mask."""


class Tokens(NamedTuple):
  """Rows of tokens with their positions and segments; int32, `[b, t]`.

  A row may hold several examples one after another (packing), each with its own
  positions. Padding has id `PAD`, position 0 and segment 0.
  """

  id_bt: Any  # token ids
  pos_bt: Any  # position inside its own example, from 0
  seg_bt: Any  # number of the example in its row, from 1; 0 is padding


class Images(NamedTuple):
  """Labelled images of one size; a row of padding has `real` 0."""

  image_byxc: Any  # uint8, 0 is dark
  label_b: Any  # int32: which class
  real_b: Any  # int32: 1, or 0 in a row of padding


class Questions(NamedTuple):
  """Stories with a question, as ids of words, -1 at padding; a row of padding has
  `real` 0."""

  id_bst: Any  # int32: the words of every sentence
  age_bs: Any  # int32: 0 for the last sentence, 1 for the one before
  question_bt: Any  # int32
  label_b: Any  # int32: the answer
  real_b: Any  # int32: 1, or 0 in a row of padding


class Pairs(NamedTuple):
  """Aligned source and target rows; segment `n` of a source row belongs to segment
  `n` of the target row. Both sides end every example in `EOS`; neither has `BOS`."""

  source: Tokens
  target: Tokens


class Labelled(NamedTuple):
  """Rows of tokens and the class of each example."""

  tokens: Tokens
  class_bt: Any  # int32: at each example's first token its class; elsewhere -1


class Sentences(NamedTuple):
  """Rows of texts, of which each has one vector."""

  tokens: Tokens


class TextWithContext(NamedTuple):
  """Rows of texts and of the tokens before each; segment `n` of a context row belongs
  to segment `n` of the text row.

  Each token of `text` is read, and predicts the next one of its example; the tokens of
  `context` are read alone, and predict nothing.
  """

  context: Tokens
  text: Tokens
