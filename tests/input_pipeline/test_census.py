"""What a folder was taken for: the same numbers by every verb that reads it."""

import dataclasses
import json
import re
import zipfile

import numpy as np
import pytest
from PIL import Image

from hgdt_jax import clip_sources, run, scoring, workdir
from hgdt_jax.clip_decoder import Cut
from hgdt_jax.clip_folders import Folders
from input_pipeline import prepare
from input_pipeline.arrayrecord import ArrayRecords


@pytest.fixture(scope='module')
def phone(tmp_path_factory, clips):
  """30 of a phone, 6 of another of which one is broken, and what else lies in such a folder."""
  root = tmp_path_factory.mktemp('clips') / 'phone'
  (root / 'val').mkdir(parents=True)
  (root / '@eaDir' / 'a.mp4').mkdir(parents=True)
  noise = np.random.default_rng(0).integers(0, 256, (9, 16, 16, 3), np.uint8)
  mov, mp4 = (clips.write(root / f'x{e}', noise, fps=r) for e, r in (('.mov', 30), ('.mp4', 25)))
  for k in range(30):
    (root / ('val' if k < 5 else '.') / f'IMG_{k:04d}.MOV').write_bytes(mov.read_bytes())
  for k in range(6):
    (root / f'VID_{k}.mp4').write_bytes(mp4.read_bytes()[: 400 if k == 3 else None])
  mov.unlink()
  mp4.unlink()
  (root / '@eaDir' / 'a.mp4' / 'SYNOVIDEO.jpg').write_bytes(b'x')
  (root / 'notes.txt').write_text('x')
  return root


EXPECTED = {
  'folder': 'phone',
  'files': 35,
  'clips': 35,
  'endings': {'.mov': 30, '.mp4': 5},
  'classes': {},
  'class_rule': '',
  'classes_are_ids': False,
  'groups': 35,
  'group_rule': 'each file by itself',
  'groups_on_both_sides': 0,
  'frames': [9, 9],
  'bits': 8,
  'fps': [25.0, 30.0],
  'passed_over': {'.txt': 1},
  'set_aside': {'in @eaDir': 1},
  'left_out': 1,
}
SPLITS = {
  'train': {'files': 30, 'clips': 30, 'groups': 30, 'left_out': 1},
  'test': {'files': 5, 'clips': 5, 'groups': 5, 'left_out': 0},
}


def check(record):
  record = dict(record)
  assert record.pop('splits') == SPLITS
  assert record.pop('split_rule').startswith(
    'held out: val/; for training: what lies outside of it'
  )
  ((left_out,)) = record.pop('left_out_files')
  assert left_out['file'] == 'VID_3.mp4' and 'recording or download' in left_out['reason']
  assert record == EXPECTED


def told(text):
  """The lines of a census but the two that differ: where it is, and what is done with it."""
  lines = [line for line in text.splitlines() if re.match(r'  [a-z ]{12} ', line)]
  return [line.removesuffix('; all are scored') for line in lines]


@pytest.fixture
def of_main(phone, tiny, tmp_path, capsys):
  """The record and the lines."""
  data = dict(source='folder', path=str(phone), frames=4, size=16, windows=1)
  cfg = dataclasses.replace(tiny, data=dataclasses.replace(tiny.data, **data))
  sources = {split: clip_sources.of(cfg, split, tmp_path) for split in ('train', 'test')}
  return clip_sources.census(sources), told(capsys.readouterr().out)


def test_all_verbs_say_the_same(phone, of_main, tmp_path, capsys):
  record, lines = of_main
  check(record)
  assert len(lines) == 8 and '35 of 36 used: 30 .mov, 5 .mp4' in lines[0]
  assert prepare.main(
    ['--source=folder', f'--path={phone}', f'--out={tmp_path}/out', '--size=16', '--frames=4',
     '--windows=1', '--workers=0']
  ) == 0  # fmt: skip
  assert told(capsys.readouterr().out) == lines
  check(json.loads((tmp_path / 'out' / 'prepared.json').read_text())['census'])
  for census in Folders(phone, phone, Cut(frames=4), 4).censuses:
    assert told(str(census)) == lines
    check(census.record)


class FirstCompilation(Exception):
  pass


def compiled(*args, **kwargs):
  raise FirstCompilation


