"""CK+ and MUG, from folders laid out as they are distributed: classes, subjects, splits."""

import numpy as np
import pytest
from PIL import Image

from input_pipeline import make_source
from input_pipeline.faces import CKPLUS_CLASSES


def frames(folder, count, name):
  folder.mkdir(parents=True)
  for k in range(count):
    Image.fromarray(np.full((12, 16), 10 * k, np.uint8)).save(folder / name.format(k + 1))


@pytest.fixture
def ckplus(tmp_path):
  """20 subjects, 2 labelled sessions and one without a label each."""
  for s in range(20):
    subject = f'S{5 + s:03d}'
    for session in (1, 2, 3):
      name = f'{subject}_{session:03d}_'
      path = tmp_path / 'cohn-kanade-images' / subject / f'{session:03d}'
      frames(path, 6, name + '{:08d}.png')
      (path / '.DS_Store').touch()
      label = tmp_path / 'Emotion' / subject / f'{session:03d}'
      label.mkdir(parents=True)
      if session < 3:
        number = (s + session) % 7 + 1
        (label / f'{name}00000006_emotion.txt').write_text(f'   {number}.0000000e+00\n')
  return tmp_path


@pytest.fixture
def mug(tmp_path):
  for s in range(12):
    for label in ('anger', 'happiness', 'mixed'):
      for take in ('take000', 'take001', 'take000end'):
        frames(tmp_path / 'subjects3' / f'{s + 1:03d}' / label / take, 5, 'img_{:04d}.jpg')
  return tmp_path


def parts(kind, path, **options):
  sources = [
    make_source(kind, path=path, frames=4, size=8, split=split, windows=1, **options)
    for split in ('train', 'test')
  ]
  return sources, [[entry for entry, _ in source._files] for source in sources]


@pytest.mark.parametrize(('kind', 'total'), [('ckplus', 40), ('mug', 48)])
@pytest.mark.parametrize('share', [0.05, 0.3, 0.9])
def test_no_subject_is_in_both_splits(kind, total, share, request):
  _, (train, test) = parts(kind, request.getfixturevalue(kind), test_share=share)
  assert train and test and len(train) + len(test) == total
  assert not {e.group for e in train} & {e.group for e in test}
  assert not {e.name for e in train} & {e.name for e in test}


def test_another_seed_is_another_split(ckplus):
  one, two = (parts('ckplus', ckplus, split_seed=s, test_share=0.3)[1][1] for s in (0, 1))
  assert {e.group for e in one} != {e.group for e in two}


def test_ckplus_classes_are_the_published_numbers(ckplus):
  (source, _), (entries, _) = parts('ckplus', ckplus)
  assert set(source.classes) == set(CKPLUS_CLASSES) - {'neutral'}
  for i, entry in enumerate(entries):
    _, subject, session = entry.name.split('/')
    number = (int(subject[1:]) - 5 + int(session)) % 7 + 1
    assert source.classes[source[i]['label']] == CKPLUS_CLASSES[number]
  assert source[0]['video'].shape == (4, 8, 8, 3)


def test_ckplus_without_a_label_by_choice(ckplus):
  sources, entries = parts('ckplus', ckplus, unlabelled=True)
  assert 'unlabelled' in sources[0].classes and sum(map(len, entries)) == 60


def test_mug_classes_are_its_folders(mug):
  (source, _), (entries, _) = parts('mug', mug)
  assert source.classes == ('anger', 'happiness')
  assert {entry.name.rpartition('/')[2] for entry in entries} == {'take000', 'take001'}
  for i, entry in enumerate(entries):
    assert source.classes[source[i]['label']] == entry.name.split('/')[2]


def test_the_set_s_own_folder_may_be_named(mug):
  """`subjects3` itself as the path gives the same clips."""
  inner, outer = (parts('mug', path)[1] for path in (mug / 'subjects3', mug))
  assert [[e.path for e in part] for part in inner] == [[e.path for e in part] for part in outer]


@pytest.mark.parametrize('kind', ['ckplus', 'mug'])
def test_another_layout_is_an_error(kind, tmp_path):
  with pytest.raises(ValueError, match='no labelled clips in it; it is to hold'):
    parts(kind, tmp_path)


def test_a_label_that_is_no_number_is_an_error(ckplus):
  next((ckplus / 'Emotion').glob('**/*.txt')).write_text('happy')
  with pytest.raises(ValueError, match=r'_emotion\.txt: want one number from 0 to 7'):
    parts('ckplus', ckplus)
