"""Makes tests/data/tokenizers: small tokenizers, and what Hugging Face does with them.

  python tests/data/make_tokenizer_fixtures.py

with a Python that has transformers 5 (and torch is not needed). Each folder holds the
files of one tokenizer as its class reads or saves them, and `expected.npz`: for every
line of `odd_lines` the ids of the line as a source and as a target, and the text that
the target's ids are decoded to. The package's tests read them without transformers.
"""

import io
import json
import pydoc_data.topics
import shutil
import sys
from pathlib import Path

import numpy as np
import sentencepiece
import tokenizers
import transformers
from sentencepiece import sentencepiece_model_pb2

FOLDER = Path(__file__).resolve().parent / "tokenizers"
sys.path.insert(0, str(FOLDER.parents[2]))

from tests.data.odd_lines import WORDS, odd_lines  # noqa: E402

# A few of the rules of nmt_nfkc, whose whole table would be most of each file.
RULES = {
  **{"\u00a0": " ", "\u3000": " ", "\u2009": " ", "\t": " ", "\n": " ", "\r": " "},
  **{"\u200b": " ", "\ufeff": " ", "\u2028": " ", "\u0007": "", "\u007f": ""},
  **{"ﬁ": "fi", "ﬂ": "fl", "½": "1/2", "²": "2", "１": "1", "Ａ": "A", "...": "…"},
  **{"e\u0301": "é", "ǆ": "dž", "\u212a": "K"},
}


def corpus() -> list[str]:
  """English of Python's help texts, and a little of everything else."""
  text = "\n".join(topic for _, topic in sorted(pydoc_data.topics.topics.items()))
  lines = [" ".join(line.split()) for line in text.split("\n") if line.strip()][:4000]
  words = [word for word in WORDS if word.isprintable() and len(word) < 30]
  return lines + [f"{a} {b}" for a, b in zip(words, reversed(words), strict=True)] * 3


def sentencepiece_model(size: int, kind: str, normalised: bool, **settings) -> bytes:
  model = io.BytesIO()
  rules = FOLDER / "rules.tsv"
  rules.write_text(
    "".join(
      f"{' '.join(f'{ord(c):X}' for c in a)}\t{' '.join(f'{ord(c):X}' for c in b)}\n"
      for a, b in RULES.items()
    )
  )
  if normalised:
    settings["normalization_rule_tsv"] = str(rules)
  else:
    settings["normalization_rule_name"] = "identity"
  lines = [line for line in corpus() if "<" not in line]
  sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(lines), model_writer=model, vocab_size=size, model_type=kind,
    character_coverage=0.997, hard_vocab_limit=False, minloglevel=2, num_threads=1,
    **settings,
  )  # fmt: skip
  rules.unlink()
  # The path of the rules is of no use, and of one machine.
  proto = sentencepiece_model_pb2.ModelProto.FromString(model.getvalue())
  proto.normalizer_spec.ClearField("normalization_rule_tsv")
  return proto.SerializeToString()


def pieces(model: bytes) -> list[str]:
  processor = sentencepiece.SentencePieceProcessor(model_proto=model)
  return [processor.IdToPiece(i) for i in range(processor.GetPieceSize())]


def new_folder(name: str) -> Path:
  folder = FOLDER / name
  shutil.rmtree(folder, ignore_errors=True)
  folder.mkdir(parents=True)
  return folder


def write_json(path: Path, value) -> None:
  path.write_text(json.dumps(value, ensure_ascii=False, indent=0), encoding="utf-8")


def ragged(lists) -> dict:
  flat = [i for ids in lists for i in ids]
  return {
    "ids": np.array(flat, np.int32),
    "sizes": np.array(list(map(len, lists)), np.int32),
  }


def write_expected(folder: Path, tokenizer, lines=None) -> None:
  """What the class does; sources, and targets where they differ."""
  lines = odd_lines() if lines is None else lines
  sources = [tokenizer(line)["input_ids"] for line in lines]
  targets = [tokenizer(text_target=line)["input_ids"] for line in lines]
  decoded = [tokenizer.decode(ids, skip_special_tokens=True) for ids in targets]
  arrays = {f"source_{k}": v for k, v in ragged(sources).items()}
  if targets != sources:
    arrays |= {f"target_{k}": v for k, v in ragged(targets).items()}
  arrays |= {
    f"decoded_{k}": v for k, v in ragged([text.encode() for text in decoded]).items()
  }
  arrays["decoded_ids"] = arrays["decoded_ids"].astype(np.uint8)
  for name in ("source_ids", "target_ids"):
    if name in arrays and arrays[name].max() < 1 << 16:
      arrays[name] = arrays[name].astype(np.uint16)
  np.savez_compressed(folder / "expected.npz", **arrays)
  print(
    f"{folder.name}: {len(tokenizer)} ids; "
    f"{sum(file.stat().st_size for file in folder.iterdir()):,} bytes"
  )


