"""A case for each test."""

import pytest

from tests.faults.case import Case


@pytest.fixture
def case(tmp_path, translation_run, capsys, monkeypatch):
  return Case(tmp_path, translation_run, capsys, monkeypatch)
