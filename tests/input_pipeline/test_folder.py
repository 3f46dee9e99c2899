"""The folder source: layout, splits, windows, and what is left out."""

import pathlib
import pickle

import numpy as np
import pytest
from PIL import Image

from input_pipeline import rejected
from input_pipeline.clip import BadClip
from input_pipeline.folder import Folder


@pytest.fixture
def tree(tmp_path, clips):
  """Two classes, three kinds of clip, 20 frames each."""
  for label, shift in (('cat', 0), ('dog', 20)):
    (tmp_path / label).mkdir()
    video = clips.numbered(40)[shift : shift + 20]
    np.savez(tmp_path / label / 'a.npz', video=video)
    np.save(tmp_path / label / 'b.npy', video)
    (tmp_path / label / 'c').mkdir()
    for k, image in enumerate(video):
      Image.fromarray(image).save(tmp_path / label / 'c' / f'frame{k}.png')
  (tmp_path / 'README.md').write_text('not a clip')
  return tmp_path


def numbers(item, clips):
  return [clips.number_of(frame) for frame in item['video']]


def test_sub_folders_are_classes(tree, clips):
  source = Folder(tree, 4, 16, 'train', test_share=0, windows=1)
  assert source.classes == ('cat', 'dog') and len(source) == 6 and not source.rejected
  for i in range(6):
    item = source[i]
    assert item['video'].shape == (4, 16, 16, 3) and item['video'].dtype == np.uint8
    assert item['label'].dtype == np.int32 and item['id'] == i and item['id'].dtype == np.int64
    assert (numbers(item, clips)[0] >= 20) == item['label']


def test_a_flat_folder_is_one_class(tree):
  source = Folder(tree / 'cat', 4, 16, 'train', test_share=0)
  assert source.classes == ('',) and source[0]['label'] == 0


def test_train_and_test_folders_are_the_splits(tmp_path, clips):
  for split, labels in (('train', 'ab'), ('test', 'bc')):
    for label in labels:
      (tmp_path / split / label).mkdir(parents=True)
      np.save(tmp_path / split / label / 'x.npy', clips.numbered(8))
  train, test = (Folder(tmp_path, 4, 16, s, windows=1) for s in ('train', 'test'))
  assert train.classes == test.classes == ('a', 'b', 'c')
  assert [int(train[i]['label']) for i in range(2)] == [0, 1]
  assert [int(test[i]['label']) for i in range(2)] == [1, 2]


def test_hashed_splits_are_disjoint_cover_and_stay(tmp_path, clips):
  def split(**options):
    parts = [Folder(tmp_path, 4, 16, s, windows=1, **options) for s in ('train', 'test')]
    return [{entry.name for entry, _ in part._files} for part in parts]

  for k in range(60):
    np.save(tmp_path / f'{k}.npy', clips.numbered(4, 16, 16))
  train, test = split(test_share=0.3)
  assert not train & test and len(train | test) == 60 and 8 <= len(test) <= 28
  assert split(test_share=0.3, split_seed=1)[1] != test
  np.save(tmp_path / 'late.npy', clips.numbered(4, 16, 16))
  later = split(test_share=0.3)
  assert later[0] - {'late.npy'} == train and later[1] - {'late.npy'} == test


def test_two_clips_make_two_splits(tmp_path, clips):
  for name in 'ab':
    np.save(tmp_path / f'{name}.npy', clips.numbered(4))
  for share in (0.001, 0.999):
    assert [len(Folder(tmp_path, 4, 16, s, test_share=share)) for s in ('train', 'test')] == [1, 1]


def test_windows_cover_the_clip(tmp_path, clips):
  np.save(tmp_path / 'a.npy', clips.numbered(20))
  one = Folder(tmp_path, 4, 16, 'train', test_share=0, windows=1)
  assert len(one) == 1 and numbers(one[0], clips) == [8, 9, 10, 11]
  three = Folder(tmp_path, 4, 16, 'train', test_share=0, windows=3)
  assert [numbers(three[i], clips)[0] for i in range(3)] == [0, 8, 16]
  many = Folder(tmp_path, 4, 16, 'train', test_share=0)
  assert [numbers(many[i], clips)[0] for i in range(len(many))] == list(range(0, 17, 2))
  strided = Folder(tmp_path, 4, 16, 'train', stride=3, test_share=0, windows=1)
  assert numbers(strided[0], clips) == [5, 8, 11, 14]


