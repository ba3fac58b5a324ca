"""BERT: the encoder alone, attending to the text on both sides of every token (Devlin
et al. 2019)."""

import dataclasses
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from transformer.batch import Labelled, Sentences, Tokens
from transformer.layers.embedding import Tying
from transformer.layers.feedforward import GELU, FeedForward
from transformer.layers.linear import project, weight
from transformer.layers.positions import Learned, Position
from transformer.models.base import Attentions
from transformer.models.blocks import Stack
from transformer.models.stack import Encoder
from transformer.models.transformer import Transformer


@dataclasses.dataclass(frozen=True)
class Bert(Transformer):
  """The Transformer's encoder with a head that predicts masked tokens; the defaults are
  BERT base (Devlin et al. 2019, §3).

  Texts begin with `BOS`, the paper's [CLS], and end in `EOS`, its [SEP]. Recipes and
  sizes are the Transformer's.

  Attributes:
    token_types: embeddings of the sentences of a pair; that of type 0, the first, is
      added to every token (§3, input representations), the others are parameters that
      single texts do not use.
  """

  layers: int = 12
  d_model: int = 768
  d_ff: int = 3072
  heads: int = 12
  position: Position = Learned(512)
  feed_forward: FeedForward = GELU()
  tying: Tying = Tying(scaled=False)
  token_types: int = 0

  unused: ClassVar[tuple[str, ...]] = ("decoder_layers", "start_id", "logits_bias")

  def __post_init__(self):
    super().__post_init__()
    if self.token_types < 0:
      raise ValueError(f"model.token_types: expected 0 or more, got {self.token_types}")

  def module(self, vocabulary: int, dtype=jnp.float32) -> Any:
    return BertModule(self, vocabulary, dtype)

  def example(self) -> Any:
    return Tokens(*(np.ones((1, 2), np.int32),) * 3)


@dataclasses.dataclass(frozen=True)
class BertClassifier(Bert):
  """BERT with a head that assigns each text one of `classes` classes, from the output
  for its first token (§3.2 and §4.1 there).

  Attributes:
    classes: the number of classes.
  """

  classes: int = 2

  def __post_init__(self):
    super().__post_init__()
    if self.classes < 2:
      raise ValueError(f"model.classes: expected 2 or more, got {self.classes}")

  def module(self, vocabulary: int, dtype=jnp.float32) -> Any:
    return BertClassifierModule(self, vocabulary, dtype)

  def example(self) -> Any:
    return Labelled(super().example(), np.ones((1, 2), np.int32))


@dataclasses.dataclass(frozen=True)
class BertEncoder(Bert):
  """BERT without a head, for vectors of texts.

  Attributes:
    pooler: has the dense layer with tanh that a classifier has before its classes
      (§3.2 there) among its parameters.
  """

  pooler: bool = False

  def module(self, vocabulary: int, dtype=jnp.float32) -> Any:
    return BertEncoderModule(self, vocabulary, dtype)

  def example(self) -> Any:
    return Sentences(super().example())


class MaskedHead(nn.Module):
  """A dense layer, the feed-forward recipe's activation and norm, before the logits."""

  c: Stack

  @nn.compact
  def __call__(self, x_btd, real_bt, train):
    """`[b, t, d]` to the same."""
    d = x_btd.shape[-1]
    y_btd = project(self, "w", "btd,de->bte", x_btd, e=d, bias=True)
    y_btd = self.c.feed_forward.activate(y_btd)
    return self.c.norm(self, y_btd, real_bt=real_bt, train=train)


class Pooler(nn.Module):
  """A dense layer with tanh (the code of Devlin et al. 2019)."""

  @nn.compact
  def __call__(self, x_btd):
    """`[b, t, d]` to the same."""
    d = x_btd.shape[-1]
    return nn.tanh(project(self, "pool", "btd,de->bte", x_btd, e=d, bias=True))


