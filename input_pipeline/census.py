"""What a folder of clips was taken for: counted once, told by every verb that reads one."""

import collections
import dataclasses
import itertools
import pathlib
from collections.abc import Iterable
from typing import Any

from input_pipeline.clip import Info
from input_pipeline.discovery import Entry
from input_pipeline.layout import Layout

_SHOWN = 3  # files left out, that the terminal names
_KEPT = 100  # and a record
_NAMES = 8  # of classes


@dataclasses.dataclass(frozen=True)
class Part:
  """The files of one split.

  Attributes:
    clips: windows that are cut from the files in use.
    used: files in use, with what is known of them.
    left_out: (name, reason) of the others.
  """

  clips: int
  used: tuple[tuple[Entry, Info], ...]
  left_out: tuple[tuple[str, str], ...]


@dataclasses.dataclass(frozen=True)
class Census:
  """What was made of a folder, as text for a person and as a record for a file.

  Attributes:
    layout: of the folder.
    parts: by split.
    split_rule: how the splits come about.
  """

  layout: Layout
  parts: dict[str, Part]
  split_rule: str

  @property
  def record(self) -> dict[str, Any]:
    """As JSON has it."""
    layout, used, left_out = self.layout, self._used, self._left_out
    return {
      'folder': layout.root.absolute().name,
      'files': len(used),
      'clips': sum(part.clips for part in self.parts.values()),
      'endings': _by_ending(entry for entry, _ in used),
      'splits': {name: _facts(part) for name, part in self.parts.items()},
      'split_rule': self.split_rule,
      'classes': _of_classes(used),
      'class_rule': layout.class_rule,
      'classes_are_ids': layout.are_ids,
      'groups': _groups(used),
      'group_rule': layout.group_rule,
      'groups_on_both_sides': _shared(self.parts.values()),
      'frames': _ends(info.frames for _, info in used),
      'bits': next((info.bits for _, info in used if info.bits), 8),
      'fps': _ends(round(info.fps, 3) for _, info in used if info.fps),
      'passed_over': layout.passed_over,
      'set_aside': layout.set_aside,
      'left_out': len(left_out),
      'left_out_files': [
        {'file': name, 'reason': reason} for name, reason in left_out[:_KEPT]
      ],
    }  # fmt: skip

  def __str__(self) -> str:
    """For a person: a line a fact, those that there is nothing to say of left out."""
    told, left_out = self.record, self._left_out
    count = told['files'] + told['left_out']
    splits = ', '.join(
      f'{name} {part["files"]} files, {part["clips"]} clips'
      for name, part in told['splits'].items()
    )
    lines = {
      'files': f'{told["files"]} of {count} used: {_counted(told["endings"])}',
      'frames': _range(told['frames']) + f'; a second: {_range(told["fps"]) or "no clock"}',
      'depth': f'{told["bits"]} of 16 bits used' if any(i.bits for _, i in self._used) else '',
      'split': f'{splits}; {told["split_rule"]}',
      'classes': _said_of_classes(told),
      'groups': f'{told["groups"]}: {told["group_rule"]}' + _said_of_shared(told),
      'passed over': _counted(told['passed_over']),
      'set aside': _counted(told['set_aside']),
      'left out': _named(left_out),
    }
    head = f'{self.layout.root}: {told["clips"]} clips'
    return '\n'.join([head, *(f'  {name:<12} {line}' for name, line in lines.items() if line)])

  @property
  def _used(self):
    return [one for part in self.parts.values() for one in part.used]

  @property
  def _left_out(self):
    return [one for part in self.parts.values() for one in part.left_out]


def of_sources(sources: Iterable[Any]) -> Census | None:
  """Of the sources of the splits of one folder; None where they are of none."""
  censuses = [source.census for source in sources if hasattr(source, 'census')]
  if not censuses:
    return None
  parts = {name: part for census in censuses for name, part in census.parts.items()}
  return dataclasses.replace(censuses[0], parts=parts)


def _facts(part):
  return {
    'files': len(part.used),
    'clips': part.clips,
    'groups': _groups(part.used),
    'left_out': len(part.left_out),
  }


def _groups(used):
  return len({entry.group or entry.name for entry, _ in used})


def _shared(parts):
  """How many groups have clips in more than one split, which only names can bring about."""
  counts = collections.Counter(
    group for part in parts for group in {entry.group for entry, _ in part.used} - {''}
  )
  return sum(count > 1 for count in counts.values())


def _said_of_shared(told):
  count = told['groups_on_both_sides']
  return f'; {count} of them in more than one split' if count else ''


def _by_ending(entries: Iterable[Entry]) -> dict[str, int]:
  counts = collections.Counter(map(_ending, entries))
  return dict(counts.most_common())


def _ending(entry):
  if entry.path.suffix and not entry.path.is_dir():
    return entry.path.suffix.lower()
  inside = next((p.suffix.lower() for p in entry.path.parents if p.suffix and p.is_file()), '')
  return f'in {inside}' if inside else 'folders of frames'


def _of_classes(used):
  counts = collections.Counter(entry.label for entry, _ in used)
  return {} if set(counts) <= {''} else dict(sorted(counts.items()))


def _said_of_classes(told):
  names, rule = told['classes'], told['class_rule']
  if len(names) < 2:
    return rule if rule.startswith('none') else 'none'
  shown = [f'{name} {count}' for name, count in itertools.islice(names.items(), _NAMES)]
  more = [f'and {len(names) - _NAMES} more'] if len(names) > _NAMES else []
  return f'{len(names)}: {", ".join(shown + more)}' + (f'; {rule}' if rule else '')


def _ends(values):
  values = sorted(set(values))
  return [values[0], values[-1]] if values else []


def _range(ends):
  if not ends:
    return ''
  return f'{ends[0]:g}' if ends[0] == ends[1] else f'{ends[0]:g} to {ends[1]:g}'


def _counted(counts):
  return ', '.join(f'{count} {name}' for name, count in counts.items())


def _named(left_out):
  if not left_out:
    return ''
  shown = '; '.join(f'{pathlib.Path(name).name}: {reason}' for name, reason in left_out[:_SHOWN])
  more = f'; and {len(left_out) - _SHOWN} more' if len(left_out) > _SHOWN else ''
  return f'{len(left_out)}: {shown}{more}'
