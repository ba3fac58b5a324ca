"""Programs of the tests that need PyTorch and transformers.

python peers.py make FAMILY DIR       a random model of real sizes, what it computes
python peers.py check DIR BACK        BACK is opened and computes what DIR's model did
"""

import sys
from pathlib import Path

import torch
import transformers
from make_fixtures import padded, randomise
from safetensors.torch import load_file, save_file

SIZES = {
  "vocab_size": 424,
  "d_model": 512,
  "encoder_layers": 6,
  "decoder_layers": 6,
  "encoder_ffn_dim": 2048,
  "decoder_ffn_dim": 2048,
  "encoder_attention_heads": 8,
  "decoder_attention_heads": 8,
  "pad_token_id": 1,
  "bos_token_id": 0,
  "eos_token_id": 2,
  "decoder_start_token_id": 2,
  "scale_embedding": True,
}
KINDS = {
  "marian": (transformers.MarianConfig, transformers.MarianMTModel),
  "m2m": (transformers.M2M100Config, transformers.M2M100ForConditionalGeneration),
  "bart": (transformers.BartConfig, transformers.BartForConditionalGeneration),
  "mbart": (transformers.MBartConfig, transformers.MBartForConditionalGeneration),
}


def logits(model, tensors):
  with torch.no_grad():
    return model(
      input_ids=tensors["input_ids"],
      attention_mask=tensors["attention_mask"],
      decoder_input_ids=tensors["decoder_input_ids"],
    ).logits


def make(family: str, path: Path) -> None:
  config_class, model_class = KINDS[family]
  # The size of weights is that of a model before training.
  model = randomise(model_class(config_class(**SIZES)), seed=1, size=0.04).eval()
  model.save_pretrained(path)
  source_bs, mask_bs = padded((60, 7, 33), range(4, 424), 1, 2, seed=1)
  target_bt, target_mask_bt = padded((20, 41, 3), range(4, 424), 1, None, seed=2)
  target_bt[:, 0] = 2
  tensors = {"input_ids": source_bs, "attention_mask": mask_bs}
  tensors |= {"decoder_input_ids": target_bt, "decoder_mask": target_mask_bt}
  save_file(
    {**tensors, "logits": logits(model, tensors)}, path / "expected.safetensors"
  )


def check(path: Path, back: Path) -> None:
  config = transformers.AutoConfig.from_pretrained(back)
  model_class = getattr(transformers, config.architectures[0])
  model, report = model_class.from_pretrained(back, output_loading_info=True)
  assert not any(report.values()), report
  expected = load_file(path / "expected.safetensors")
  assert torch.equal(logits(model.eval(), expected), expected["logits"])


if __name__ == "__main__":
  torch.set_num_threads(1)
  command, first, second = sys.argv[1:]
  if command == "make":
    make(first, Path(second))
  else:
    check(Path(first), Path(second))
