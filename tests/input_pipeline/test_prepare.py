"""Preparing a set and reading it: nothing lost, nothing doubled, whatever stopped it."""

import csv
import hashlib
import json
import pathlib
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest

from input_pipeline import Batches, make_source, prepare, rejected
from input_pipeline.arrayrecord import ArrayRecords
from input_pipeline.clip import BadClip

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope='module')
def clips_folder(tmp_path_factory, clips):
  """Two classes, 12 good clips of 12 frames, one that breaks when decoded, one bad at once."""
  root = tmp_path_factory.mktemp('clips')
  for label in ('cat', 'dog'):
    (root / label).mkdir()
    for k in range(6):
      np.save(root / label / f'{k}.npy', clips.numbered(12))
  content = (root / 'dog' / '3.npy').read_bytes()
  (root / 'dog' / 'late.npy').write_bytes(content[: len(content) // 2])
  (root / 'cat' / 'bad.mp4').write_text('hello')
  return root


def arguments(folder, out):
  return [
    '--source=folder', f'--path={folder}', f'--out={out}', '--size=16', '--frames=6', '--windows=2',
    '--shard_clips=5', '--workers=0', '--test_share=0.3',
  ]  # fmt: skip


@pytest.fixture(scope='module')
def prepared(tmp_path_factory, clips_folder):
  out = tmp_path_factory.mktemp('prepared')
  assert prepare.main(arguments(clips_folder, out)) == 0
  return out


def rows(out):
  with (out / 'index.csv').open(newline='') as file:
    return list(csv.DictReader(file))


@pytest.mark.parametrize('split', ['train', 'test'])
def test_prepared_clips_are_the_source_s_own(prepared, clips_folder, split):
  options = {'frames': 6, 'size': 16, 'split': split}
  source = make_source('folder', path=clips_folder, windows=2, test_share=0.3, **options)
  read = make_source('arrayrecord', path=prepared, **options)
  want = []
  for i in range(len(source)):
    try:
      want.append(source[i])
    except BadClip:
      continue
  assert len(read) == len(want) > 3 and read.classes == source.classes == ('cat', 'dog')
  for i, item in enumerate(want):
    np.testing.assert_array_equal(read[i]['video'], item['video'])
    assert read[i]['label'] == item['label'] and read[i]['label'].dtype == np.int32
    assert read[i]['id'] == i and read[i]['id'].dtype == np.int64


def test_the_index_says_where_each_clip_is_from(prepared):
  index = rows(prepared)
  assert list(index[0]) == ['split', 'id', 'file', 'start', 'fps', 'label', 'sha256']
  origins = {(row['file'], row['start']) for row in index}
  assert len(origins) == len(index) == 24, 'every window of every good file, once'
  assert {row['start'] for row in index} == {'0', '6'}
  assert {row['file'].partition('/')[0] == row['label'] for row in index} == {True}
  files = {split: {r['file'] for r in index if r['split'] == split} for split in ('train', 'test')}
  assert not files['train'] & files['test']
  for split in files:
    own = [row for row in index if row['split'] == split]
    assert [int(row['id']) for row in own] == list(range(len(own)))
    source = ArrayRecords(prepared, 6, 16, split)
    for row in own:
      digest = hashlib.sha256(source[int(row['id'])]['video'].tobytes()).hexdigest()
      assert digest == row['sha256']


def test_what_was_left_out_is_listed(prepared):
  names = sorted(pathlib.Path(row[1]).name for row in rejected.read(prepared / 'rejected.csv'))
  assert names == ['bad.mp4', 'late.npy']


def test_nothing_temporary_is_left(prepared):
  kinds = {path.suffix for path in prepared.iterdir()}
  assert kinds == {'.csv', '.json', '.array_record'}
  assert {p.name for p in prepared.glob('*.json')} == {'prepared.json', 'plan.json'}


def contents(out):
  return {path.name: path.read_bytes() for path in out.iterdir()}


def test_a_stopped_run_goes_on_to_the_same_bytes(tmp_path, prepared, clips_folder, monkeypatch):
  """Stopped after some shards and in the midst of one: the finished ones are not done again."""
  out = tmp_path / 'out'
  shutil.copytree(prepared, out)
  (out / 'prepared.json').unlink()
  shards = sorted(out.glob('*.array_record'))
  kept = shards[0]
  index = rows(out)
  own = [r for r in index if r['split'] == 'test'][:5]
  assert kept.name.startswith('test-00000')
  kept.with_name(f'{kept.name}.json').write_text(
    json.dumps([{**r, 'start': int(r['start']), 'fps': 0.0, 'shape': [6, 16, 16, 3]} for r in own])
  )
  shards[1].with_name(f'{shards[1].name}.partial').write_bytes(b'half')
  for path in (shards[1], out / 'index.csv'):
    path.unlink()
  before = kept.stat().st_mtime_ns
  assert prepare.main(arguments(clips_folder, out)) == 0
  assert kept.stat().st_mtime_ns == before, 'not written again'
  assert contents(out).keys() == contents(prepared).keys()
  for name in ('index.csv', 'prepared.json'):
    assert (out / name).read_text() == (prepared / name).read_text()
  for split in ('train', 'test'):
    one, two = ArrayRecords(prepared, 6, 16, split), ArrayRecords(out, 6, 16, split)
    assert all((one[i]['video'] == two[i]['video']).all() for i in range(len(one)))


def test_a_second_run_does_nothing(prepared, clips_folder, capsys):
  before = contents(prepared)
  assert prepare.main(arguments(clips_folder, prepared)) == 0
  assert contents(prepared) == before
  assert 'clips in train' in capsys.readouterr().out


def test_another_set_is_not_written_over(prepared, clips_folder, capsys):
  changed = [a.replace('--frames=6', '--frames=4') for a in arguments(clips_folder, prepared)]
  assert prepare.main(changed) == 1
  message = capsys.readouterr().err
  assert 'holds a set prepared otherwise' in message and message.count('\n') == 1


def test_errors_of_the_command_are_one_line(tmp_path, capsys):
  assert prepare.main(arguments(tmp_path / 'nowhere', tmp_path / 'out')) == 1
  assert capsys.readouterr().err.endswith('nowhere: no such folder\n')
  with pytest.raises(SystemExit) as e:
    prepare.main(['--source=folder'])
  assert e.value.code == 2


def test_the_command_line(tmp_path):
  """The documented command, in a process of its own."""
  done = subprocess.run(
    [sys.executable, '-m', 'input_pipeline.prepare', '--source=synthetic', f'--out={tmp_path}',
     '--size=8', '--frames=2', '--count=5', '--workers=2', '--shard_clips=2'],
    cwd=ROOT, capture_output=True, text=True, timeout=600,
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  assert '5 clips in train, 5 clips in test; no file left out' in done.stdout
  assert '10/10' in done.stderr, 'the progress bar'
  source = make_source('arrayrecord', path=tmp_path, frames=2, size=8, split='train')
  direct = make_source('synthetic', frames=2, size=8, split='train', count=5)
  np.testing.assert_array_equal(source[3]['video'], direct[3]['video'])
  assert source[3]['label'] == direct[3]['label'] and source.classes == direct.classes


def test_shorter_clips_are_cut_from_prepared_ones(prepared, clips):
  train, test = (ArrayRecords(prepared, 4, 16, split) for split in ('train', 'test'))
  number = clips.number_of
  first = number(train[0]['video'][0])
  starts = {
    number(train.sample(0, np.random.default_rng(k))['video'][0]) - first for k in range(60)
  }
  assert starts == {-1, 0, 1}, 'six frames hold three windows of four; the centre is the middle one'
  assert {number(test.sample(0, np.random.default_rng(k))['video'][0]) for k in range(9)} == {
    number(test[0]['video'][0])
  }


def test_batches_of_a_prepared_set(prepared):
  source = pickle.loads(pickle.dumps(ArrayRecords(prepared, 6, 16, 'train')))
  batches = Batches(source, batch=4, seed=0, flip=True)
  ids = np.concatenate([next(batches)['id'] for _ in range(len(source))])
  batches.close()
  assert (np.bincount(ids) == 4).all()


@pytest.mark.parametrize(
  ('change', 'reason'),
  [
    ({'size': 32}, 'prepared at size 16, not 32'),
    ({'frames': 7}, 'prepared with 6 frames, 7 asked for'),
    ({'split': 'val'}, 'no val split in it; it has train, test'),
  ],
)
def test_other_clips_than_prepared_are_an_error(prepared, change, reason):
  with pytest.raises(ValueError, match=reason):
    ArrayRecords(**({'path': prepared, 'frames': 6, 'size': 16, 'split': 'train'} | change))


def test_folders_that_are_not_whole_say_so(tmp_path, prepared):
  with pytest.raises(FileNotFoundError, match=r'no prepared\.json in it; make it with'):
    ArrayRecords(tmp_path, 6, 16, 'train')
  out = tmp_path / 'out'
  shutil.copytree(prepared, out)
  shard = sorted(out.glob('train-*'))[0]
  content = bytearray(shard.read_bytes())
  at = content.index(ArrayRecords(out, 6, 16, 'train')[2]['video'].tobytes())
  shard.unlink()
  with pytest.raises(FileNotFoundError, match=f'{shard.name}: missing'):
    ArrayRecords(out, 6, 16, 'train')
  content[at + 1000] ^= 1
  shard.write_bytes(content)
  source = ArrayRecords(out, 6, 16, 'train')
  good = ArrayRecords(prepared, 6, 16, 'train')
  damaged = 0
  for i in range(len(source)):
    try:
      np.testing.assert_array_equal(source[i]['video'], good[i]['video'])
    except BadClip as e:
      damaged += 1
      assert 'is damaged' in str(e) and '\n' not in str(e)
  assert damaged > 0, 'a flipped bit is noticed, never returned'


def changed(prepared, out, name, content):
  """A copy of a prepared folder whose file `name` holds `content`."""
  shutil.copytree(prepared, out)
  (out / name).write_bytes(content)
  return out


def about_with(prepared, change):
  about = json.loads((prepared / 'prepared.json').read_text())
  return json.dumps({k: v for k, v in (about | change).items() if v != 'gone'}).encode()


def splits_with(**part):
  return {'splits': {'train': {'shards': ['a.array_record'], 'clips': 1} | part}}


@pytest.mark.parametrize(
  'shard',
  [
    '../secret.array_record', '/etc/secret.array_record', 'a/b.array_record', '..', '', '.',
    '..\\secret.array_record', 'C:\\a.array_record', '.hidden.array_record', 'a\0.array_record',
    'a.array_record\n', 'prepared.json', 3, None, ['a.array_record'],
  ],
)  # fmt: skip
def test_shards_outside_of_the_folder_are_refused(prepared, tmp_path, shard):
  shutil.copyfile(next(prepared.glob('train-*')), tmp_path / 'secret.array_record')
  content = about_with(prepared, splits_with(shards=[shard]))
  out = changed(prepared, tmp_path / 'out', 'prepared.json', content)
  with pytest.raises(ValueError, match=r'prepared\.json: splits is .*prepare it again') as e:
    ArrayRecords(out, 6, 16, 'train')
  assert '\n' not in str(e.value)


@pytest.mark.parametrize(
  ('change', 'reason'),
  [
    ({'version': 2}, 'prepared as version 2, want 1'),
    ({'version': 'gone'}, 'prepared as version None, want 1'),
    *[({'shape': shape}, 'shape is') for shape in (
      'gone', None, 6, [6, 16, 16], [6, 16, 16, 4], [6, 16, 17, 3], [0, 16, 16, 3],
      [6.0, 16, 16, 3], [True, 16, 16, 3], ['6', 16, 16, 3], [2**40, 16, 16, 3],
      [2**31, 2**31, 2**31, 3], {'6': 1}, [-6, -16, -16, 3],
    )],
    *[({'classes': names}, 'classes is') for names in (
      'gone', None, 'cat', [], [1, 2], ['cat', 'cat'], {'cat': 0}, [['cat']],
    )],
    *[({'splits': splits}, 'splits is') for splits in ('gone', None, [], 'train', {'train': []})],
    (splits_with(shards='a.array_record'), 'splits is'),
    (splits_with(shards=None), 'splits is'),
    (splits_with(clips='1'), 'splits is'),
    (splits_with(clips=None), 'splits is'),
    *[(splits_with(timing=timing), 'splits is') for timing in (
      3, {}, {'stride': 1}, {'stride': 0, 'fps': None}, {'stride': 'two', 'fps': None},
      {'stride': 1, 'fps': 'fast'}, {'stride': None, 'fps': [8.0, 25.0]},
    )],
    ({'fingerprint': 'gone'}, 'fingerprint is missing'),
    ({'fingerprint': 3}, 'fingerprint is 3, want a text'),
    ({'classes': ['horse']}, r'index\.csv, line \d+: label .cat., which is none of the classes'),
  ],
)  # fmt: skip
def test_a_prepared_json_of_a_stranger_is_one_line(prepared, tmp_path, change, reason):
  out = changed(prepared, tmp_path / 'out', 'prepared.json', about_with(prepared, change))
  with pytest.raises(ValueError, match=reason) as e:
    ArrayRecords(out, 6, 16, 'test')
  assert '\n' not in str(e.value) and str(e.value).startswith(str(out)), str(e.value)


@pytest.mark.parametrize(
  'content', [b'', b'{', b'\xff\xfe', b'[' * 10**5, b'[]', b'3', b'{"a": NaN}']
)
@pytest.mark.parametrize('name', ['prepared.json', 'plan.json'])
def test_no_json(prepared, clips_folder, tmp_path, content, name, capsys):
  out = changed(prepared, tmp_path / 'out', name, content)
  assert prepare.main(arguments(clips_folder, out)) == 1
  error = capsys.readouterr().err
  assert error.count('\n') == 1 and error.startswith(f'prepare: {out}')
  if name == 'prepared.json':
    with pytest.raises(ValueError, match=r'not JSON|prepared as version None') as e:
      ArrayRecords(out, 6, 16, 'train')
    assert '\n' not in str(e.value)


def test_rows_of_a_shard_that_are_none(prepared, clips_folder, tmp_path, capsys):
  """Left by a run that was stopped, and damaged since."""
  shard = next(prepared.glob('train-00000*'))
  for k, content in enumerate((b'', b'{}', b'[3]', b'[{}]')):
    out = changed(prepared, tmp_path / str(k), f'{shard.name}.json', content)
    (out / 'prepared.json').unlink()
    assert prepare.main(arguments(clips_folder, out)) == 1
    error = capsys.readouterr().err
    last = error.splitlines()[-1]  # after the progress bar
    assert last.startswith(f'prepare: {out}/{shard.name}.json: not ') and 'Traceback' not in error
    assert last.endswith('; remove it, and the shard is made anew')


def test_json_of_absurd_size_is_refused_unread(prepared, tmp_path):
  out = changed(prepared, tmp_path / 'out', 'prepared.json', b'{')
  with (out / 'prepared.json').open('r+b') as file:
    file.truncate(2**40)  # sparse
  with pytest.raises(ValueError, match=r'prepared\.json: 1099511627776 bytes, more than'):
    ArrayRecords(out, 6, 16, 'train')


@pytest.mark.parametrize(
  ('content', 'reason'),
  [
    (b'', 'index.csv: no columns named split and label'),
    (b'split,id\ntrain,0\n', 'index.csv: no columns named split and label'),
    (b'split,label\ntrain\n', 'index.csv, line 2: label None'),
    (b'split,label\ntrain,cat\n', '1 in index.csv'),
    (b'split,label\n' + b'train,cat\n' * 1000, '1000 in index.csv'),
    (b'split,label\ntrain,' + b'x' * 10**6, 'index.csv, line 2: not a CSV'),
    (b'split,label\ntrain,"' + b'x\n' * 10**6, 'not a CSV'),
    (b'split,label\ntrain,c\0at\n', 'label'),
  ],
)
def test_an_index_of_a_stranger_is_one_line(prepared, tmp_path, content, reason):
  out = changed(prepared, tmp_path / 'out', 'index.csv', content)
  with pytest.raises(ValueError, match=reason) as e:
    ArrayRecords(out, 6, 16, 'train')
  assert '\n' not in str(e.value) and len(str(e.value)) < 400
  (out / 'index.csv').unlink()
  with pytest.raises(FileNotFoundError, match=r'index\.csv: missing'):
    ArrayRecords(out, 6, 16, 'train')


def test_shards_that_are_none(prepared, tmp_path):
  name = next(prepared.glob('train-00000*')).name
  whole = (prepared / name).read_bytes()
  for k, content in enumerate(
    (b'', b'hello' * 99, bytes(2**17), whole[:-5], whole[: len(whole) // 2])
  ):
    out = changed(prepared, tmp_path / str(k), name, content)
    with pytest.raises(ValueError, match=f'a shard of {name}.* is damaged') as e:
      ArrayRecords(out, 6, 16, 'train')
    assert '\n' not in str(e.value)


def test_records_of_another_size_are_bad_clips(prepared, tmp_path):
  """The shape in prepared.json was changed: no clip is made of bytes that do not fit it."""
  content = about_with(prepared, {'shape': [7, 16, 16, 3]})
  out = changed(prepared, tmp_path / 'out', 'prepared.json', content)
  with pytest.raises(BadClip, match=r'clip 0 of the train split is damaged \(4608 bytes, 5376'):
    ArrayRecords(out, 7, 16, 'train')[0]
