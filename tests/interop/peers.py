"""Programs of the tests that need PyTorch and transformers.

python peers.py make FAMILY DIR       a random model of real sizes, what it computes
python peers.py check DIR BACK        BACK is opened and computes what DIR's model did
python peers.py embed DIR TEXTS       vectors of a file's lines, TEXTS.safetensors
"""

import inspect
import json
import sys
from pathlib import Path

import torch
import transformers
from make_fixtures import padded, randomise
from safetensors.torch import load_file, save_file

BART_SIZES = {
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
T5_SIZES = {"vocab_size": 424, "decoder_start_token_id": 0}
CLASSES = {"num_labels": 7}
SETTINGS = {
  "marian": ("MarianMTModel", "MarianConfig", BART_SIZES),
  "m2m": ("M2M100ForConditionalGeneration", "M2M100Config", BART_SIZES),
  "bart": ("BartForConditionalGeneration", "BartConfig", BART_SIZES),
  "mbart": ("MBartForConditionalGeneration", "MBartConfig", BART_SIZES),
  # T5 small, and its sizes with the layers of v1.1.
  "t5": ("T5ForConditionalGeneration", "T5Config", T5_SIZES),
  "flan_t5": (
    "T5ForConditionalGeneration", "T5Config",
    T5_SIZES | {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
  ),
  # GPT-2 small, ViT-B/16, DeiT-Ti/16 and BERT base, with fewer words or classes.
  "gpt2": (
    "GPT2LMHeadModel", "GPT2Config",
    {"vocab_size": 424, "bos_token_id": 423, "eos_token_id": 423},
  ),
  "vit": ("ViTForImageClassification", "ViTConfig", CLASSES),
  "deit_teacher": (
    "DeiTForImageClassificationWithTeacher", "DeiTConfig", CLASSES
  ),
  "bert_classes": (
    "BertForSequenceClassification", "BertConfig", CLASSES | {"vocab_size": 424}
  ),
}  # fmt: skip
"""For each family its class, the class of its config, and settings of that."""


def model_of(family: str):
  """A random model; the size of weights is about that before training, smaller in T5,
  whose scores are not scaled."""
  model_class, config_class, settings = SETTINGS[family]
  config = getattr(transformers, config_class)(**settings)
  model = getattr(transformers, model_class)(config)
  if family == "flan_t5":
    shape = settings["vocab_size"], config.d_model
    model.lm_head.weight = torch.nn.Parameter(torch.empty(shape))
  size = 0.02 if isinstance(config, transformers.T5Config) else 0.04
  return randomise(model, seed=1, size=size).eval()


def texts(lengths, seed: int, names=("input_ids", "attention_mask")) -> dict:
  """Random ids of these lengths, which are no special token."""
  return dict(zip(names, padded(lengths, range(4, 423), 1, None, seed), strict=True))


def inputs_of(family: str) -> tuple[dict, dict]:
  """Arguments of the class, and what else our model needs to know."""
  if family in ("vit", "deit_teacher"):
    generator = torch.Generator().manual_seed(1)
    image_byxc = torch.randint(
      256, (3, 224, 224, 3), generator=generator, dtype=torch.uint8
    )
    pixels_bcyx = (image_byxc.permute(0, 3, 1, 2) / 255 - 0.5) / 0.5
    return {"pixel_values": pixels_bcyx.contiguous()}, {"image": image_byxc}
  if family in ("gpt2", "bert_classes"):
    arguments = texts((120, 7, 33), seed=1)
    arguments["input_ids"][:, 0] = 423 if family == "gpt2" else 2
    return arguments, {}
  # T5's last bucket begins at a distance of 128.
  arguments = texts((150 if "t5" in family else 60, 7, 33), seed=1)
  targets = ("decoder_input_ids", "decoder_mask")
  target = texts((20, 41, 3), seed=2, names=targets)
  target["decoder_input_ids"][:, 0] = SETTINGS[family][2]["decoder_start_token_id"]
  mask = target.pop("decoder_mask")
  return arguments | target, {"decoder_mask": mask}


def make(family: str, path: Path) -> None:
  model = model_of(family)
  model.save_pretrained(path)
  if "ForImageClassification" in SETTINGS[family][0]:
    processor = {"size": 224, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (path / "preprocessor_config.json").write_text(json.dumps(processor))
  arguments, others = inputs_of(family)
  with torch.no_grad():
    found = {"logits": model(**arguments).logits, **others}
  save_file(found | arguments, path / "expected.safetensors")


def check(path: Path, back: Path) -> None:
  config = transformers.AutoConfig.from_pretrained(back)
  model_class = getattr(transformers, config.architectures[0])
  model, report = model_class.from_pretrained(back, output_loading_info=True)
  assert not any(report.values()), report
  expected = load_file(path / "expected.safetensors")
  known = inspect.signature(model_class.forward).parameters
  arguments = {name: values for name, values in expected.items() if name in known}
  with torch.no_grad():
    assert torch.equal(model.eval()(**arguments).logits, expected["logits"])


def embed(path: Path, file: Path) -> None:
  """By BERT, the mean over tokens, of length 1."""
  tokenizer = transformers.AutoTokenizer.from_pretrained(path)
  model = transformers.AutoModel.from_pretrained(path).eval()
  lines, parts = file.read_text(encoding="utf-8").splitlines(), []
  for start in range(0, len(lines), 50):
    batch = tokenizer(
      lines[start : start + 50], padding=True, truncation=True, max_length=256,
      return_tensors="pt",
    )  # fmt: skip
    with torch.no_grad():
      x_btd = model(**batch).last_hidden_state
    mask_bt1 = batch["attention_mask"][:, :, None]
    mean_bd = (x_btd * mask_bt1).sum(1) / mask_bt1.sum(1)
    parts.append(torch.nn.functional.normalize(mean_bd))
  save_file({"vectors": torch.cat(parts)}, f"{file}.safetensors")


if __name__ == "__main__":
  torch.set_num_threads(1)
  command, first, second = sys.argv[1:]
  if command == "make":
    make(first, Path(second))
  elif command == "check":
    check(Path(first), Path(second))
  else:
    embed(Path(first), Path(second))
