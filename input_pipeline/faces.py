"""Face sets that a user has under a licence of their own: CK+ and MUG, split by subject.

Both are read as they are distributed, from the folder that was unpacked. Nobody's face is in both
splits: the hash that parts them is that of the subject.
"""

import pathlib
import re

from input_pipeline import files, images, splits
from input_pipeline.discovery import Entry
from input_pipeline.layout import Layout

CKPLUS_CLASSES = (
  'neutral', 'anger', 'contempt', 'disgust', 'fear', 'happiness', 'sadness', 'surprise',
)  # fmt: skip
_DRAWN = 'drawn by subject'
MUG_CLASSES = ('anger', 'disgust', 'fear', 'happiness', 'neutral', 'sadness', 'surprise')


class CKPlus(files.FileClips):
  """CK+ (Lucey et al., 2010): faces from neutral to the peak of an expression, 10 to 60 frames.

  `path` holds `cohn-kanade-images/S005/001/*.png` and `Emotion/S005/001/*_emotion.txt`, at any
  depth. Sequences without an emotion label (about two in five) are used only if `unlabelled`, as a
  class of that name. The other arguments are those of `files.FileClips`.
  """

  def __init__(
    self, path, frames, size, split, test_share=0.1, split_seed=0, unlabelled=False, **options
  ):
    root = files.check_folder(path)
    emotions = _ckplus_emotions(root)
    entries = []
    for folder in _frame_folders(root, 'cohn-kanade-images/S*/*'):
      subject, session = folder.parts[-2:]
      label = emotions.get((subject, session), 'unlabelled')
      if unlabelled or label != 'unlabelled':
        entries.append(Entry(folder, folder.relative_to(root).as_posix(), label, subject))
    _check(root, entries, 'cohn-kanade-images/S005/001/*.png and Emotion/S005/001/*_emotion.txt')
    super().__init__(
      *_by_subject(root, entries, split, test_share, split_seed),
      frames=frames, size=size, split=split, split_rule=_DRAWN, **options,
    )  # fmt: skip


class MUG(files.FileClips):
  """MUG (Aifanti et al., 2010): 86 subjects act six expressions and neutral, 50 to 160 frames.

  `path` holds `subjects3/001/anger/take000/*.jpg`, at any depth; takes whose name ends in `end`,
  which show the way back to neutral, are passed over. The other arguments are those of
  `files.FileClips`.
  """

  def __init__(self, path, frames, size, split, test_share=0.1, split_seed=0, **options):
    root = files.check_folder(path)
    entries = []
    for folder in _frame_folders(root, '[0-9][0-9][0-9]/*/take*'):
      subject, label = folder.parts[-3:-1]
      if label in MUG_CLASSES and not folder.name.endswith('end'):
        entries.append(Entry(folder, folder.relative_to(root).as_posix(), label, subject))
    _check(root, entries, 'subjects3/001/anger/take000/*.jpg')
    super().__init__(
      *_by_subject(root, entries, split, test_share, split_seed),
      frames=frames, size=size, split=split, split_rule=_DRAWN, **options,
    )  # fmt: skip


def _by_subject(root, entries, split, test_share, seed):
  """The layout, and the entries and classes of a split."""
  layout = Layout(root, tuple(entries), group_rule='clips of one subject')
  return layout, *splits.choose(root, layout.parts(test_share, seed), split)


def _frame_folders(root, pattern):
  """Folders that match and hold images, sorted."""
  found = {p for p in root.glob(f'**/{pattern}') if p.is_dir()}
  return sorted(p for p in found if any(map(images.is_image, p.iterdir())))


def _ckplus_emotions(root: pathlib.Path):
  """(subject, session) -> name of the class, from one-number files such as `   3.0000000e+00`."""
  emotions = {}
  for path in filter(pathlib.Path.is_file, root.glob('**/S*/*/*_emotion.txt')):
    with path.open('rb') as file:
      number = re.fullmatch(rb'\s*([0-7])(\.0*)?(e\+00)?\s*', file.read(64))
    if number is None:
      raise ValueError(f'{path}: want one number from 0 to 7')
    emotions[path.parts[-3:-1]] = CKPLUS_CLASSES[int(number[1])]
  return emotions


def _check(root, entries, layout):
  if not entries:
    raise ValueError(f'{root}: no labelled clips in it; it is to hold {layout}')
