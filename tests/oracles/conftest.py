"""Fixtures of the tests of the oracles."""

import jax
import numpy as np
import pytest


@pytest.fixture
def rng():
  return np.random.default_rng(1706)


@pytest.fixture
def float64():
  with jax.enable_x64(True):
    yield
