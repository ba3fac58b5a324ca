"""The model of the run that training starts from."""

import dataclasses
from typing import Any, NoReturn

from transformer.models.base import Model


@dataclasses.dataclass(frozen=True)
class ParentModel(Model):
  """Stands in a config for the model of the run `config.init`, with all of its
  settings; training puts that model in its place."""

  def module(self, vocabulary: int, dtype: Any = None) -> NoReturn:
    raise ValueError(
      "--config.model: ParentModel() is the model of another run; give that run as "
      "--config.init=RUN to train.py"
    )

  @property
  def width(self) -> int:
    return self.module(0)
