"""Where what can be made again is kept."""

import pytest

from transformer.data.cache import places


@pytest.mark.parametrize("home", ["file", "file/below"])
def test_a_user_cache_that_cannot_be_made_is_passed_over(tmp_path, monkeypatch, home):
  (tmp_path / "file").write_text("no directory")
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / home))
  first, temporary = places(tmp_path / "run" / "cache")
  assert first == tmp_path / "run" / "cache" and not first.exists()
  assert temporary.is_dir() and tmp_path not in temporary.parents


def test_the_users_cache_comes_second(tmp_path, monkeypatch):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
  assert list(places(tmp_path / "cache"))[1] == tmp_path / "transformer" / "tokens"