def test_it_is_told_before_anything_is_measured(phone, tmp_path, monkeypatch):
  said = []
  with monkeypatch.context() as patch, pytest.raises(FirstCompilation):
    patch.setattr(scoring.score, 'score_sets', compiled)
    scoring.score_folders(phone, phone, ['motion_ratio'], Cut(frames=4), say=said.append)
  assert said[0].startswith('on ')
  assert [text.splitlines()[0] for text in said[1:]] == [f'{phone}: 35 clips'] * 2
  result = scoring.score_folders(phone, phone, ['motion_ratio'], Cut(frames=4))
  scoring.write_results(tmp_path / 'results.json', [], clips=result.clips)
  content = json.loads((tmp_path / 'results.json').read_text())
  for side in ('real', 'fake'):
    check(content['clips'][side])


@pytest.mark.long
def test_a_run_tells_it_before_it_compiles_and_keeps_it(
  phone, tiny_dict, tmp_path, monkeypatch, capsys
):
  tiny_dict['data'] |= dict(source='folder', path=str(phone), frames=4, size=16, windows=1)
  tiny_dict['evaluation'] |= dict(metrics=('psnr',), clips=5)

  monkeypatch.setattr(run.score, 'score_clips', compiled)
  with pytest.raises(FirstCompilation):
    run.main(tiny_dict, tmp_path / 'run')
  assert f'{phone}: 35 clips' in capsys.readouterr().out
  monkeypatch.undo()
  monkeypatch.setattr(run, '_train_stages', compiled)
  with pytest.raises(FirstCompilation):
    run.main(tiny_dict, tmp_path / 'run')
  check(json.loads((tmp_path / 'run' / 'config.json').read_text())['census'])
  cfg = workdir.read_config(tmp_path / 'run')
  workdir.write_config(cfg, tmp_path / 'run')  # as when tau is chosen
  check(json.loads((tmp_path / 'run' / 'config.json').read_text())['census'])


def test_a_prepared_set_tells_what_it_was_made_of(phone, tiny, tmp_path, capsys):
  assert prepare.main(
    ['--source=folder', f'--path={phone}', f'--out={tmp_path}/out', '--size=16', '--frames=4',
     '--windows=1', '--workers=0']
  ) == 0  # fmt: skip
  data = dict(source='arrayrecord', path=f'{tmp_path}/out', frames=4, size=16)
  cfg = dataclasses.replace(tiny, data=dataclasses.replace(tiny.data, **data))
  sources = {split: clip_sources.of(cfg, split, tmp_path) for split in ('train', 'test')}
  check(clip_sources.census(sources))
  assert 'prepared from the folder phone: 35 files, 35 clips; held out' in capsys.readouterr().out


def test_ids_stay_ids_when_they_are_prepared(tiny, tmp_path, clips):
  for k in range(12):
    (tmp_path / 'set' / f'person{k}').mkdir(parents=True)
    np.save(tmp_path / 'set' / f'person{k}' / 'a.npy', clips.numbered(4, 16, 16))
  arguments = [f'--path={tmp_path}/set', f'--out={tmp_path}/out', '--size=16', '--frames=4']
  assert prepare.main(['--source=folder', '--workers=0', *arguments]) == 0
  source = ArrayRecords(tmp_path / 'out', 4, 16, 'train')
  assert len(source.classes) == 12 and source.are_ids
  asked = lambda classes: dataclasses.replace(
    tiny, data=dataclasses.replace(tiny.data, classes=classes)
  )
  assert clip_sources.with_classes(asked(-1), source).data.classes == 0
  assert clip_sources.with_classes(asked(12), source).data.classes == 12


def test_clips_inside_files_are_scored_and_told_apart(tmp_path, clips):
  """Zips of frames and stacks of clips, by the bytes that they are made of."""
  video = clips.numbered(8, 16, 16)
  with zipfile.ZipFile(tmp_path / 'set.zip', 'w') as archive:
    for k, frame in enumerate(video):
      for name in ('a', 'b'):
        with archive.open(f'{name}/{k}.png', 'w') as file:
          Image.fromarray(frame).save(file, format='PNG')
  (tmp_path / 'stacks').mkdir()
  np.save(tmp_path / 'stacks' / 'x.npy', np.stack([video[..., 0]] * 2, axis=1))
  cut = Cut(frames=8, npy_order='TNHW')
  folders = Folders(tmp_path / 'set.zip', tmp_path / 'stacks', cut, 4)
  real, fake = (np.concatenate(list(side.batches())) for side in (folders.real, folders.fake))
  np.testing.assert_array_equal(real, np.stack([video] * 2))
  np.testing.assert_array_equal(fake, real)
  assert [one.record['endings'] for one in folders.censuses] == [{'in .zip': 2}, {'in .npy': 2}]
  before = folders.fake.fingerprint
  np.save(tmp_path / 'stacks' / 'x.npy', np.stack([video[..., 0] + 1] * 2, axis=1))
  assert Folders(tmp_path / 'set.zip', tmp_path / 'stacks', cut, 4).fake.fingerprint != before
