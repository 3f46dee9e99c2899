"""Splits, classes, groups, lists and litter: what a folder is taken for, and that it is told."""

import os
import pathlib
import time
import zipfile

import numpy as np
import pytest
from PIL import Image

from hgdt_jax import clip_sources, config
from input_pipeline import images, probes, splits, video_files
from input_pipeline.census import of_sources as census_of
from input_pipeline.discovery import Entry
from input_pipeline.folder import Folder


@pytest.fixture
def put(tmp_path, clips):
  """Puts tiny clips at these places under the test's folder."""
  np.save(tmp_path / 'a.npy', clips.numbered(6, 16, 16))
  content = (tmp_path / 'a.npy').read_bytes()
  (tmp_path / 'a.npy').unlink()

  def at(*names):
    for name in names:
      (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
      (tmp_path / name).write_bytes(content)
    return tmp_path

  return at


@pytest.fixture
def frames(clips):
  """Writes numbered frames as images of these names."""

  def write(folder, names):
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in zip(names, clips.numbered(len(names), 16, 16)):
      Image.fromarray(frame).save(folder / name)

  return write


def both(root, **options):
  return {split: Folder(root, 4, 16, split, windows=1, **options) for split in splits.SPLITS}


def names(source):
  return [entry.name for entry, _ in source._files]


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
def test_folders_named_after_splits(put, train, test):
  root = put(f'{train}/cat/0.npy', f'{train}/dog/1.npy', f'{test}/cat/2.npy', f'{test}/dog/3.npy')
  found = both(root)
  assert names(found['train']) == [f'{train}/cat/0.npy', f'{train}/dog/1.npy']
  assert names(found['test']) == [f'{test}/cat/2.npy', f'{test}/dog/3.npy']
  assert found['train'].classes == found['test'].classes == ('cat', 'dog')
  rule = census_of(found.values()).record['split_rule']
  assert rule == f'held out: {test.split("/")[-1]}/; for training: {train.split("/")[-1]}/'


def test_splits_within_classes(put):
  found = both(put('cat/train/0.npy', 'cat/val/1.npy', 'dog/train/2.npy', 'dog/val/3.npy'))
  assert names(found['train']) == ['cat/train/0.npy', 'dog/train/2.npy']
  assert found['test'].classes == ('cat', 'dog')


def test_of_val_and_test_it_is_said_which_is_held_out(put):
  found = both(put('train/0.npy', 'val/1.npy', 'val/2.npy', 'test/3.npy', 'extra/4.npy'))
  assert names(found['train']) == ['train/0.npy'] and names(found['test']) == ['test/3.npy']
  told = census_of(found.values()).record
  assert told['set_aside'] == {
    'outside of the folders of splits': 1,
    'in val/, as test is held out': 2,
  }


def test_what_lies_outside_of_val_is_for_training(put):
  found = both(put('0.npy', '1.npy', 'val/2.npy'))
  assert names(found['train']) == ['0.npy', '1.npy'] and names(found['test']) == ['val/2.npy']


@pytest.mark.parametrize('name', ['train', 'crash_test', 'training dog', 'contest'])
def test_classes_that_sound_like_splits(put, name):
  """A class of trains among buses, and one of crash tests."""
  root = put(*(f'{folder}/{k}.npy' for folder in (name, 'bus') for k in range(4)))
  found = both(root, test_share=0.4)
  assert set(found['train'].classes) == {name, 'bus'}
  assert len(found['train']) + len(found['test']) == 8
  assert census_of(found.values()).record['split_rule'].startswith('drawn')


def test_a_folder_around_the_classes_is_none(put):
  found = both(put('UCF-101/a/0.npy', 'UCF-101/a/1.npy', 'UCF-101/b/2.npy', 'UCF-101/b/3.npy'))
  assert found['train'].classes == ('a', 'b')


def test_classes_that_differ_by_case_only_are_told(put):
  found = both(put('Cat/0.npy', 'Cat/1.npy', 'cat/2.npy', 'dog/3.npy'))
  assert census_of(found.values()).record['class_rule'] == 'Cat and cat differ by case only'


def test_clips_beside_folders_make_no_classes(put):
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
      'IMG_0001.MOV', 'VID_20240101_120000.mp4', 'clip_1.mp4', '0.npy', 'frame12', 'daria_walk',
      'GH010034.MP4', 'PXL_20230101_101010123.mp4', 'walk001.mp4',
    )),
  ],
)  # fmt: skip
def test_the_video_that_a_clip_was_cut_from(name, video):
  assert splits.video_of(Entry(pathlib.Path(name), name)) == video


