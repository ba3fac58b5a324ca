"""Freed memory is kept by the commands, and by nothing that is imported."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from transformer.runs.freed_memory import keep_freed_memory

ROOT = Path(__file__).resolve().parent.parent.parent

FAULTS = """
import ctypes, resource
import numpy as np
libc = ctypes.CDLL(None)
def faults():
  before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
  block = np.ones(2**26, np.uint8)  # 64 MiB, 16,384 pages of 4 KiB
  del block
  return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""

needs_glibc = pytest.mark.skipif(
  platform.libc_ver()[0] != "glibc", reason="glibc's allocator"
)


def output(program: str, **environment) -> str:
  """What a program prints in a process whose allocator nothing else configures."""
  inherited = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
  inherited.pop("GLIBC_TUNABLES", None)
  return subprocess.run(
    [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True,
    check=True, timeout=600, env={**inherited, "PYTHONPATH": str(ROOT), **environment},
  ).stdout  # fmt: skip


KEEP = "from transformer.runs.freed_memory import keep_freed_memory as keep\n"


@needs_glibc
def test_a_freed_block_is_used_again_without_page_faults():
  assert int(output(KEEP + "assert keep()" + FAULTS)) < 100


@needs_glibc
@pytest.mark.parametrize(
  "program, environment",
  [
    ("import transformer.runs.trainer, transformer.cli", {}),
    (KEEP + "assert not keep()", {"MALLOC_MMAP_MAX_": "65536"}),
    (KEEP + "assert not keep()", {"GLIBC_TUNABLES": "glibc.malloc.mmap_max=65536"}),
  ],
)
def test_imports_and_the_users_own_settings_leave_the_allocator(program, environment):
  # Pages of 4 KiB are 16,384, of 64 KiB 1,024.
  assert int(output(program + FAULTS, **environment)) > 500


def test_no_other_allocator_is_touched(monkeypatch):
  monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
  monkeypatch.setattr("ctypes.CDLL", None)
  assert keep_freed_memory() is False


COMMAND = """
import runpy, sys
from transformer.runs import freed_memory
freed_memory.keep_freed_memory = lambda: print("kept")
sys.argv = {argv}
try:
  runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as end:
  assert end.code == 1
"""


@pytest.mark.parametrize(
  "argv",
  [
    ["train.py", "--config=missing.py"],
    ["transformer/cli/__main__.py", "info", "missing"],
  ],
)
def test_commands_keep_it(argv):
  assert output(COMMAND.format(argv=argv)) == "kept\n"
