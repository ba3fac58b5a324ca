"""Plants faults, one at a time, in a copy of the package and runs the tests that should
find it: `python -m tests.planted_faults [NAME ...]`. Prints what was found and the time
that it took; the exit status is 1 if any fault was not found.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.planted_faults import FAULTS
from tests.planted_faults.fault import Fault

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("transformer", "tests", "configs", "docs", "train.py", "pyproject.toml")


def plant(root: Path, fault: Fault) -> str:
  """Changes the copy of the package in `root`, and returns the original text.

  Raises:
    ValueError: the text to replace does not occur exactly once.
  """
  path = root / fault.file
  original = path.read_text(encoding="utf-8")
  count = original.count(fault.before)
  if count != 1:
    raise ValueError(
      f"{fault.name}: expected {fault.before!r} once in {fault.file}, got {count}"
    )
  path.write_text(original.replace(fault.before, fault.after), encoding="utf-8")
  return original


def is_found(root: Path, fault: Fault) -> bool:
  """Whether a test fails in the changed copy in `root`; other errors of pytest, such as
  a test that does not exist, do not count."""
  command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
  # Bytecode is looked up by time and size, and a planted fault may change neither.
  environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
  done = subprocess.run(
    [*command, "-m", "not slow", *fault.tests],
    cwd=root, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
  )  # fmt: skip
  return done.returncode == 1


def main(argv: list[str] | None = None) -> int:
  """Plants the named faults, or all; the exit status."""
  parser = argparse.ArgumentParser("planted_faults", description=__doc__)
  parser.add_argument("names", metavar="NAME", nargs="*", help="faults (default: all)")
  names = parser.parse_args(argv).names
  unknown = sorted({*names} - {fault.name for fault in FAULTS})
  if unknown:
    parser.error(f"no such fault: {', '.join(unknown)}")
  missed = 0
  with tempfile.TemporaryDirectory() as directory:
    root = Path(directory)
    for name in COPIED:
      if (ROOT / name).is_dir():
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, root / name, ignore=ignored)
      else:
        shutil.copy(ROOT / name, root / name)
    for fault in FAULTS:
      if names and fault.name not in names:
        continue
      started = time.monotonic()
      original = plant(root, fault)
      found = is_found(root, fault)
      (root / fault.file).write_text(original, encoding="utf-8")
      missed += not found
      verdict = "found" if found else "NOT FOUND"
      seconds = time.monotonic() - started
      print(f"{verdict:<9} {seconds:6.1f} s  {fault.name}: {fault.what}", flush=True)
  return int(missed > 0)


if __name__ == "__main__":
  sys.exit(main())
