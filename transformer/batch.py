"""What crosses the border between data and models: plain arrays, named."""

from typing import Any, NamedTuple

PAD, EOS, BOS, UNK = 0, 1, 2, 3
"""Ids of the special tokens, the same in every vocabulary of this project."""

MASK = UNK
"""What stands for a token that is to be guessed. A vocabulary that can spell every
character in bytes needs no other unknown, so any run's vocabulary has a mask."""


class Tokens(NamedTuple):
  """Rows of tokens that know where they stand and whose they are; int32, `[b, t]`.

  A row may hold several examples one after another (packing), each with positions
  of its own. Padding has id `PAD`, position 0 and segment 0.
  """

  id_bt: Any  # token ids
  pos_bt: Any  # position inside its own example, from 0
  seg_bt: Any  # number of the example in its row, from 1; 0 is padding


class Images(NamedTuple):
  """Labelled images of one size; a row that is none has `real` 0."""

  image_byxc: Any  # uint8, 0 is dark
  label_b: Any  # int32: which class
  real_b: Any  # int32: 1, or 0 in an empty row


class Questions(NamedTuple):
  """Stories with a question, as ids of words, -1 where there is none; a row that is
  none has `real` 0."""

  id_bst: Any  # int32: the words of every sentence
  age_bs: Any  # int32: 0 for the last sentence, 1 for the one before
  question_bt: Any  # int32
  label_b: Any  # int32: the answer
  real_b: Any  # int32: 1, or 0 in an empty row


class Pairs(NamedTuple):
  """Aligned source and target rows; segment `n` of a source row belongs to segment
  `n` of the target row. Both sides end every example in `EOS`; neither has `BOS`."""

  source: Tokens
  target: Tokens


class Labelled(NamedTuple):
  """Rows of tokens and the class of each example."""

  tokens: Tokens
  class_bt: Any  # int32: at each example's first token its class; elsewhere -1


class Continued(NamedTuple):
  """Rows of texts that go on from what stands before; segment `n` of either row is one
  example. Each token of `text` is read, and tells the next one of its example; of
  `before`, every token is read and none told."""

  before: Tokens
  text: Tokens
