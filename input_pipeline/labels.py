"""Lists of clips: a CSV of this project's, UCF-101's trainlist01.txt, and Kinetics' CSV."""

import collections
import dataclasses
import pathlib
from collections.abc import Sequence

from input_pipeline import splits, tables
from input_pipeline.discovery import Entry
from input_pipeline.splits import SPLITS, VALIDATION

COLUMNS = ('path', 'label', 'split', 'group')
_KINETICS = ('label', 'youtube_id', 'time_start', 'time_end', 'split')
_MISSING = 'named in {} and not there'
_UNNAMED = 'not named in {}'


def read(
  root: pathlib.Path, table: pathlib.Path, found: Sequence[Entry]
) -> tuple[list[Entry], dict[str, int]]:
  """The clips that a list names, with what it says of them, and counts of those left out.

  Args:
    root: what its paths are under.
    table: a CSV with the column path and any of label, split (train or test) and group; a list of
      UCF-101, CLASS/NAME and perhaps a number a line, which with its other half beside it
      (testlist01.txt to trainlist01.txt) makes a split; or a CSV of Kinetics.
    found: the clips that are there.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: it is none of these, or a path in it leaves the folder.
  """
  if not table.is_file():
    raise FileNotFoundError(f'{table}: no such file (labels of {root})')
  if table.suffix.lower() == '.txt':
    return _of_ucf101(root, table, found)
  numbered = tables.rows(table, errors='strict')
  _, columns = next(numbered, (0, []))
  if {'youtube_id', 'time_start'} <= set(columns):
    return _of_kinetics(table, columns, numbered, found)
  _check_columns(table, columns)
  by_line = {line: _entry(root, table, line, columns, cells) for line, cells in numbered if cells}
  _check_rows(table, by_line)
  entries = list(by_line.values())
  _check_labels(table, entries)
  return entries, _unnamed(table, entries, found)


def _check_columns(table, columns):
  known = {column.strip().lower(): column for column in columns}
  if len(columns) == 1 and (sign := next((s for s in ';\t|' if s in columns[0]), '')):
    raise ValueError(f'{table}: columns separated by {sign!r}, want commas')
  for column in columns:
    if column not in COLUMNS and column.strip().lower() in COLUMNS:
      raise ValueError(f'{table}: column {column!r}, want {column.strip().lower()!r}')
  if 'path' not in known:
    raise ValueError(f'{table}: no column named path; it has {", ".join(columns) or "none"}')
  for column in columns:
    if column not in COLUMNS:
      raise ValueError(f'{table}: column {column!r} is none of {", ".join(COLUMNS)}; remove it')
  if len(set(columns)) < len(columns):
    raise ValueError(f'{table}: a column stands there twice: {", ".join(columns)}')


def _entry(root, table, line, columns, cells):
  row = dict.fromkeys(COLUMNS, '') | dict(zip(columns, cells))
  relative = _under(root, table, line, row['path'])
  if 'split' in columns and row['split'] not in SPLITS:
    raise ValueError(f'{table}, line {line}: split {row["split"]!r}, want {" or ".join(SPLITS)}')
  label = row['label'] if 'label' in columns else _first_folder(relative)
  return Entry(root / relative, relative.as_posix(), label, row['group'], row['split'])


def _under(root, table, line, path):
  """A path as a table has it, which may have been written on Windows."""
  if '\\' in path and not (root / path).exists():
    path = path.replace('\\', '/')
  relative = pathlib.PurePosixPath(path)
  if relative.is_absolute() or '..' in relative.parts or not relative.parts:
    raise ValueError(f'{table}, line {line}: path {path!r}, want one under {root}')
  return relative


def _first_folder(relative):
  return relative.parts[0] if len(relative.parts) > 1 else ''


def _check_rows(table, by_line):
  """Raises ValueError for a clip that is named twice, or alone has no label."""
  first, labelled = {}, any(entry.label for entry in by_line.values())
  for line, entry in by_line.items():
    if entry.name in first:
      raise ValueError(f'{table}, line {line}: {entry.name} stands in line {first[entry.name]} too')
    if labelled and not entry.label:
      raise ValueError(f'{table}, line {line}: {entry.name} has no label, as others have')
    first[entry.name] = line