def marian() -> None:
  folder = new_folder("marian")
  source = sentencepiece_model(420, "unigram", True)
  target = sentencepiece_model(380, "unigram", True, split_digits=True)
  (folder / "source.spm").write_bytes(source)
  (folder / "target.spm").write_bytes(target)
  names = ["</s>", "<unk>", *dict.fromkeys(pieces(source)[3:] + pieces(target)[3:])]
  # Some pieces are in no vocabulary, as in the files of OPUS-MT.
  names = [name for i, name in enumerate(names) if i < 2 or i % 29]
  names += [">>deu<<", ">>fra<<", ">>zho_Hans<<", "<pad>"]
  write_json(folder / "vocab.json", {name: i for i, name in enumerate(names)})
  settings = {"source_lang": "en", "target_lang": "mul", "model_max_length": 512}
  settings["tokenizer_class"] = "MarianTokenizer"
  write_json(folder / "tokenizer_config.json", settings)
  write_expected(folder, transformers.MarianTokenizer.from_pretrained(folder))


def nllb() -> None:
  folder = new_folder("nllb")
  (folder / "sentencepiece.bpe.model").write_bytes(
    sentencepiece_model(400, "bpe", True)
  )
  from transformers.models.nllb.tokenization_nllb import FAIRSEQ_LANGUAGE_CODES

  settings = {
    "src_lang": "eng_Latn",
    "tgt_lang": "deu_Latn",
    "additional_special_tokens": FAIRSEQ_LANGUAGE_CODES,
    "tokenizer_class": "NllbTokenizer",
  }
  write_json(folder / "tokenizer_config.json", settings)
  tokenizer = transformers.NllbTokenizer.from_pretrained(folder)
  saved = new_folder("nllb_saved")
  tokenizer.save_pretrained(saved)
  write_expected(saved, transformers.NllbTokenizer.from_pretrained(saved))
  # As the older file alone is not read, its ids being others in newer classes.
  shutil.rmtree(folder)


def mbart50() -> None:
  folder = new_folder("mbart50")
  model = sentencepiece_model(400, "unigram", True)
  (folder / "sentencepiece.bpe.model").write_bytes(model)
  settings = {"src_lang": "en_XX", "tgt_lang": "de_DE"}
  settings["tokenizer_class"] = "MBart50Tokenizer"
  write_json(folder / "tokenizer_config.json", settings)
  tokenizer = transformers.MBart50Tokenizer.from_pretrained(folder)
  write_expected(folder, tokenizer)
  saved = new_folder("mbart50_saved")
  tokenizer.save_pretrained(saved)
  write_expected(saved, transformers.MBart50Tokenizer.from_pretrained(saved))


def m2m100() -> None:
  folder = new_folder("m2m100")
  model = sentencepiece_model(400, "bpe", True)
  (folder / "sentencepiece.bpe.model").write_bytes(model)
  names = ["<s>", "<pad>", "</s>", "<unk>", *pieces(model)[3:]]
  write_json(folder / "vocab.json", {name: i for i, name in enumerate(names)})
  codes = transformers.models.m2m_100.tokenization_m2m_100.FAIRSEQ_LANGUAGE_CODES
  settings = {
    "src_lang": "en",
    "tgt_lang": "de",
    "additional_special_tokens": [f"__{code}__" for code in codes["m2m100"]],
    "tokenizer_class": "M2M100Tokenizer",
  }
  write_json(folder / "tokenizer_config.json", settings)
  write_expected(folder, transformers.M2M100Tokenizer.from_pretrained(folder))


def t5() -> None:
  folder = new_folder("t5")
  model = sentencepiece_model(
    400, "unigram", True, pad_id=0, eos_id=1, unk_id=2, bos_id=-1
  )
  (folder / "spiece.model").write_bytes(model)
  tokenizer = transformers.T5Tokenizer.from_pretrained(folder)
  write_expected(folder, tokenizer)
  saved = new_folder("t5_saved")
  tokenizer.save_pretrained(saved)
  write_expected(saved, transformers.T5Tokenizer.from_pretrained(saved))


def bert() -> None:
  trained = tokenizers.BertWordPieceTokenizer(lowercase=True)
  trained.train_from_iterator(corpus(), vocab_size=400, show_progress=False)
  for name, settings in (
    ("bert", {"clean_up_tokenization_spaces": True}),
    ("bert_cased", {"do_lower_case": False, "tokenize_chinese_chars": False}),
  ):
    folder = new_folder(name)
    names = sorted(trained.get_vocab(), key=trained.get_vocab().get)
    (folder / "vocab.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    settings["tokenizer_class"] = "BertTokenizer"
    write_json(folder / "tokenizer_config.json", settings)
    tokenizer = transformers.BertTokenizer.from_pretrained(folder)
    write_expected(folder, tokenizer)
  saved = new_folder("bert_saved")
  tokenizer.save_pretrained(saved)
  write_expected(saved, transformers.BertTokenizer.from_pretrained(saved))


def byte_level(name: str, specials: list[str], cls) -> None:
  folder = new_folder(name)
  trained = tokenizers.ByteLevelBPETokenizer()
  trained.train_from_iterator(
    corpus(), vocab_size=420, special_tokens=specials, show_progress=False
  )
  trained.save_model(str(folder))
  tokenizer = cls.from_pretrained(folder)
  write_expected(folder, tokenizer)
  saved = new_folder(f"{name}_saved")
  tokenizer.save_pretrained(saved)
  write_expected(saved, cls.from_pretrained(saved))


if __name__ == "__main__":
  FOLDER.mkdir(exist_ok=True)
  for make in (marian, nllb, mbart50, m2m100, t5, bert):
    make()
  byte_level("gpt2", ["<|endoftext|>"], transformers.GPT2Tokenizer)
  byte_level(
    "bart", ["<s>", "<pad>", "</s>", "<unk>", "<mask>"], transformers.BartTokenizer
  )