@pytest.mark.parametrize('cut', ['{}_c{:02d}', '{}_{}', '{}-{:04d}', '{}_{:06d}_000099'])
def test_clips_of_one_video_are_on_one_side(put, cut):
  root = put(*(cut.format(f'film{v}', c) + '.npy' for v in range(9) for c in range(1, 4)))
  for seed in range(4):
    found = both(root, test_share=0.4, split_seed=seed)
    train, test = ({name[:5] for name in names(source)} for source in found.values())
    assert train and test and not train & test
  told = census_of(found.values()).record
  assert told['groups'] == 9 and told['group_rule'] == 'clips cut from one video, by their names'


def test_a_whole_video_is_on_the_side_of_its_cuts(put):
  root = put(*(f'film{v}{c}.npy' for v in range(6) for c in ('', ' (1)', ' - Copy')))
  for seed in range(4):
    train, test = (
      {n[:5] for n in names(s)} for s in both(root, test_share=0.4, split_seed=seed).values()
    )
    assert not train & test


@pytest.mark.parametrize('name', ['IMG_{:04d}.npy', 'walk_{}.npy', 'run/run_{}.npy'])
def test_numbered_clips_are_not_of_one_video(put, name):
  root = put(*(name.format(k) for k in range(9)), 'other/other_1.npy', 'other/other_2.npy')
  sizes = [len(source) for source in both(root, test_share=0.3).values()]
  assert sum(sizes) == 11 and min(sizes) > 1


