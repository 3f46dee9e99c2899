"""Nested mappings -> frozen dataclasses whose annotations say what each field may be.

  steps: Annotated[int, Between(1, 10**6)]
  stages: tuple[Annotated[str, OneOf(STAGES)], ...]

A check is called with a value and returns what is wrong with it, or ''. What concerns several
fields stands in the method `problems` of a section: it yields texts that begin with the name of a
field.
"""

import dataclasses
import math
from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, Any, NamedTuple, TypeVar, get_args, get_origin

Section = TypeVar('Section')


class Between(NamedTuple):
  """From `low` to `high`, both allowed."""

  low: float
  high: float

  def __call__(self, value) -> str:
    if value < self.low:
      return f'must be at least {self.low}'
    return f'must be at most {self.high}' if value > self.high else ''


class Inside(NamedTuple):
  """Between `low` and `high`, neither allowed."""

  low: float
  high: float

  def __call__(self, value) -> str:
    if value <= self.low:
      return f'must be above {self.low}'
    return f'must be below {self.high}' if value >= self.high else ''


class OneOf(NamedTuple):
  """One of the choices: the names of a registry, say."""

  choices: Collection

  def __call__(self, value) -> str:
    return '' if value in self.choices else f'want one of {", ".join(map(str, self.choices))}'


class Chosen:
  """The type of a section that is one of a registry's: the one that its field `name` names.

  An entry of the registry has the section's dataclass as `settings`.
  """

  def __init__(self, registry: Mapping[str, Any]):
    self.registry = registry

  def of(self, given, path: str, default: Mapping[str, Any]) -> type:
    """Raises ValueError where `given` names none, nor does `default`."""
    if not isinstance(given, Mapping):
      raise ValueError(f'{path}={given!r}: want a section')
    values = {**default, **given}
    if 'name' not in values:
      raise ValueError(f'{path}.name: missing')
    name = values['name']
    if not isinstance(name, str) or name not in self.registry:
      choices = ', '.join(self.registry)
      raise ValueError(f'{path}.name={name!r}: want one of {choices}')
    return self.registry[name].settings


class Length(NamedTuple):
  """Of a tuple."""

  low: int
  high: int

  def __call__(self, value) -> str:
    return '' if self.low <= len(value) <= self.high else f'want {self.low} to {self.high} entries'


def build(
  cls: type[Section],
  given: Mapping[str, Any],
  path: str = 'config',
  defaults: Mapping[str, Any] | None = None,
) -> Section:
  """Nested mapping -> `cls`, checked.

  Args:
    cls: a dataclass; fields that are dataclasses are sections, and `Chosen` ones one of several.
    given: a value for each field; JSON's lists pass for tuples, and ints for floats.
    path: what errors call the whole.
    defaults: values of the fields that `given` lacks, for what an older version wrote.

  Raises:
    ValueError: an unknown, missing, wrongly typed or impossible field; names its path.
  """
  kinds = {field.name: field.type for field in dataclasses.fields(cls)}
  if not isinstance(given, Mapping):
    raise ValueError(f'{path}={given!r}: want a section, with {", ".join(kinds)}')
  if unknown := sorted(set(given) - set(kinds)):
    raise ValueError(f'{path}.{unknown[0]}: no such field; there are {", ".join(sorted(kinds))}')
  values = {**(defaults or {}), **given}
  if missing := sorted(set(kinds) - set(values)):
    raise ValueError(f'{path}.{missing[0]}: missing')
  built = {}
  for name, kind in kinds.items():
    where = f'{path}.{name}'
    if isinstance(kind, Chosen):
      kind = kind.of(values[name], where, (defaults or {}).get(name, {}))
    if dataclasses.is_dataclass(kind):
      built[name] = build(kind, values[name], where, defaults and defaults.get(name))
    else:
      built[name] = _checked(kind, values[name], where)
  section = cls(**built)
  for problem in _problems(section):
    raise ValueError(f'{path}.{problem}')
  return section


def _problems(section) -> Iterable[str]:
  return section.problems() if hasattr(section, 'problems') else ()


def _checked(kind, value, where):
  """`value` as `kind`, which may be Annotated with checks."""
  checks = ()
  if get_origin(kind) is Annotated:
    kind, *checks = get_args(kind)
  if get_origin(kind) is tuple:
    value = _entries(get_args(kind)[0], value, where)
  else:
    value = _typed(kind, value, where)
  for check in checks:
    if problem := check(value):
      raise ValueError(f'{where}={value!r}: {problem}')
  return value


def _entries(kind, value, where):
  if not isinstance(value, (list, tuple)):
    raise ValueError(f'{where}={value!r}: want a tuple')
  return tuple(_checked(kind, entry, f'{where}[{i}]') for i, entry in enumerate(value))


def _typed(kind, value, where):
  """A bool is no int, and no float is infinite or NaN."""
  kinds = get_args(kind) or (kind,)  # of a union
  if float in kinds and type(value) is int:
    value = float(value) if abs(value) < 2**53 else math.inf
  if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
    raise ValueError(f'{where}={value!r}: want {" or ".join(k.__name__ for k in kinds)}')
  if isinstance(value, float) and not math.isfinite(value):
    raise ValueError(f'{where}={value!r}: want a finite number')
  return value