def test_training_draws_its_start_and_testing_does_not(tmp_path, clips):
  for split in ('train', 'test'):
    (tmp_path / split).mkdir()
    np.save(tmp_path / split / 'a.npy', clips.numbered(20))
  train, test = (Folder(tmp_path, 4, 16, s, windows=1) for s in ('train', 'test'))
  starts = {numbers(train.sample(0, np.random.default_rng(k)), clips)[0] for k in range(200)}
  assert starts == set(range(17)), 'every start, the last included'
  assert {numbers(test.sample(0, np.random.default_rng(k)), clips)[0] for k in range(9)} == {8}


def test_decoded_or_from_the_cache_it_is_the_same_clip(tmp_path, clips):
  clips.write(tmp_path / 'a.mp4', clips.numbered(40))
  cached = Folder(tmp_path, 8, 16, 'train', test_share=0)
  fresh = Folder(tmp_path, 8, 16, 'train', test_share=0, cache_bytes=0)
  assert cached.fingerprint == fresh.fingerprint
  for i in range(len(cached)):
    np.testing.assert_array_equal(cached[i]['video'], fresh[i]['video'])


def test_pickled_source_is_the_same_and_small(tmp_path, clips):
  np.save(tmp_path / 'a.npy', clips.numbered(40, 64, 64))
  source = Folder(tmp_path, 8, 64, 'train', test_share=0)
  video = source[1]['video']
  copy = pickle.dumps(source)
  assert len(copy) < 5000
  np.testing.assert_array_equal(pickle.loads(copy)[1]['video'], video)


def test_fingerprint_follows_the_clips(tmp_path, clips):
  np.save(tmp_path / 'a.npy', clips.numbered(20))
  before = Folder(tmp_path, 4, 16, 'train', test_share=0).fingerprint
  assert Folder(tmp_path, 4, 16, 'train', test_share=0).fingerprint == before
  assert Folder(tmp_path, 5, 16, 'train', test_share=0).fingerprint != before
  np.save(tmp_path / 'b.npy', clips.numbered(20))
  assert Folder(tmp_path, 4, 16, 'train', test_share=0).fingerprint != before


def test_bad_and_short_clips_are_left_out_with_a_reason(tmp_path, clips):
  np.save(tmp_path / 'good.npy', clips.numbered(8))
  np.save(tmp_path / 'short.npy', clips.numbered(3))
  (tmp_path / 'empty.mp4').touch()
  source = Folder(tmp_path, 4, 16, 'train', test_share=0)
  reasons = {path.rpartition('/')[2]: reason for path, reason in source.rejected}
  assert reasons == {
    'short.npy': 'too short: 3 frames, 4 needed',
    'empty.mp4': 'empty file',
  }


@pytest.mark.parametrize('cache_bytes', [0, 2**20])
def test_a_clip_that_breaks_later_is_left_out(tmp_path, clips, cache_bytes):
  for name in 'abc':
    np.save(tmp_path / f'{name}.npy', clips.numbered(8))
  table = tmp_path / 'rejected.csv'
  source = Folder(
    tmp_path, 4, 16, 'train', test_share=0, windows=1, cache_bytes=cache_bytes, rejected_csv=table
  )
  (tmp_path / 'a.npy').write_bytes(b'gone bad')
  for _ in range(2):
    with pytest.raises(BadClip, match=r'a\.npy: cannot be read'):
      source[0]
  assert [path for path, _ in source.rejected] == [str(tmp_path / 'a.npy')]
  assert [row[:2] for row in rejected.read(table)] == [('train', str(tmp_path / 'a.npy'))]
  (tmp_path / 'b.npy').write_bytes(b'gone bad')
  with pytest.raises(BadClip, match=r'b\.npy: cannot be read'):  # max_bad is of the start
    source[1]
  assert [clips.number_of(frame) for frame in source[2]['video']] == [2, 3, 4, 5]


