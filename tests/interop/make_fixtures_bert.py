"""Makes the fixtures of BERT with the Hugging Face classes.

Needs a Python with PyTorch and transformers: `python make_fixtures_bert.py`. Writes
`fixtures/FAMILY/`: a small random model as `save_pretrained` writes it, and
`expected.safetensors` with inputs and what the class computes from them.
"""

import shutil
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file

FIXTURES = Path(__file__).with_name("fixtures")


def randomise(model, seed: int):
  """Random weights, scales around 1 and no bias 0, so that each can be wrong."""
  generator = torch.Generator().manual_seed(seed)
  with torch.no_grad():
    for name, weight in model.named_parameters():
      centre = 1.0 if "norm" in name.lower() and name.endswith("weight") else 0.0
      weight.copy_(centre + 0.25 * torch.randn(weight.shape, generator=generator))
  return model.eval()


def write(name: str, model, expected: dict) -> None:
  """A model and what it computes."""
  path = FIXTURES / name
  shutil.rmtree(path, ignore_errors=True)
  model.save_pretrained(path)
  tensors = {key: value.detach().contiguous() for key, value in expected.items()}
  save_file(tensors, path / "expected.safetensors")
  size = sum(file.stat().st_size for file in path.iterdir())
  print(f"{name}: {size:,} bytes")


def padded(lengths, vocabulary: int, first: int, last: int, seed: int, pad: int = 0):
  """Ids `[b, t]` of random texts of these lengths, each ending in `last`, and the mask
  of real tokens."""
  generator = torch.Generator().manual_seed(seed)
  ids = torch.full((len(lengths), max(lengths)), pad)
  for row, length in enumerate(lengths):
    ids[row, :length] = torch.randint(first, vocabulary, (length,), generator=generator)
    ids[row, length - 1] = last
  mask = torch.zeros_like(ids)
  for row, length in enumerate(lengths):
    mask[row, :length] = 1
  return ids, mask


BERT = dict(
  vocab_size=47, hidden_size=24, num_hidden_layers=2, num_attention_heads=4,
  intermediate_size=36, max_position_embeddings=19, type_vocab_size=2,
  pad_token_id=0,
)  # fmt: skip


def bert(name: str, kind: str, output: str, **settings) -> None:
  """BERT with one of its heads, or none."""
  config = transformers.BertConfig(**BERT, **settings)
  model = randomise(getattr(transformers, kind)(config), 7)
  ids, mask = padded((11, 6, 3), 47, 5, 3, seed=8)
  ids[:, 0] = 2
  with torch.no_grad():
    found = model(input_ids=ids, attention_mask=mask)
    core = model if kind == "BertModel" else model.bert
    encoded = core(input_ids=ids, attention_mask=mask).last_hidden_state
  write(name, model, dict(
    ids=ids, mask=mask, output=getattr(found, output), encoded=encoded
  ))  # fmt: skip


if __name__ == "__main__":
  bert("bert", "BertModel", "pooler_output")
  bert("bert_masked", "BertForMaskedLM", "logits")
  bert(
    "bert_classes", "BertForSequenceClassification", "logits",
    id2label={0: "negative", 1: "neutral", 2: "positive"},
    label2id={"negative": 0, "neutral": 1, "positive": 2},
  )  # fmt: skip
