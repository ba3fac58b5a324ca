"""The peers' training step: `peers_training.py pytorch|marian CASE` with a case of
`train.py` in JSON; a worker as `ours_training.py` is.

`pytorch` is `nn.Transformer` with an embedding that source, target and output share;
`marian` Hugging Face's MarianMTModel. Both train eagerly, with dropout where ours has
it and with PyTorch's fused Adam. Real sentences are grouped by length and padded to the
longest of their batch, as `group_by_length` of Hugging Face's Trainer does.
"""

import json
import os
import sys

os.environ["TRANSFORMERS_VERBOSITY"] = "error"

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from worker import measured, seconds_alive, serve

PAD, BOS = 0, 1


class Translation(nn.Module):
  """`nn.Transformer` between a shared embedding and its transposed matrix."""

  def __init__(self, case: dict):
    super().__init__()
    d = case["d_model"]
    self.embedding = nn.Embedding(case["vocabulary"], d, padding_idx=PAD)
    nn.init.normal_(self.embedding.weight, std=d**-0.5)
    self.transformer = nn.Transformer(
      d, case["heads"], case["layers"], case["layers"], case["d_ff"], dropout=0.1,
      batch_first=True,
    )  # fmt: skip
    for module in self.transformer.modules():
      if isinstance(module, (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)):
        module.dropout = nn.Identity()  # on the inner activations
    self.register_buffer("position_td", sinusoids(512, d))

  def embed(self, id_bt):
    d = self.embedding.embedding_dim
    x_btd = self.embedding(id_bt) * d**0.5 + self.position_td[: id_bt.shape[1]]
    return functional.dropout(x_btd, 0.1, self.training)

  def forward(self, source_bs, before_bt):
    padding_bs = None if (source_bs != PAD).all() else source_bs == PAD
    causal_tt = nn.Transformer.generate_square_subsequent_mask(before_bt.shape[1])
    x_btd = self.transformer(
      self.embed(source_bs), self.embed(before_bt), tgt_mask=causal_tt,
      src_key_padding_mask=padding_bs, memory_key_padding_mask=padding_bs,
      tgt_is_causal=True,
    )  # fmt: skip
    return functional.linear(x_btd, self.embedding.weight)


def sinusoids(length: int, d: int) -> torch.Tensor:
  """The positions of the paper (§3.5)."""
  position_t = torch.arange(length)[:, None]
  angle_td = position_t / 10_000 ** (torch.arange(0, d, 2) / d)
  return torch.cat([angle_td.sin(), angle_td.cos()], dim=1)


def marian(case: dict) -> nn.Module:
  """Hugging Face's Marian of the same geometry."""
  import transformers

  config = transformers.MarianConfig(
    vocab_size=case["vocabulary"], decoder_vocab_size=case["vocabulary"],
    d_model=case["d_model"], encoder_layers=case["layers"],
    decoder_layers=case["layers"], encoder_attention_heads=case["heads"],
    decoder_attention_heads=case["heads"], encoder_ffn_dim=case["d_ff"],
    decoder_ffn_dim=case["d_ff"], activation_function="relu", scale_embedding=True,
    dropout=0.1, attention_dropout=0.1, activation_dropout=0.0,
    encoder_layerdrop=0.0, decoder_layerdrop=0.0, pad_token_id=PAD, eos_token_id=2,
    decoder_start_token_id=BOS, max_position_embeddings=512,
  )  # fmt: skip
  return Marian(transformers.MarianMTModel(config))


class Marian(nn.Module):
  """The logits of a MarianMTModel."""

  def __init__(self, model: nn.Module):
    super().__init__()
    self.model = model

  def forward(self, source_bs, before_bt):
    return self.model(
      input_ids=source_bs, attention_mask=(source_bs != PAD).long(),
      decoder_input_ids=before_bt, use_cache=False,
    ).logits  # fmt: skip


class Peer:
  """A model with its optimizer, and batches without end."""

  def __init__(self, kind: str, case: dict):
    torch.manual_seed(0)
    torch.set_num_threads(os.cpu_count() or 1)
    self.model = marian(case) if kind == "marian" else Translation(case)
    self.model.train()
    self.optimizer = torch.optim.Adam(
      self.model.parameters(), lr=1e-4, betas=(0.9, 0.98), eps=1e-9, fused=True
    )
    self.batches = real_batches(case) if case["corpus"] else random_batches(case)
    self.run(1)
    self.first = seconds_alive()

  def run(self, steps: int) -> int:
    """Trains; the number of target tokens, padding left out."""
    tokens = 0
    for _ in range(steps):
      source_bs, target_bt = next(self.batches)
      tokens += int((target_bt != PAD).sum())
      before_bt = functional.pad(target_bt[:, :-1], (1, 0), value=BOS)
      logits_btv = self.model(source_bs, before_bt)
      loss = functional.cross_entropy(
        logits_btv.flatten(0, 1), target_bt.flatten(), ignore_index=PAD,
        label_smoothing=0.1,
      )  # fmt: skip
      loss.backward()
      self.optimizer.step()
      self.optimizer.zero_grad(set_to_none=True)
    return tokens

  def answer(self, request: dict) -> dict:
    if "matmul" in request:
      return {"gflops": matmul(request["matmul"])}
    tokens = 0

    def work():
      nonlocal tokens
      tokens = self.run(request["steps"])

    return {**measured(work), "tokens": tokens}


def random_batches(case: dict):
  """Source and target, `[b, t]`, without end, of sentences that fill their rows."""
  shape = case["rows"], case["length"]
  source_bs, target_bt = (torch.randint(4, case["vocabulary"], shape) for _ in range(2))
  while True:
    yield source_bs, target_bt


def real_batches(case: dict):
  """Batches of a corpus that `train.py` wrote, shuffled, then sorted by length within
  every 50 batches."""
  with np.load(case["corpus"]) as file:
    id_n, lengths_n2 = file["ids"], file["lengths"]
  end_n = np.cumsum(lengths_n2.ravel()).reshape(-1, 2)
  rng, rows = np.random.default_rng(0), case["sentences"]

  def side(members, column):
    texts = [
      torch.from_numpy(
        id_n[end_n[i, column] - lengths_n2[i, column] : end_n[i, column]]
      )
      for i in members
    ]
    return nn.utils.rnn.pad_sequence(texts, batch_first=True, padding_value=PAD)

  while True:
    order = rng.permutation(len(lengths_n2))
    groups = np.array_split(order, max(1, len(order) // (50 * rows)))
    batches = []
    for group in groups:
      group = group[np.argsort(-lengths_n2[group, 0], kind="stable")]
      batches += [group[i : i + rows] for i in range(0, len(group), rows)]
    for i in rng.permutation(len(batches)):
      yield side(batches[i], 0), side(batches[i], 1)


def matmul(n: int, repeats: int = 10) -> float:
  """GFLOP/s of the fastest of several products of two float32 n x n matrices."""
  x = torch.ones(n, n)
  torch.mm(x, x)
  seconds = [measured(lambda: torch.mm(x, x))["seconds"] for _ in range(repeats)]
  return 2e-9 * n**3 / min(seconds)


def main():
  kind, case = sys.argv[1], json.loads(sys.argv[2])
  peer = Peer(kind, case)
  versions = f"torch {torch.__version__}"
  if kind == "marian":
    import transformers

    versions = f"transformers {transformers.__version__}, {versions}"
  serve({"versions": versions, "first": peer.first}, peer.answer)


if __name__ == "__main__":
  main()