def _check_labels(table, entries):
  """Raises ValueError for labels that differ by case or blanks only."""
  same = collections.defaultdict(set)
  for entry in entries:
    same[' '.join(entry.label.split()).lower()].add(entry.label)
  for names in same.values():
    if len(names) > 1:
      shown = ' and '.join(map(repr, sorted(names)))
      raise ValueError(f'{table}: labels {shown} differ by case or blanks only; make them one')


def _unnamed(table, entries, found):
  named = {entry.name for entry in entries}
  count = sum(entry.name not in named for entry in found)
  return {_UNNAMED.format(table.name): count} if count else {}


def _of_ucf101(root, table, found):
  halves = {_side(table): table}
  for kind, other in (('train', 'test'), ('test', 'train')):
    beside = table.with_name(table.name.replace(kind, other))
    if halves.get(kind) and beside != table and beside.is_file():
      halves[other] = beside
  entries = []
  for split, path in halves.items():
    for line, text in tables.lines(path):
      words = text.split()
      if not words:
        continue
      name = ' '.join(words[:-1]) if len(words) > 1 and words[-1].isdecimal() else ' '.join(words)
      relative = _under(root, path, line, name)
      label = _first_folder(relative)
      split_of_it = split if len(halves) > 1 else ''
      entries.append(Entry(root / relative, relative.as_posix(), label, '', split_of_it))
  there = {_without_ending(entry.name): entry for entry in found}
  return _matched(table, entries, there, found, lambda entry: _without_ending(entry.name))


def _side(table):
  return next((kind for kind in SPLITS if kind in table.name.lower()), '')


def _without_ending(name):
  return name.rpartition('.')[0] if '.' in name.rpartition('/')[2] else name


def _of_kinetics(table, columns, numbered, found):
  if missing := [name for name in _KINETICS if name not in columns]:
    raise ValueError(f'{table}: a list of Kinetics without the column {missing[0]}')
  blank, entries = dict.fromkeys(columns, ''), []
  for line, cells in numbered:
    row = blank | dict(zip(columns, cells))
    if cells:
      name = row['youtube_id'] + _times(table, line, row)
      kind = splits.of_word(row['split'])
      entries.append(Entry(pathlib.Path(), name, row['label'], row['youtube_id'], kind))
  there = {_without_ending(entry.parts[-1]): entry for entry in found}  # with the times or without
  kept, left_out = _matched(table, entries, there, found, lambda entry: entry.name)
  kinds = {entry.split for entry in kept}
  held_out = 'test' if 'test' in kinds else VALIDATION
  side = {'train': 'train', held_out: 'test'} if {'train', held_out} <= kinds else {}
  if not side:
    return [dataclasses.replace(entry, split='') for entry in kept], left_out
  unused = collections.Counter(entry.split for entry in kept if entry.split not in side)
  left_out |= {
    f'{kind or "no split"} in {table.name}, as {held_out} is held out': count
    for kind, count in unused.items()
  }
  kept = [dataclasses.replace(e, split=side[e.split]) for e in kept if e.split in side]
  return kept, left_out


def _times(table, line, row):
  try:
    return ''.join(f'_{int(float(row[name])):06d}' for name in ('time_start', 'time_end'))
  except (ValueError, OverflowError) as e:
    said = f'{row["time_start"]!r} to {row["time_end"]!r}'
    raise ValueError(f'{table}, line {line}: {said}, want seconds') from e


def _matched(table, entries, there, found, key):
  """What is there, with what a list says of it; the others are counted."""
  kept, missing = [], 0
  for entry in entries:
    clip = there.get(key(entry)) or there.get(entry.group)
    if clip is None:
      missing += 1
      continue
    kept.append(dataclasses.replace(entry, path=clip.path, name=clip.name))
  counts = {_MISSING.format(table.name): missing} if missing else {}
  return kept, counts | _unnamed(table, kept, found)
