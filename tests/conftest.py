"""What holds for the whole suite: guards, a compilation cache, and where data is.

JAX reads its settings from the environment when it is first imported. Set here, they
cost nothing to tests that never import it and reach the processes that tests start.
"""

import gc
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

SETTINGS = {
  "JAX_PLATFORMS": "cpu",
  "JAX_NUMPY_RANK_PROMOTION": "raise",
  "JAX_DEBUG_KEY_REUSE": "1",
  "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".pytest_cache" / "jax"),
  "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
  "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}

for name, value in SETTINGS.items():
  os.environ.setdefault(name, value)


@pytest.fixture(autouse=True, scope="module")
def _programs():
  """Gives back the compiled programs of each file of tests. They lie in memory maps, of
  which a process has 65,530 on Linux; beyond them it dies."""
  yield
  if "jax" in sys.modules:
    sys.modules["jax"].clear_caches()
    gc.collect()


@pytest.fixture(scope="session")
def multi30k() -> Path:
  """The directory of the Multi30k files, under `TRANSFORMER_DATA` or beside the
  repository; the test is skipped where there is none."""
  data = os.environ.get("TRANSFORMER_DATA") or ROOT.parent / "shared" / "data"
  directory = Path(data) / "multi30k"
  if not directory.is_dir():
    pytest.skip(f"{directory}: no such directory; set TRANSFORMER_DATA to its parent")
  return directory
