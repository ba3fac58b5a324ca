"""Configs are frozen dataclasses: set by dotted flags, stored as JSON, checked against
their annotations."""

from transformer.config.command_line import override, parse, replace, split_flags
from transformer.config.recipes import annotations, members, written
from transformer.config.serialisation import (
  differences,
  digest,
  dump,
  dumps,
  load,
  loads,
)
from transformer.config.validation import check, check_at_least, check_finite

__all__ = [
  "annotations",
  "check",
  "check_at_least",
  "check_finite",
  "differences",
  "digest",
  "dump",
  "dumps",
  "load",
  "loads",
  "members",
  "override",
  "parse",
  "replace",
  "split_flags",
  "written",
]
