"""Freed memory that stays with the process, so that the next step takes it again."""

import ctypes
import os
import platform

M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8
"""Of glibc's malloc.h."""

SETTINGS = {M_ARENA_MAX: 1, M_MMAP_MAX: 0, M_TRIM_THRESHOLD: -1}
"""One heap for all threads, large blocks in it too, and nothing at its end is given
back: see mallopt(3)."""


def keep_freed_memory() -> bool:
  """Makes glibc's allocator keep freed memory; whether it now does.

  XLA allocates the temporary buffers of a program anew at each call. By default glibc
  gives them back to the kernel, which has to zero every page of them at the next step.

  For commands, before JAX starts its threads: it concerns the whole process, whose
  resident memory no longer shrinks. Does nothing where there is no glibc, and where
  the environment sets its allocator (`MALLOC_…`, `GLIBC_TUNABLES`).
  """
  if platform.libc_ver()[0] != "glibc" or is_configured(os.environ):
    return False
  mallopt = ctypes.CDLL(None).mallopt
  return all([mallopt(*setting) == 1 for setting in SETTINGS.items()])


def is_configured(environment) -> bool:
  """Whether the user has settings of their own for the allocator."""
  return "glibc.malloc" in environment.get("GLIBC_TUNABLES", "") or any(
    name.startswith("MALLOC_") for name in environment
  )
