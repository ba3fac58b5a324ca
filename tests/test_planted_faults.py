"""Planted faults fit the package and its tests: each replaces text that is there, and
names tests that exist and are fast."""

import pytest

from tests.planted_faults import FAULTS
from tests.planted_faults.__main__ import ROOT


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_can_be_planted_and_looked_for(fault):
  assert (ROOT / fault.file).read_text(encoding="utf-8").count(fault.before) == 1
  for node in fault.tests:
    file, _, name = node.partition("::")
    text = (ROOT / file).read_text(encoding="utf-8")
    before, found, _ = text.partition(f"\ndef {name.partition('[')[0]}(")
    assert found or not name
    decorators = f"{before}\n".split("\n\n\n")[-1]
    assert not name or not decorators.startswith("@pytest.mark.slow")
