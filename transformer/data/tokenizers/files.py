"""The files of an imported tokenizer as one file of a run, and back.

A run keeps them in an uncompressed ZIP archive whose bytes follow from the files alone,
so its SHA-256 is that of the tokenizer, and writing it back gives the same files.
"""

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Files = Mapping[str, bytes]
"""Contents by file name."""

NAMES = (
  *("added_tokens.json", "merges.txt", "sentencepiece.bpe.model", "source.spm"),
  *("special_tokens_map.json", "spiece.model", "target.spm", "tokenizer.json"),
  *("tokenizer_config.json", "vocab.json", "vocab.txt"),
)
"""The files of a tokenizer in a Hugging Face directory; others are not copied."""

MAX_BYTES = 1 << 28
"""No tokenizer's file is larger; a larger one is not read."""


def read_directory(directory: Path) -> dict[str, bytes]:
  """The tokenizer's files in a directory.

  Raises:
    ValueError: one is larger than any tokenizer.
  """
  files = {}
  for name in NAMES:
    path = Path(directory) / name
    if not path.is_file():
      continue
    if path.stat().st_size > MAX_BYTES:
      raise ValueError(
        f"{path}: {path.stat().st_size:,} bytes; expected a tokenizer's file, of at "
        f"most {MAX_BYTES:,}"
      )
    files[name] = path.read_bytes()
  return files


def pack(files: Files) -> bytes:
  """The files as the bytes of one archive, the same for the same files."""
  archive = io.BytesIO()
  with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as out:
    for name in sorted(files):
      out.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), files[name])
  return archive.getvalue()


def unpack(model: bytes) -> dict[str, bytes]:
  """The inverse of `pack`.

  Raises:
    ValueError: these bytes are not such an archive.
  """
  try:
    with zipfile.ZipFile(io.BytesIO(model)) as archive:
      members = archive.infolist()
      names = [member.filename for member in members]
      stored = all(member.compress_type == zipfile.ZIP_STORED for member in members)
      if len(set(names)) < len(names) or set(names) - set(NAMES) or not stored:
        raise ValueError("other files")
      return {name: archive.read(name) for name in names}
  except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, RuntimeError):
    raise ValueError(
      "tokenizer: expected the files of an imported tokenizer; the file is damaged, or "
      "of another kind"
    ) from None


def write_tokenizer(model: bytes, directory: Path) -> list[str]:
  """Writes the files of an imported tokenizer, as they were read, into a directory;
  returns their names.

  Raises:
    ValueError: these bytes are not those of an imported tokenizer.
  """
  files = unpack(model)
  for name, data in files.items():
    (Path(directory) / name).write_bytes(data)
  return sorted(files)


def parse_json(files: Files, name: str) -> dict[str, Any]:
  """A file of a JSON object; without the file, an empty one.

  Raises:
    ValueError: it is not JSON, or not an object.
  """
  try:
    value = json.loads(files.get(name, b"{}"))
  except (ValueError, RecursionError):
    value = None
  if not isinstance(value, dict):
    raise ValueError(f"{name}: expected a JSON object; the file is damaged")
  return value


def id_table(files: Files, name: str) -> dict[str, int]:
  """A JSON file of the id of every piece.

  Raises:
    ValueError: it is not, or two pieces have one id.
  """
  table = parse_json(files, name)
  ids = list(table.values())
  whole = all(type(i) is int and i >= 0 for i in ids)
  if not ids or not whole or len(set(ids)) < len(ids):
    raise ValueError(
      f"{name}: expected a JSON object of pieces with different ids; the file is "
      "damaged"
    )
  return table


def settings(files: Files) -> dict[str, Any]:
  """What tokenizer_config.json and special_tokens_map.json state, tokens by their
  text; the first has precedence."""
  merged = {
    **parse_json(files, "special_tokens_map.json"),
    **parse_json(files, "tokenizer_config.json"),
  }
  return {name: _text(value) for name, value in merged.items()}


def _text(value: Any) -> Any:
  """A token's text, where it is written as an object with flags."""
  if isinstance(value, dict) and isinstance(value.get("content"), str):
    return value["content"]
  return value


def require(files: Files, *names: str, instead: str = "") -> None:
  """Raises ValueError where one of the files is missing; `instead` is a file that would
  do in place of all of them."""
  needed = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
  if instead:
    needed = f"{instead}, or {needed}"
  for name in names:
    if name not in files:
      raise ValueError(f"{name}: no such file; this tokenizer needs {needed}")
