"""Frozen dataclasses as configs: overriding by dotted flags, JSON there and back."""

from transformer.config.command import flags, override, parse, replace
from transformer.config.kinds import annotations, check, members, written
from transformer.config.plain import differences, digest, dump, dumps, load, loads

__all__ = [
  "annotations",
  "check",
  "differences",
  "digest",
  "dump",
  "dumps",
  "flags",
  "load",
  "loads",
  "members",
  "override",
  "parse",
  "replace",
  "written",
]
