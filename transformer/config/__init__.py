"""Configs are frozen dataclasses: set by dotted flags, stored as JSON, checked against
their annotations."""

from transformer.config.command_line import override, parse, replace, split_flags
from transformer.config.ranges import (
  Epsilon,
  Fraction,
  Natural,
  Positive,
  Range,
  check_float,
  check_number,
  check_numbers,
)
from transformer.config.recipes import (
  abbreviate,
  alternatives,
  annotations,
  family_of,
  members,
  written,
)
from transformer.config.serialisation import (
  differences,
  digest,
  dump,
  dumps,
  load,
  loads,
  parse_json,
)
from transformer.config.settings import (
  field_meanings,
  format_settings,
  help_asked,
  settings,
)
from transformer.config.validation import check, check_at_least, describe

__all__ = [
  "Epsilon",
  "Fraction",
  "Natural",
  "Positive",
  "Range",
  "abbreviate",
  "alternatives",
  "annotations",
  "check",
  "check_at_least",
  "check_float",
  "check_number",
  "check_numbers",
  "describe",
  "differences",
  "digest",
  "dump",
  "dumps",
  "family_of",
  "field_meanings",
  "format_settings",
  "help_asked",
  "load",
  "loads",
  "members",
  "override",
  "parse",
  "parse_json",
  "replace",
  "settings",
  "split_flags",
  "written",
]
