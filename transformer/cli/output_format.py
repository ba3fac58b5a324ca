"""One file as output, in one of several formats."""

import argparse
import sys
from pathlib import Path


def add_output_format(
  parser: argparse.ArgumentParser, formats: tuple[str, ...], name: str
) -> None:
  """A file to write, and its format."""
  parser.add_argument(
    "--output", type=Path, metavar="FILE",
    help=f"the file to write (default {name}.{formats[0]}); its ending is the format",
  )  # fmt: skip
  parser.add_argument(
    "--format", choices=formats, help=f"the format (default {formats[0]})"
  )


def output_format_from(
  arguments, formats: tuple[str, ...], name: str
) -> tuple[Path, str]:
  """The file and the format that the flags of `add_output_format` describe."""
  output, kind = arguments.output, arguments.format
  if kind is None:
    kind = output.suffix[1:] if output else formats[0]
  if kind not in formats:
    raise ValueError(
      f"--output: expected a name that ends in {', '.join(f'.{x}' for x in formats)}, "
      f"got {output}; rename it or give --format"
    )
  output = output or Path(f"{name}.{kind}")
  if not output.parent.is_dir():
    raise FileNotFoundError(f"{output}: cannot be written (no folder {output.parent})")
  return output, kind


def write_output(output: Path, data: bytes, prints_data: bool = False) -> None:
  """Writes the file of `output_format_from`, whole or not at all, and prints its name:
  on standard error where standard output has data, the file's own or the verb's."""
  from transformer.runs.output import open_descriptor, write_file

  write_file(output, data)
  prints_data = prints_data or open_descriptor(output) == 1
  print(output, file=sys.stderr if prints_data else None)
