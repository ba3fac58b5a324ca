"""The families of models that can be imported."""

import json
from collections.abc import Mapping
from typing import Any

from transformer.interop.bart import Bart, MBart
from transformer.interop.bert import BertOfClasses, BertOfMasks, BertOfTexts
from transformer.interop.family import Family
from transformer.interop.gpt2 import GPT2
from transformer.interop.m2m import M2M100
from transformer.interop.marian import Marian
from transformer.interop.t5 import T5
from transformer.interop.vit import DeiT, DeiTWithTeacher, ViT

FAMILIES: tuple[Family, ...] = (
  *(
    Marian(),
    M2M100(),
    Bart(),
    MBart(),
    T5(),
    BertOfTexts(),
    BertOfMasks(),
    BertOfClasses(),
  ),
  *(GPT2(), ViT(), DeiT(), DeiTWithTeacher()),
)


def family_of(config: Mapping[str, Any]) -> Family:
  """The family of a config.json.

  Raises:
    ValueError: there is none.
  """
  for family in FAMILIES:
    if family.accepts(config):
      return family
  known = [name for family in FAMILIES for name in family.architectures]
  found = config.get("architectures")
  if not isinstance(found, list) or not found:
    raise ValueError(
      "config.json: architectures: expected a list with the model's class, got "
      f"{json.dumps(found)}; write in it the one of these whose weights these are: "
      f"{', '.join(known)}"
    )
  raise ValueError(
    f"config.json: architectures: {found} is not covered; covered are "
    f"{', '.join(known)}"
  )
