"""What a stage is to the rest of the house."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

import jax

from hgdt_jax.state import TrainState

JUDGES = 'judges'  # in place of their names, which the family of the draft knows


class Settings(Protocol):
  """A stage's section of the configuration: a frozen dataclass, see `schema`."""

  steps: int


class Stage(NamedTuple):
  """What the registry `STAGES` holds. `cfg` is the whole configuration, a `config.Config`.

  Attributes:
    meaning: in a line.
    settings: its section, of the stage's name.
    init: `(cfg, key)` -> its first state.
    make_step: `(cfg)` -> step `(state, batch, root key)` -> (state, metrics), pure and not yet
      compiled.
    trains: the networks that it hands on, to later stages and to sampling; JUDGES for all of the
      draft's.
    takes: the networks it takes over from the last stage before it that trains them.
    begins: of `takes`, those that begin from scratch where no stage does.
    shows: the method that draws with what it trains, and is scored on the way; '': none.
    problems: `(cfg)` -> what is wrong with it for this stage; each begins with a field's path.
  """

  meaning: str
  settings: type[Settings]
  init: Callable[[Any, jax.Array], TrainState]
  make_step: Callable[[Any], Callable]
  trains: tuple[str, ...]
  takes: tuple[str, ...] = ()
  begins: tuple[str, ...] = ()
  shows: str = ''
  problems: Callable[[Any], Iterable[str]] = lambda cfg: ()
