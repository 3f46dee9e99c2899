"""How the clips of a folder are laid out: their splits, classes and groups, and by what rule."""

import collections
import dataclasses
import pathlib

from input_pipeline import discovery, images, labels, splits, stacks, video_files
from input_pipeline.discovery import Entry
from input_pipeline.splits import SPLITS, VALIDATION


@dataclasses.dataclass(frozen=True)
class Layout:
  """The clips of a folder, each with its split, class and group.

  Attributes:
    root: the folder, or zip.
    entries: the clips, by name, with label and group, and the split where something names it.
    split_rule: what names the splits; '' where nothing does and they are drawn.
    class_rule: why the classes are what they are; '' where there is nothing to say.
    group_rule: what belongs together.
    are_ids: whether the labels are rather names of videos or persons than classes.
    unused: clips that are of neither split, by the reason.
    passed_over: files that are no clips, by ending.
    set_aside: files that were left out for where they lie, by the reason.
  """

  root: pathlib.Path
  entries: tuple[Entry, ...]
  split_rule: str = ''
  class_rule: str = ''
  group_rule: str = 'each file by itself'
  are_ids: bool = False
  unused: dict[str, tuple[Entry, ...]] = dataclasses.field(default_factory=dict)
  passed_over: dict[str, int] = dataclasses.field(default_factory=dict)
  set_aside: dict[str, int] = dataclasses.field(default_factory=dict)

  @property
  def by_name(self) -> dict[str, tuple[Entry, ...]]:
    """All clips by what their split is called, those of neither too; 'all' where nothing says."""
    if not self.split_rule:
      return {'all': self.entries}
    named = {name: tuple(e for e in self.entries if e.split == name) for name in SPLITS}
    return named | self.unused

  def told(self) -> 'Layout':
    """What is left to tell once the clips are looked at: of those of no split, their number."""
    counts = {reason: len(entries) for reason, entries in self.unused.items()}
    return dataclasses.replace(self, entries=(), unused={}, set_aside=self.set_aside | counts)

  def parts(self, test_share: float, seed: int) -> dict[str, list[Entry]]:
    """Entries by split: those that are named, else drawn by `splits.draw`."""
    if not self.split_rule:
      return splits.draw(self.entries, test_share, seed)
    return {split: list(self.by_name[split]) for split in SPLITS}


def of(root: pathlib.Path, table: str = '', order: str = stacks.ONE) -> Layout:
  """The layout of the clips under `root`; `table` is a list of them, as in `labels`.

  Raises ValueError or FileNotFoundError, with one line, for a table that is none.
  """
  found = discovery.look(root, order)
  if table:
    entries, set_aside = labels.read(root, pathlib.Path(table).expanduser(), found.entries)
    return _of_table(root, table, entries, found, found.set_aside | set_aside)
  entries, folders, rule, unused = _with_splits(found.entries)
  entries, class_rule, are_ids = _with_labels(entries, folders)
  entries, group_rule = splits.grouped(entries, are_ids)
  aside = (found.passed_over, found.set_aside)
  return Layout(root, tuple(entries), rule, class_rule, group_rule, are_ids, unused, *aside)


def _of_table(root, table, entries, found, set_aside):
  name = pathlib.Path(table).name
  rule = f'as {name} says' if any(entry.split for entry in entries) else ''
  is_told = any(entry.label not in entry.parts[:1] for entry in entries)  # not by folders alone
  are_ids = not is_told and splits.are_ids([entry.label for entry in entries])
  entries, group_rule = splits.grouped(entries, are_ids)
  class_rule = _ID_RULE if are_ids else f'as {name} says'
  aside = (found.passed_over, set_aside)
  return Layout(root, tuple(entries), rule, class_rule, group_rule, are_ids, {}, *aside)


_ID_RULE = (
  'nearly as many as clips, so taken for ids and not conditioned on; as classes: set their number'
)


def _with_splits(entries):
  """Entries that are of a split, the folders of each but that one, the rule, and who is of none.

  The rule is '' where no folder says what is held out.
  """
  places = splits.by_folders(entries)
  name_of = lambda entry: entry.parts[places[entry.name]] if entry.name in places else ''
  kinds = {e.name: splits.of_folder(name_of(e))[0] if name_of(e) else '' for e in entries}
  present = set(kinds.values())
  held_out = 'test' if 'test' in present else VALIDATION
  trains = 'train' if 'train' in present else ''  # or what lies outside of the other
  if not {held_out, trains} <= present:
    places = places if len(places) == len(entries) else {}  # else it may well be a class
    return entries, [_folders(entry, places) for entry in entries], '', {}
  kept, unused = [], collections.defaultdict(list)
  for entry in entries:
    kind = kinds[entry.name]
    if kind in (trains, held_out):
      kept.append(dataclasses.replace(entry, split='test' if kind == held_out else 'train'))
    elif kind:
      unused[f'in {name_of(entry)}/, as {held_out} is held out'].append(entry)
    else:
      unused['outside of the folders of splits'].append(entry)
  named = lambda kind: ', '.join(sorted({f'{name_of(e)}/' for e in kept if kinds[e.name] == kind}))
  trained = named(trains) if trains else 'what lies outside of it'
  rule = f'held out: {named(held_out)}; for training: {trained}'
  return (
    kept,
    [_folders(entry, places) for entry in kept],
    rule,
    {reason: tuple(own) for reason, own in unused.items()},
  )


def _folders(entry, places):
  """The folders that a clip lies in, but that of its split."""
  place = places.get(entry.name)
  return [part for k, part in enumerate(entry.parts[:-1]) if k != place]


def _with_labels(entries, folders):
  """The first folder in which clips differ is their class, if they all lie in one."""
  while folders and all(folders) and len({own[0] for own in folders}) == 1:
    folders = [own[1:] for own in folders]
  names = [own[0].removesuffix('.zip') if own else '' for own in folders]
  outside, rule = names.count(''), ''
  if 0 < outside < len(names):
    rule = f'none, as {outside} clips lie outside of the folders'
    names = [''] * len(names)
  are_ids = splits.are_ids(names)
  alike = collections.Counter(name.lower() for name in set(names))
  if twice := sorted(name for name in set(names) if alike[name.lower()] > 1):
    rule = f'{" and ".join(twice)} differ by case only'
  labelled = [dataclasses.replace(entry, label=name) for entry, name in zip(entries, names)]
  return labelled, _ID_RULE if are_ids else rule, are_ids


def check_any(layout: Layout) -> None:
  """Raises ValueError for a folder in which there is no clip, with what there is instead."""
  if layout.entries:
    return
  passed = [f'{n} {what}' for what, n in (layout.passed_over | layout.set_aside).items()]
  endings = ' '.join(video_files.VIDEOS + video_files.ARRAYS)
  raise ValueError(
    f'{layout.root}: no clips in it; it may hold {endings} .zip and folders of images'
    + (f'; passed over: {", ".join(passed)}' if passed else '')
    + ('; images are the frames of a clip where they lie in a folder of their own'
       if set(layout.passed_over) & set(images.ENDINGS) else '')
  )  # fmt: skip
