"""Damaged files of imported tokenizers are refused in one line that names the file."""

import pytest

from tests.data.test_imported_tokenizers import FOLDER, KINDS
from transformer.data.tokenizers.files import pack, read_directory
from transformer.data.vocabulary import WordVocabulary

FILES = [(name, file) for name in KINDS for file in read_directory(FOLDER / name)]


def open_files(name, files):
  """What `transformer convert` does with a directory of these files."""
  size = KINDS[name].backend(read_directory(FOLDER / name)).size
  recipe = KINDS[name].of_directory({"vocab_size": size}, files)
  return recipe.open(pack(files))


DAMAGE = {
  "empty": lambda data: b"",
  "other bytes before": lambda data: b"\xff\xfe\x00" + data,
  "half": lambda data: data[: len(data) // 2],
  "another file": lambda data: b"[1, 2]",
  "nested too deep": lambda data: b"[" * 100_000,
}


@pytest.mark.parametrize(
  "name, file, damage",
  # Half a list of words is a list; its length is compared with the model's, below.
  [(*each, damage) for each in FILES for damage in DAMAGE
   if (each[1], damage) != ("vocab.txt", "half")],
)  # fmt: skip
def test_a_damaged_file_is_named(name, file, damage):
  files = read_directory(FOLDER / name)
  with pytest.raises(ValueError) as error:
    open_files(name, files | {file: DAMAGE[damage](files[file])})
  message = str(error.value)
  assert message.startswith(f"{file}: ") and "\n" not in message, message


@pytest.mark.parametrize(
  "name, file", [each for each in FILES if each[1] != "tokenizer_config.json"]
)
def test_a_missing_file_is_named(name, file):
  files = read_directory(FOLDER / name)
  del files[file]
  with pytest.raises(ValueError, match="no such file; this tokenizer needs"):
    open_files(name, files)


@pytest.mark.parametrize(
  "name, needed",
  [
    ("bert", "tokenizer.json, or vocab.txt"),
    ("t5_saved", "tokenizer.json, or spiece.model"),
    ("gpt2", "tokenizer.json, or vocab.json and merges.txt"),
    ("marian", "source.spm, target.spm and vocab.json"),
  ],
)
def test_without_a_tokenizer_all_that_would_do_is_named(name, needed):
  with pytest.raises(ValueError, match=f"this tokenizer needs {needed}$"):
    open_files(name, {})


@pytest.mark.parametrize(
  "name, value",
  [("do_lower_case", "null"), ("strip_accents", '"none"'),
   ("tokenize_chinese_chars", "1")],
)  # fmt: skip
def test_a_flag_that_is_neither_true_nor_false_is_named(name, value):
  files = read_directory(FOLDER / "bert")
  settings = f'{{"{name}": {value}}}'.encode()
  with pytest.raises(ValueError, match=f"{name}: expected true or false, got {value}$"):
    open_files("bert", files | {"tokenizer_config.json": settings})
  settings = b'{"strip_accents": null, "do_lower_case": false}'
  assert open_files("bert", files | {"tokenizer_config.json": settings})


def test_a_much_shorter_list_of_words_is_refused():
  files, recipe = read_directory(FOLDER / "bert"), KINDS["bert"]
  size = recipe.backend(files).size
  with pytest.raises(ValueError, match="the file is truncated, or of another model"):
    recipe.of_directory({"vocab_size": size + 1025}, files)
  assert recipe.of_directory({"vocab_size": size + 1024}, files)


def test_files_of_a_larger_vocabulary_are_refused():
  files, recipe = read_directory(FOLDER / "bert"), KINDS["bert"]
  config = {"vocab_size": recipe.backend(files).size - 1}
  with pytest.raises(ValueError, match="they are the files of another model"):
    recipe.of_directory(config, files).open(pack(files))


@pytest.mark.parametrize("model", [b"", b"{", b"\xff", b'["a", "a"]', b"[" * 100_000])
def test_a_damaged_list_of_words_is_refused(model):
  with pytest.raises(ValueError, match=r"vocabulary: .*; the file is damaged"):
    WordVocabulary(model)