class ClassHead(Pooler):
  """The pooler, and a linear map to the classes."""

  classes: int

  @nn.compact
  def __call__(self, x_btd):
    """`[b, t, d]` to logits `[b, t, c]` in float32."""
    y_btd, c = super().__call__(x_btd), self.classes
    y_btc = project(self, "w", "btd,dc->btc", y_btd, c=c, bias=True, hidden=False)
    return y_btc.astype(jnp.float32)


class TextEncoder(nn.Module):
  """Embeddings and encoder, which every form of BERT has."""

  c: Any  # a `Bert`
  vocabulary: int
  dtype: Any = jnp.float32

  def setup(self):
    self.embedding = self.c.embedding(self.vocabulary)
    self.encoder = Encoder(self.c)
    if self.c.token_types:
      shape, init = (self.c.token_types, self.c.d_model), nn.initializers.normal(0.02)
      self.token_type_cd = weight(self, "token_type", "cd", shape, init)

  def encode(self, tokens: Tokens, train: bool = False, keep_weights: bool = False):
    """See `Encoder`."""
    id_bt, pos_bt, seg_bt = tokens
    x_btd = self.embedding(id_bt, self.dtype)
    if self.c.token_types:
      x_btd = x_btd + self.token_type_cd[None, :1].astype(self.dtype)
    return self.encoder(x_btd, pos_bt, seg_bt, train, keep_weights)


class BertEncoderModule(TextEncoder):
  """Vectors of every token of a text."""

  def setup(self):
    super().setup()
    if self.c.pooler:
      self.class_head = Pooler()

  def __call__(self, batch: Sentences, train: bool = False):
    """The output of the encoder, and of the pooler where there is one, `[b, t, d]`.
    With `train`, draws from the stream `dropout`."""
    y_btd, _ = self.encode(batch.tokens, train)
    return self.class_head(y_btd) if self.c.pooler else y_btd

  def attention(self, batch: Sentences) -> Attentions:
    """See `models.base.Attends`."""
    return {"encoder/self_attention": self.encode(batch.tokens, keep_weights=True)[1]}


class BertModule(TextEncoder):
  """Logits of every token of a text, given all of them, some of which are masked."""

  def setup(self):
    super().setup()
    self.masked_head = MaskedHead(self.c)
    zeros = nn.initializers.zeros
    self.bias_v = weight(self, "bias", "v", (self.vocabulary,), zeros)

  def __call__(self, batch: Tokens, train: bool = False):
    """Logits `[b, t, v]` in float32. With `train`, draws from the stream `dropout`."""
    return self.logits(self.hidden(batch, train))

  def logits(self, x_btd):
    """The logits of hidden states `[b, t, d]`."""
    return self.embedding.logits(x_btd) + self.bias_v[None, None, :]

  def hidden(self, batch: Tokens, train: bool = False):
    """The output of encoder and head for every token, `[b, t, d]`."""
    x_btd, _ = self.encode(batch, train)
    return self.masked_head(x_btd, batch.seg_bt != 0, train)

  def attention(self, batch: Tokens) -> Attentions:
    """See `models.base.Attends`."""
    return {"encoder/self_attention": self.encode(batch, keep_weights=True)[1]}


class BertClassifierModule(TextEncoder):
  """Logits of the classes of every example, meaningful at its first token only."""

  def setup(self):
    super().setup()
    self.class_head = ClassHead(self.c.classes)

  def __call__(self, batch: Labelled, train: bool = False):
    """Logits `[b, t, c]` in float32. With `train`, draws from the stream `dropout`."""
    return self.logits(self.hidden(batch, train))

  def logits(self, x_btd):
    """The logits of hidden states `[b, t, d]`."""
    return self.class_head(x_btd)

  def hidden(self, batch: Labelled, train: bool = False):
    """The output of the encoder for every token, `[b, t, d]`."""
    return self.encode(batch.tokens, train)[0]

  def attention(self, batch: Labelled) -> Attentions:
    """See `models.base.Attends`."""
    return {"encoder/self_attention": self.encode(batch.tokens, keep_weights=True)[1]}
