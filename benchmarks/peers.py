"""Other libraries' decoders with the same geometry and random weights, one per process.

    python peers.py FOLDER huggingface|float32|int8 [VOCABULARY]

FOLDER keeps the model between runs; VOCABULARY is its size. A worker (`worker.py`) that
answers a case of `decode.py`; runs in its own environment, made from
`requirements.txt`.
"""

import json
import os
import random
import sys
import time
from pathlib import Path

os.environ["TRANSFORMERS_VERBOSITY"] = "error"

import ctranslate2
import sentencepiece
import torch
import transformers
from worker import serve

VOCABULARY = 32_000


def marian(folder: Path, vocabulary: int) -> Path:
  """A Marian model of the paper's base geometry (§3) as Hugging Face keeps it."""
  directory = folder / f"marian-{transformers.__version__}-{vocabulary}"
  if (directory / "vocab.json").exists():
    return directory
  torch.manual_seed(0)
  config = transformers.MarianConfig(
    vocab_size=vocabulary, decoder_vocab_size=vocabulary, d_model=512,
    encoder_layers=6, decoder_layers=6,
    encoder_attention_heads=8, decoder_attention_heads=8, encoder_ffn_dim=2048,
    decoder_ffn_dim=2048, activation_function="relu", scale_embedding=True,
    max_position_embeddings=512, eos_token_id=0, forced_eos_token_id=None,
    pad_token_id=vocabulary - 1, decoder_start_token_id=vocabulary - 1,
  )  # fmt: skip
  transformers.MarianMTModel(config).save_pretrained(directory)
  # The converter reads a tokenizer too; it is not used, for ids go in and out.
  text = folder / "words.txt"
  words = random.Random(0)
  text.write_text("\n".join(f"{words.random():.9f}" for _ in range(2000)))
  sentencepiece.SentencePieceTrainer.train(
    input=str(text),
    model_prefix=str(directory / "source"),
    vocab_size=60,
    minloglevel=2,
  )
  (directory / "target.spm").write_bytes((directory / "source.model").read_bytes())
  (directory / "source.model").rename(directory / "source.spm")
  names = ["</s>", "<unk>", *(f"w{i}" for i in range(2, vocabulary - 1)), "<pad>"]
  kind = {"source_lang": "en", "target_lang": "de", "model_max_length": 512}
  (directory / "tokenizer_config.json").write_text(json.dumps(kind))
  (directory / "vocab.json").write_text(json.dumps({w: i for i, w in enumerate(names)}))
  return directory


def sources(case: dict, vocabulary: int) -> list[list[int]]:
  """Random sentences of `source` tokens, the end among them."""
  draw = random.Random(1)
  size = case["source"] - 1
  return [
    [*(draw.randrange(4, vocabulary - 1) for _ in range(size)), 0]
    for _ in range(case["sentences"])
  ]


class HuggingFace:
  """`generate` of the Marian model, PyTorch on the CPU."""

  versions = f"transformers {transformers.__version__}, torch {torch.__version__}"

  def __init__(self, folder: Path, vocabulary: int):
    self.vocabulary = vocabulary
    torch.set_num_threads(os.cpu_count() or 1)
    self.model = transformers.MarianMTModel.from_pretrained(
      marian(folder, vocabulary)
    ).eval()

  def decode(self, case: dict) -> int:
    with torch.inference_mode():
      output = self.model.generate(
        torch.tensor(sources(case, self.vocabulary)),
        num_beams=case["beam"], do_sample=False,
        min_new_tokens=case["output"], max_new_tokens=case["output"],
      )  # fmt: skip
    return output[:, 1:].numel()


class CTranslate2:
  """The same model, converted."""

  versions = f"ctranslate2 {ctranslate2.__version__}"

  def __init__(self, folder: Path, kind: str, vocabulary: int):
    self.vocabulary = vocabulary
    directory = folder / f"ctranslate2-{ctranslate2.__version__}-{vocabulary}"
    if not directory.exists():
      model = str(marian(folder, vocabulary))
      ctranslate2.converters.TransformersConverter(model).convert(str(directory))
    self.translator = ctranslate2.Translator(
      str(directory),
      compute_type=kind,
      inter_threads=1,
      intra_threads=os.cpu_count() or 1,
    )

  def decode(self, case: dict) -> int:
    rows = [
      [*(f"w{i}" for i in ids[:-1]), "</s>"] for ids in sources(case, self.vocabulary)
    ]
    results = self.translator.translate_batch(
      rows, beam_size=case["beam"],
      min_decoding_length=case["output"], max_decoding_length=case["output"],
    )  # fmt: skip
    return sum(len(result.hypotheses[0]) for result in results)


def main():
  folder, kind = Path(sys.argv[1]), sys.argv[2]
  vocabulary = int(sys.argv[3]) if len(sys.argv) > 3 else VOCABULARY
  folder.mkdir(parents=True, exist_ok=True)
  if kind == "huggingface":
    decoder = HuggingFace(folder, vocabulary)
  else:
    decoder = CTranslate2(folder, kind, vocabulary)

  def answer(case: dict) -> dict:
    start = time.perf_counter()
    tokens = decoder.decode(case)
    return {"seconds": time.perf_counter() - start, "tokens": tokens}

  serve({"versions": decoder.versions}, answer)


if __name__ == "__main__":
  main()