@pytest.mark.parametrize('cache_bytes', [0, 2**20])
def test_what_is_read_does_not_depend_on_what_was_read_before(tmp_path, clips, cache_bytes):
  """A file whose second half is missing: a resumed run must find the same windows good."""
  np.save(tmp_path / 'a.npy', clips.numbered(20))
  np.save(tmp_path / 'b.npy', clips.numbered(20))
  content = (tmp_path / 'a.npy').read_bytes()
  (tmp_path / 'a.npy').write_bytes(content[: len(content) // 2])

  def outcome(source, i):
    try:
      return source[i]['video'].tobytes()
    except BadClip:
      return None

  def source():
    return Folder(tmp_path, 4, 16, 'train', test_share=0, cache_bytes=cache_bytes)

  one = source()
  forward = [outcome(one, i) for i in range(len(one))]
  assert [outcome(one, i) for i in range(len(one))] == forward
  assert [outcome(source(), i) for i in range(len(one))] == forward
  assert forward.count(None) == 6, 'what is before the damage is kept, with a cache or without'


def test_folders_of_no_use_say_why(tmp_path, clips):
  with pytest.raises(FileNotFoundError, match='nowhere: no such folder'):
    Folder(tmp_path / 'nowhere', 4, 16, 'train')
  with pytest.raises(ValueError, match=r'no clips in it; it may hold \.mp4'):
    Folder(tmp_path, 4, 16, 'train')
  (tmp_path / 'a.mp4').write_bytes(b'nothing like a video')
  with pytest.raises(ValueError, match=r'no usable clip .* 1 left out: .*a\.mp4: cannot be') as e:
    Folder(tmp_path, 4, 16, 'train')
  assert '\n' not in str(e.value)
  with pytest.raises(ValueError, match='none of its 1 clips is in the test split'):
    Folder(tmp_path, 4, 16, 'test')


@pytest.fixture
def table(tree):
  """Writes a CSV beside the clips and returns its path."""

  def write(*lines):
    (tree / 'labels.csv').write_text('\n'.join(lines) + '\n')
    return tree / 'labels.csv'

  return write


def test_classes_and_splits_from_a_csv(tree, table):
  labels = table(
    'path,label,split', 'cat/a.npz,tom,train', 'cat/c,tom,test', 'dog/b.npy,rex,train',
  )  # fmt: skip
  train, test = (Folder(tree, 4, 16, s, labels=labels, windows=1) for s in ('train', 'test'))
  assert train.classes == test.classes == ('rex', 'tom')
  assert [(e.name, e.label) for e, _ in train._files] == [
    ('cat/a.npz', 'tom'),
    ('dog/b.npy', 'rex'),
  ]
  assert [e.name for e, _ in test._files] == ['cat/c']
  assert [int(train[i]['label']) for i in range(2)] == [1, 0]


def test_a_csv_of_paths_keeps_folders_as_classes_and_hashes_the_split(tree, table):
  lines = [f'{label}/{name}' for label in ('cat', 'dog') for name in ('a.npz', 'b.npy', 'c')]
  sources = [
    Folder(tree, 4, 16, s, labels=table('path', *lines), test_share=0.4, windows=1)
    for s in ('train', 'test')
  ]
  names = [{e.name for e, _ in source._files} for source in sources]
  assert not names[0] & names[1] and len(names[0] | names[1]) == 6
  assert sources[0].classes == ('cat', 'dog')


def test_groups_of_a_csv_stay_together(tree, table):
  lines = [f'{label}/{name},{name}' for label in ('cat', 'dog') for name in ('a.npz', 'b.npy', 'c')]
  for seed in range(6):
    groups = [
      {e.group for e, _ in Folder(tree, 4, 16, s, labels=table('path,group', *lines),
                                  test_share=0.5, split_seed=seed)._files}
      for s in ('train', 'test')
    ]  # fmt: skip
    assert all(groups) and not groups[0] & groups[1]


@pytest.mark.parametrize(
  ('lines', 'reason'),
  [
    (['file,label', 'cat/a.npz,x'], 'no column named path; it has file, label'),
    (['path,split', 'cat/a.npz,val'], "line 2: split 'val', want train or test"),
    (['path', 'cat/a.npz', '../secret.mp4'], r"line 3: path '\.\./secret\.mp4', want one under"),
    (['path', '/etc/passwd'], 'line 2: path'),
    (['path'], 'no clips in it'),
  ],
)
def test_a_wrong_csv_is_named(tree, table, lines, reason):
  with pytest.raises(ValueError, match=reason):
    Folder(tree, 4, 16, 'train', labels=table(*lines))


def test_a_clip_that_the_csv_names_in_vain_is_left_out(tree, table):
  source = Folder(
    tree, 4, 16, 'train', test_share=0, labels=table('path', 'cat/a.npz', 'cat/none.mp4')
  )
  assert len(source._files) == 1
  assert source.rejected == [
    (str(tree / 'cat/none.mp4'), 'cannot be read (No such file or directory)')
  ]
  with pytest.raises(FileNotFoundError, match=r'none\.csv: no such file'):
    Folder(tree, 4, 16, 'train', labels=tree / 'none.csv')


def test_weizmann_is_read_as_laid_out(shared_clips):
  train = Folder(shared_clips / 'weizmann', 16, 64, 'train')
  test = Folder(shared_clips / 'weizmann', 16, 64, 'test')
  assert train.classes == test.classes == ('bend', 'jack', 'wave1', 'wave2')
  assert (len(train._files), len(test._files)) == (24, 12) and len(train) > 150


@pytest.mark.parametrize(
  ('content', 'reason'),
  [
    (b'', 'no column named path; it has none'),
    (b'path\n\xff.npy\n', r'line \d+: not a CSV .*utf-8'),
    (b'path,label\n"' + b'x' * 10**5, r'line \d+: not a CSV .a line of more than'),
    (b'path,label\n"' + b'x\n' * 10**5, r'line \d+: not a CSV .field larger than'),
    (b'path\n../a.npy\n', 'line 2: path'),
    (b'path\n\n/etc/a.npy\n', 'line 3: path'),
    (b'label,path\na\n', 'line 2: path'),
  ],
)
def test_a_table_of_labels_from_a_stranger_is_one_line(tmp_path, content, reason):
  (tmp_path / 'labels.csv').write_bytes(content)
  with pytest.raises(ValueError, match=reason) as e:
    Folder(tmp_path, 4, 16, 'train', labels=tmp_path / 'labels.csv')
  assert '\n' not in str(e.value) and str(e.value).startswith(f'{tmp_path / "labels.csv"}')


def test_links_are_followed(tmp_path, clips):
  """A set may be linked together from several disks; whatever a link leads to is read as a clip."""
  (tmp_path / 'elsewhere').mkdir()
  (tmp_path / 'set').mkdir()
  np.save(tmp_path / 'elsewhere' / 'a.npy', clips.numbered(8))
  (tmp_path / 'elsewhere' / 'secret').write_text('no clip')
  (tmp_path / 'set' / 'disk').symlink_to(tmp_path / 'elsewhere')
  (tmp_path / 'set' / 'b.npy').symlink_to(tmp_path / 'elsewhere' / 'secret')
  source = Folder(tmp_path / 'set', 4, 16, 'train', test_share=0, windows=1)
  assert [source.origin(i)['file'] for i in range(len(source))] == ['disk/a.npy']
  assert [pathlib.Path(path).name for path, _ in source.rejected] == ['b.npy']


def test_the_list_of_what_is_left_out_has_a_row_a_file(tmp_path):
  """Which clip of a damaged file was drawn first, and so what is said of it, is luck."""
  table = tmp_path / 'rejected.csv'
  rejected.append(table, [('train', 'a.npy', 'ends at frame 4')])
  rejected.append(table, [('train', 'a.npy', 'ends at frame 7'), ('test', 'a.npy', 'too short')])
  assert rejected.read(table) == [
    ('train', 'a.npy', 'ends at frame 4'),
    ('test', 'a.npy', 'too short'),
  ]
