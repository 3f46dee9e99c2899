"""Splits, classes, groups and litter: what a folder is taken for, and that it is told."""

import dataclasses
import os
import pathlib

import pytest

from hgdt_jax import clip_sources
from input_pipeline import images, splits
from input_pipeline.census import of_sources as census_of
from input_pipeline.discovery import Entry
from input_pipeline.folder import Folder


@pytest.mark.parametrize(
  ('train', 'test'),
  [
    ('train', 'val'),
    ('Train', 'TEST'),
    ('training', 'validation'),
    ('sky_train', 'sky_test'),
    ('train2017', 'val2017'),
    ('trainset', 'testset'),
    ('set/train', 'set/valid'),
  ],
)
def test_folders_named_after_splits(put, train, test, both, names):
  root = put(f'{train}/cat/0.npy', f'{train}/dog/1.npy', f'{test}/cat/2.npy', f'{test}/dog/3.npy')
  found = both(root)
  assert names(found['train']) == [f'{train}/cat/0.npy', f'{train}/dog/1.npy']
  assert names(found['test']) == [f'{test}/cat/2.npy', f'{test}/dog/3.npy']
  assert found['train'].classes == found['test'].classes == ('cat', 'dog')
  rule = census_of(found.values()).record['split_rule']
  assert rule == f'held out: {test.split("/")[-1]}/; for training: {train.split("/")[-1]}/'


def test_splits_within_classes(put, both, names):
  found = both(put('cat/train/0.npy', 'cat/val/1.npy', 'dog/train/2.npy', 'dog/val/3.npy'))
  assert names(found['train']) == ['cat/train/0.npy', 'dog/train/2.npy']
  assert found['test'].classes == ('cat', 'dog')


def test_of_val_and_test_it_is_said_which_is_held_out(put, both, names):
  found = both(put('train/0.npy', 'val/1.npy', 'val/2.npy', 'test/3.npy', 'extra/4.npy'))
  assert names(found['train']) == ['train/0.npy'] and names(found['test']) == ['test/3.npy']
  told = census_of(found.values()).record
  assert told['set_aside'] == {
    'outside of the folders of splits': 1,
    'in val/, as test is held out': 2,
  }


def test_what_lies_outside_of_val_is_for_training(put, both, names):
  found = both(put('0.npy', '1.npy', 'val/2.npy'))
  assert names(found['train']) == ['0.npy', '1.npy'] and names(found['test']) == ['val/2.npy']


@pytest.mark.parametrize('name', ['train', 'crash_test', 'training dog', 'contest'])
def test_classes_that_sound_like_splits(put, name, both):
  """A class of trains among buses, and one of crash tests."""
  root = put(*(f'{folder}/{k}.npy' for folder in (name, 'bus') for k in range(4)))
  found = both(root, test_share=0.4)
  assert set(found['train'].classes) == {name, 'bus'}
  assert len(found['train']) + len(found['test']) == 8
  assert census_of(found.values()).record['split_rule'].startswith('drawn')


def test_a_folder_around_the_classes_is_none(put, both):
  found = both(put('UCF-101/a/0.npy', 'UCF-101/a/1.npy', 'UCF-101/b/2.npy', 'UCF-101/b/3.npy'))
  assert found['train'].classes == ('a', 'b')


def test_classes_that_differ_by_case_only_are_told(put, both):
  found = both(put('Cat/0.npy', 'Cat/1.npy', 'cat/2.npy', 'dog/3.npy'))
  assert census_of(found.values()).record['class_rule'] == 'Cat and cat differ by case only'


def test_clips_beside_folders_make_no_classes(put, both):
  found = both(put('0.npy', '1.npy', 'more/2.npy', 'more/3.npy'))
  assert found['train'].classes == ('',)
  assert census_of(found.values()).record['class_rule'] == (
    'none, as 2 clips lie outside of the folders'
  )


@pytest.mark.parametrize(
  ('name', 'video'),
  [
    ('v_Archery_g01_c02.avi', 'v_Archery_g01'),
    ('08ug3bzhV8Y_1', '08ug3bzhV8Y'),
    ('movie1-0003.mp4', 'movie1'),
    ('holiday-Scene-012.mp4', 'holiday'),
    ('-abc_12xyz-_000010_000020.mp4', '-abc_12xyz-'),
    ('IMG_0001 (2).MOV', 'IMG_0001'),
    ('a/walk_01.mp4', 'a/walk'),
    ('film3 - Copy.mp4', 'film3'),
    ('film3 - Copy (2).mp4', 'film3'),
    *((name, '') for name in (
      'a/daria.mp4', 'IMG_0001.MOV', 'VID_20240101_120000.mp4', 'clip_1.mp4', '0.npy', 'frame12',
      'daria_walk', 'GH010034.MP4', 'PXL_20230101_101010123.mp4', 'walk001.mp4',
    )),
  ],
)  # fmt: skip
def test_the_video_that_a_clip_was_cut_from(name, video):
  assert splits.video_of(Entry(pathlib.Path(name), name)) == video


@pytest.mark.parametrize('cut', ['{}_c{:02d}', '{}_{}', '{}-{:04d}', '{}_{:06d}_000099'])
def test_clips_of_one_video_are_on_one_side(put, cut, both, names):
  root = put(*(cut.format(f'film{v}', c) + '.npy' for v in range(9) for c in range(1, 4)))
  for seed in range(4):
    found = both(root, test_share=0.4, split_seed=seed)
    train, test = ({name[:5] for name in names(source)} for source in found.values())
    assert train and test and not train & test
  told = census_of(found.values()).record
  assert told['groups'] == 9 and told['group_rule'] == 'clips cut from one video, by their names'