def test_folders_that_are_ids_are_groups_and_no_classes(put, tiny):
  root = put(*(f'vid{v}/vid{v}_{c}.npy' for v in range(12) for c in range(3)))
  found = both(root)
  assert not {n.split('/')[0] for n in names(found['train'])} & {
    n.split('/')[0] for n in names(found['test'])
  }
  asked = lambda classes: config.dataclasses.replace(
    tiny, data=config.dataclasses.replace(tiny.data, classes=classes)
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


def test_litter_is_left_out_and_counted(put, frames):
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


def test_masks_beside_frames_and_beside_clips(tmp_path, frames, put):
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


def test_masks_that_are_all_there_is_are_clips(put):
  assert sum(map(len, both(put('masks/0.npy', 'masks/1.npy', 'hats/8.npy')).values())) == 3


def test_tif_and_ppm_frames(tmp_path, frames, clips):
  for ending in ('tif', 'tiff', 'ppm', 'bmp'):
    frames(tmp_path / ending, [f'{k}.{ending}' for k in range(6)])
    video = video_files.read(tmp_path / ending, range(6))
    assert [clips.number_of(frame) for frame in video] == list(range(6))
  Image.fromarray(np.ones((8, 8), np.float32)).save(tmp_path / 'f.tif')
  with pytest.raises(video_files.BadClip, match='floating-point'):
    video_files.probe(tmp_path / 'f.tif')


@pytest.mark.parametrize('ending', ['webp', 'apng', 'png'])
def test_moving_pictures_are_clips(tmp_path, clips, ending):
  """Not the frames of one, though their endings are those of images."""
  frames = [Image.fromarray(frame) for frame in clips.numbered(7, 16, 16)]
  (tmp_path / 'cats').mkdir()
  for k in range(2):
    frames[0].save(
      tmp_path / 'cats' / f'{k}.{ending}', format='WEBP' if ending == 'webp' else 'PNG',
      save_all=True, append_images=frames[1:], duration=[40, 80, 40, 40, 40, 40, 40],
      **({'lossless': True} if ending == 'webp' else {}),
    )  # fmt: skip
  source = Folder(tmp_path, 4, 16, 'train', test_share=0, windows=1)
  assert names(source) == [f'cats/0.{ending}', f'cats/1.{ending}']
  info = source._files[0][1]
  assert info.frames == 7 and info.stamps.tolist() == [0, 40, 120, 160, 200, 240, 280]
  assert info.fps == pytest.approx(7 / 0.32)
  assert [clips.number_of(frame) for frame in source[0]['video']] == [1, 2, 3, 4]


def test_a_tif_of_many_pages_is_a_clip(tmp_path, clips):
  """As microscopes write them; by its first page alone it would be an image."""
  pages = [Image.fromarray(frame) for frame in clips.numbered(9, 16, 16)]
  (tmp_path / 'cells').mkdir()
  for k in range(2):
    pages[0].save(tmp_path / 'cells' / f'{k}.tif', save_all=True, append_images=pages[1:])
  source = Folder(tmp_path, 9, 16, 'train', test_share=0)
  assert names(source) == ['cells/0.tif', 'cells/1.tif']
  assert [clips.number_of(frame) for frame in source[1]['video']] == list(range(9))


def zipped(path, video, *names):
  with zipfile.ZipFile(path, 'w') as archive:
    for name in names:
      for k, frame in enumerate(video):
        with archive.open(f'{name}/{k}.png', 'w') as file:
          Image.fromarray(frame).save(file, format='PNG')
    archive.writestr('__MACOSX/._x', 'x')
    archive.writestr('list.json', '{}')
  return path


def test_a_zip_of_folders_of_frames_is_read_in_place(tmp_path, clips):
  path = zipped(tmp_path / 'set.zip', clips.numbered(12, 16, 16), 'cat/0', 'cat/1', 'dog/2')
  source = Folder(path, 12, 16, 'train', test_share=0)
  assert names(source) == ['cat/0', 'cat/1', 'dog/2'] and source.classes == ('cat', 'dog')
  assert [clips.number_of(frame) for frame in source[2]['video']] == list(range(12))
  told = source.census.record
  assert told['endings'] == {'in .zip': 3} and told['passed_over'] == {'.json in a zip': 1}
  (tmp_path / 'broken.zip').write_bytes(b'PK no zip')
  among = Folder(tmp_path, 4, 16, 'train', test_share=0)
  assert names(among)[0] == 'set.zip/cat/0'
  assert [n for reason, n in among.census.record['set_aside'].items() if 'broken.zip' in reason]


def test_zips_are_splits_and_classes_as_folders_are(tmp_path, clips):
  video = clips.numbered(6, 16, 16)
  for name in ('ffs_train', 'ffs_test'):
    zipped(tmp_path / f'{name}.zip', video, 'cat/a', 'dog/b')
  found = both(tmp_path)
  assert names(found['test']) == ['ffs_test.zip/cat/a', 'ffs_test.zip/dog/b']
  assert found['train'].classes == ('cat', 'dog')
  for path in tmp_path.iterdir():
    path.rename(path.with_stem(path.stem.removeprefix('ffs_t')))
  assert both(tmp_path)['train'].classes == ('est', 'rain')


def test_stacks_of_clips_are_read_in_the_order_that_is_said(tmp_path, clips):
  """Moving MNIST's [T, N, H, W]."""
  one = clips.numbered(20, 16, 16)[..., 0]
  np.save(tmp_path / 'mnist_test_seq.npy', np.stack([one[k : k + 6] for k in range(5)], axis=1))
  with pytest.raises(ValueError, match='npy_order=TNHW'):
    Folder(tmp_path, 4, 16, 'train', test_share=0)
  source = Folder(tmp_path, 6, 16, 'train', test_share=0, npy_order='TNHW')
  assert names(source) == [f'mnist_test_seq.npy/{k}' for k in range(5)]
  assert [clips.number_of(frame) for frame in source[3]['video']] == list(range(3, 9))
  bad = Folder(tmp_path, 4, 16, 'train', test_share=0, npy_order='NTHW')
  assert len(bad) and bad._files[0][1].frames == 5, 'as told, if not as meant'


UCF = [f'{c}/v_{c}_g{g:02d}_c01' for c in ('Archery', 'Bowling') for g in range(1, 5)]


@pytest.mark.parametrize('given', ['trainlist01.txt', 'testlist01.txt'])
def test_the_lists_of_ucf101(put, given):
  root = put(*(f'{name}.npy' for name in UCF))  # converted: the lists have avi
  lists = {
    'trainlist01.txt': [f'{name}.avi {1 + ("Bowl" in name)}' for name in UCF if 'g01' not in name],
    'testlist01.txt': [f'{name}.avi' for name in (*UCF, 'Archery/v_gone') if 'g01' in name],
  }
  for name, lines in lists.items():
    (root / name).write_text('\r\n'.join(lines) + '\n')
  found = both(root, labels=root / given)
  assert names(found['test']) == ['Archery/v_Archery_g01_c01.npy', 'Bowling/v_Bowling_g01_c01.npy']
  assert len(found['train']) == 6 and found['train'].classes == ('Archery', 'Bowling')


def test_the_csv_of_kinetics(put):
  root = put('x/abc_000001_000011.npy', 'y/d_f-_000002_000012.npy', 'z/ghi.npy', 'z/extra.npy')
  (root / 'k.csv').write_text(
    'label,youtube_id,time_start,time_end,split,is_cc\n'
    'archery,abc,1,11,train,0\nbowling,d_f-,2,12,validate,0\narchery,ghi,3,13,train,0\n'
    'archery,gone,4,14,train,0\narchery,other,4,14,test,0\n'
  )
  found = both(root, labels=root / 'k.csv')
  assert names(found['train']) == ['x/abc_000001_000011.npy', 'z/ghi.npy']
  assert names(found['test']) == ['y/d_f-_000002_000012.npy'], 'no clip of test is there'
  told = census_of(found.values()).record
  assert told['classes'] == {'archery': 2, 'bowling': 1}
  assert told['set_aside'] == {'named in k.csv and not there': 2, 'not named in k.csv': 1}
  (root / 'k.csv').write_text('label,youtube_id,time_start,time_end,split\nx,abc,one,2,train\n')
  with pytest.raises(ValueError, match=r"k\.csv, line 2: 'one' to '2', want seconds"):
    both(root, labels=root / 'k.csv')


@pytest.mark.parametrize(
  ('head', 'says'),
  [
    ('path,Split', "column 'Split', want 'split'"),
    ('path, split', "column ' split', want 'split'"),
    ('Path,split', "column 'Path', want 'path'"),
    ('path,set', "column 'set' is none of path, label, split, group; remove it"),
    ('path;split', "columns separated by ';', want commas"),
    ('path\tsplit', 'columns separated by'),
    ('path,split,split', 'a column stands there twice'),
  ],
)
def test_columns_that_are_not_quite_right(put, head, says):
  root = put('a.npy', 'b.npy')
  (root / 'c.csv').write_text(f'{head}\na.npy,train\nb.npy,test\n')
  with pytest.raises(ValueError, match=r'c\.csv: ') as e:
    both(root, labels=root / 'c.csv')
  assert says in str(e.value) and '\n' not in str(e.value)


@pytest.mark.parametrize(
  ('rows', 'says'),
  [
    ('a.npy,x,train\nb.npy,x,train\n./a.npy,x,test', 'line 4: a.npy stands in line 2 too'),
    ('a.npy,x,train\nb.npy,,test', 'line 3: b.npy has no label, as others have'),
  ],
)
def test_rows_that_say_two_things_or_nothing(put, rows, says):
  root = put('a.npy', 'b.npy')
  (root / 'c.csv').write_text(f'path,label,split\n{rows}\n')
  with pytest.raises(ValueError, match=f'c.csv, {says}'):
    both(root, labels=root / 'c.csv')


def test_labels_that_differ_by_case_or_blanks_only(put):
  root = put('a.npy', 'b.npy')
  (root / 'c.csv').write_text('path,label\na.npy,Archery\nb.npy, archery\n')
  with pytest.raises(ValueError, match="labels ' archery' and 'Archery' differ by case or blanks"):
    both(root, labels=root / 'c.csv')


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16', 'utf-16-le'])
def test_encodings_of_a_list(put, encoding):
  """Excel's and PowerShell's; without its mark, UTF-16 is told."""
  root = put('über/a.npy', 'über/b.npy')
  text = 'path,label,split\r\nüber\\a.npy,é,train\r\nüber/b.npy,é,test\r\n'
  (root / 'c.csv').write_bytes(text.encode(encoding))
  if encoding == 'utf-16-le':
    with pytest.raises(ValueError, match=r'c\.csv: zeros in it, as in UTF-16 without a mark'):
      both(root, labels=root / 'c.csv')
    return
  found = both(root, labels=root / 'c.csv')
  assert names(found['train']) == ['über/a.npy'] and names(found['test']) == ['über/b.npy']
  assert found['train'].classes == ('é',)


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


def aged(path):
  """As if it had not been changed for an hour."""
  os.utime(path, (time.time() - 3600,) * 2)
  return path


def test_what_was_looked_at_is_kept_between_runs(tmp_path, clips, monkeypatch):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  monkeypatch.setattr(probes, '_WORTH_KEEPING', 0)
  (tmp_path / 'set').mkdir()
  for name, count in (('a.mp4', 20), ('b.mkv', 12)):
    aged(clips.write(tmp_path / 'set' / name, clips.numbered(count)))
  opened = []
  probe = video_files.probe
  monkeypatch.setattr(video_files, 'probe', lambda path: opened.append(path.name) or probe(path))
  look = lambda: Folder(tmp_path / 'set', 4, 16, 'train', test_share=0)
  first = look()
  assert sorted(opened) == ['a.mp4', 'b.mkv']
  again = look()
  assert len(opened) == 2 and again.fingerprint == first.fingerprint
  for (_, one), (_, two) in zip(first._files, again._files):
    assert one == two and np.array_equal(one.stamps, two.stamps)
  aged(clips.write(tmp_path / 'set' / 'a.mp4', clips.numbered(30)))
  assert look()._files[0][1].frames == 30 and len(opened) == 3
  (tmp_path / 'cache' / 'hgdt_jax' / 'probes.sqlite').write_bytes(b'no table at all' * 999)
  assert look().fingerprint and len(opened) == 5, 'a cache that is damaged is none'


def test_a_folder_of_frames_is_listed_once(tmp_path, frames, clips, monkeypatch):
  frames(tmp_path / 'v', [f'{k}.png' for k in range(12)])
  aged(tmp_path / 'v')
  source = Folder(tmp_path, 4, 16, 'train', test_share=0, cache_bytes=0)
  listed, scan = [], os.scandir
  monkeypatch.setattr(os, 'scandir', lambda path: listed.append(path) or scan(path))
  for i in range(len(source)):
    source[i]
  assert not listed
  frames(tmp_path / 'v', [f'{k}.png' for k in range(13)])
  assert video_files.probe(tmp_path / 'v').frames == 13


@pytest.mark.parametrize(('patience', 'said'), [(0, True), (5, False)])
def test_looking_at_many_files_shows_how_far_it_is(put, monkeypatch, capfd, patience, said):
  monkeypatch.setattr(probes, '_PATIENCE', patience)
  Folder(put('a.npy', 'b.npy'), 4, 16, 'train', test_share=0)
  assert ('looking at files' in capfd.readouterr().err) == said
