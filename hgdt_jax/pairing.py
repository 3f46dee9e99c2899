"""Which generated clip belongs to which real one: by name, and by order only where no name fits."""

import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import NamedTuple

_SHOWN = 5  # names that a message lists of each side
BY_ORDER = 'natural order: no names match'


class Pairing(NamedTuple):
  """Indices of real and of generated clips that belong together, in the order of the real ones.

  Attributes:
    pairs: (real, generated).
    rule: what was compared, for the stamp.
    alone: names that have no counterpart, of each side.
  """

  pairs: list[tuple[int, int]]
  rule: str
  alone: tuple[list[str], list[str]]


def of(real: Sequence[str], fake: Sequence[str]) -> Pairing:
  """Pairs names, which are relative paths without endings, by the rule that matches most of them.

  Case, or case and leading zeros, do not count where that matches more (`vid1` and `Vid01`); how an
  accent is written never does. Where no name has a counterpart and there are as many of both, the
  natural order (`vid2` before `vid10`) is all that is left: the rule says so.
  """
  composed = [[unicodedata.normalize('NFC', name) for name in names] for names in (real, fake)]
  found = max((_by(rule, key, *composed) for rule, key in _RULES.items()), key=_matched)
  if found.pairs or len(real) != len(fake):
    return found
  in_order = lambda names: sorted(range(len(names)), key=lambda i: (natural(names[i]), names[i]))
  ordered = map(in_order, composed)
  return Pairing(sorted(zip(*ordered)), BY_ORDER, ([], []))


def natural(name: str) -> list[tuple[int, int, str]]:
  """A key that sorts numbers by their size."""
  parts = re.split(r'(\d+)', name)
  return [(0, int(part), '') if part.isdecimal() else (1, 0, part) for part in parts if part]


def unmatched(pairing: Pairing) -> str:
  """The names without a counterpart, for a message; '' where all have one."""
  said = []
  for side, names in zip(('real', 'generated'), pairing.alone):
    if names:
      more = f' and {len(names) - _SHOWN} more' if len(names) > _SHOWN else ''
      said.append(f'{len(names)} {side} ({", ".join(names[:_SHOWN])}{more})')
  return ', '.join(said)


def _by(rule: str, key: Callable[[str], str], real, fake) -> Pairing:
  """The pairs whose keys are equal; none where a key is not of one clip alone."""
  keys = [[key(name) for name in names] for names in (real, fake)]
  if any(len(set(some)) < len(some) for some in keys):
    return Pairing([], rule, (list(real), list(fake)))
  at = {name: i for i, name in enumerate(keys[1])}
  pairs = [(i, at[name]) for i, name in enumerate(keys[0]) if name in at]
  taken = [set(indices) for indices in zip(*pairs)] or [set(), set()]
  alone = (
    [name for i, name in enumerate(names) if i not in some]
    for names, some in zip((real, fake), taken)
  )
  return Pairing(pairs, rule, tuple(alone))


def _matched(pairing):
  return len(pairing.pairs)


def _loosely(name):
  return re.sub(r'\d+', lambda digits: str(int(digits[0])), name.casefold())


def _last(name):
  return name.rsplit('/', 1)[-1]


_RULES = {  # the first of those that match equally many
  'relative path': str,
  'file name': _last,
  'relative path but for case': str.casefold,
  'file name but for case': lambda name: _last(name).casefold(),
  'relative path but for case and zeros': _loosely,
  'file name but for case and zeros': lambda name: _loosely(_last(name)),
}