def test_a_whole_video_is_on_the_side_of_its_cuts(put, both, names):
  root = put(*(f'film{v}{c}.npy' for v in range(6) for c in ('', ' (1)', ' - Copy')))
  for seed in range(4):
    train, test = (
      {n[:5] for n in names(s)} for s in both(root, test_share=0.4, split_seed=seed).values()
    )
    assert not train & test


@pytest.mark.parametrize('name', ['IMG_{:04d}.npy', 'walk_{}.npy', 'run/run_{}.npy'])
def test_numbered_clips_are_not_of_one_video(put, name, both):
  root = put(*(name.format(k) for k in range(9)), 'other/other_1.npy', 'other/other_2.npy')
  sizes = [len(source) for source in both(root, test_share=0.3).values()]
  assert sum(sizes) == 11 and min(sizes) > 1


def test_folders_that_are_ids_are_groups_and_no_classes(put, tiny, both, names):
  root = put(*(f'vid{v}/vid{v}_{c}.npy' for v in range(12) for c in range(3)))
  found = both(root)
  assert not {n.split('/')[0] for n in names(found['train'])} & {
    n.split('/')[0] for n in names(found['test'])
  }
  asked = lambda classes: dataclasses.replace(
    tiny, data=dataclasses.replace(tiny.data, classes=classes)
  )
  assert clip_sources.with_classes(asked(-1), found['train']).data.classes == 0
  assert clip_sources.with_classes(asked(12), found['train']).data.classes == 12
  told = census_of(found.values())
  assert told.record['classes_are_ids'] and 'not conditioned on' in str(told)


def test_labels_of_a_list_are_told_however_many(put):
  root = put(*(f'person{k}/{k}.npy' for k in range(12)))
  assert Folder(root, 4, 16, 'train', windows=1).are_ids
  lines = [f'person{k}/{k}.npy,name{k}' for k in range(12)]
  (root / 'c.csv').write_text('\n'.join(['path,label', *lines]))
  source = Folder(root, 4, 16, 'train', labels=root / 'c.csv', windows=1)
  assert len(source.classes) == 12 and not source.are_ids


def test_litter_is_left_out_and_counted(put, frames, both):
  root = put(*(f'{k}.npy' for k in range(4)), '.hidden.npy', '@eaDir/0.npy', 'lost+found/x.npy')
  put('$RECYCLE.BIN/1.npy', '__MACOSX/._0.npy', '__MACOSX/a/b.npy', 'notes.txt', 'README', 'b.txt')
  frames(root / 'thumbnails', ['0.jpg', '1.jpg'])
  frames(root, ['poster.jpg'])
  told = census_of(both(root).values()).record
  assert told['files'] == 4
  assert told['passed_over'] == {'.txt': 2, 'hidden': 1, 'without ending': 1, '.jpg': 1}
  assert told['set_aside'] == {
    'in @eaDir': 1, 'in lost+found': 1, 'in $RECYCLE.BIN': 1, 'in __MACOSX': 2,
    'in folders of thumbnails': 2,
  }  # fmt: skip


def test_masks_beside_frames_and_beside_clips(tmp_path, frames, put, both):
  for name in ('v1', 'v2'):
    frames(tmp_path / 'JPEGImages' / name, [f'{k:02d}.jpg' for k in range(6)])
    frames(tmp_path / 'Annotations' / name, [f'{k:02d}.png' for k in range(6)])
  frames(tmp_path / 'JPEGImages' / 'v1', [f'{k:02d}_mask.png' for k in range(6)])
  frames(tmp_path / 'JPEGImages' / 'v2', [f'{k:02d}.png' for k in range(5)])
  found = both(tmp_path)
  told = census_of(found.values()).record
  assert (told['files'], told['frames']) == (2, [6, 6])
  assert told['set_aside'] == {
    'masks and copies beside frames': 11,
    'in folders of masks named Annotations, beside their clips': 2,
  }
  assert images.in_order(['1.jpg', '1.png', '2.png', '2.jpg']) == ['1.jpg', '2.jpg']


def test_masks_that_are_all_there_is_are_clips(put, both):
  assert sum(map(len, both(put('masks/0.npy', 'masks/1.npy', 'hats/8.npy')).values())) == 3


def test_a_home_is_expanded_and_an_address_is_none(put, monkeypatch):
  monkeypatch.setenv('HOME', str(put('clips/a.npy')))
  assert len(Folder('~/clips', 4, 16, 'train', test_share=0, windows=1)) == 1
  for path, says in {
    's3://bucket/clips': 's3://bucket/clips: an address is no folder',
    '~/clips/a.npy': 'a.npy: not a folder; give the one that it is in',
  }.items():
    with pytest.raises(FileNotFoundError, match=says):
      Folder(path, 4, 16, 'train')


def test_a_folder_that_cannot_be_read_is_told(put, monkeypatch):
  root, scan = put('a.npy', 'closed/b.npy'), os.scandir

  def scandir(path):
    if str(path).endswith('closed'):
      raise PermissionError(13, 'Permission denied', str(path))
    return scan(path)

  monkeypatch.setattr(os, 'scandir', scandir)
  source = Folder(root, 4, 16, 'train', test_share=0, windows=1)
  (reason,) = source.census.record['set_aside']
  assert reason == f'folder that cannot be read: {root}/closed (Permission denied)'
