"""Where compiled programs are kept."""

import os

import jax

from transformer.data.cache import user_cache


def enable_compilation_cache() -> None:
  """Keeps compiled programs in the user's cache, unless JAX_COMPILATION_CACHE_DIR
  names another."""
  if "JAX_COMPILATION_CACHE_DIR" in os.environ:
    return
  user = user_cache()
  if user is None:
    return
  jax.config.update("jax_compilation_cache_dir", str(user / "jax"))
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
