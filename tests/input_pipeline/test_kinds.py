"""Clips that are no video file: moving pictures, frames, zips and stacks."""

import zipfile

import numpy as np
import pytest
from PIL import Image

from input_pipeline import video_files
from input_pipeline.folder import Folder


def test_tif_and_ppm_frames(tmp_path, frames, clips):
  for ending in ('tif', 'tiff', 'ppm', 'bmp'):
    frames(tmp_path / ending, [f'{k}.{ending}' for k in range(6)])
    video = video_files.read(tmp_path / ending, range(6))
    assert [clips.number_of(frame) for frame in video] == list(range(6))
  Image.fromarray(np.ones((8, 8), np.float32)).save(tmp_path / 'f.tif')
  with pytest.raises(video_files.BadClip, match='floating-point'):
    video_files.probe(tmp_path / 'f.tif')


@pytest.mark.parametrize('ending', ['webp', 'apng', 'png'])
def test_moving_pictures_are_clips(tmp_path, clips, ending, names):
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


def test_a_tif_of_many_pages_is_a_clip(tmp_path, clips, names):
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


def test_a_zip_of_folders_of_frames_is_read_in_place(tmp_path, clips, names):
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


def test_zips_are_splits_and_classes_as_folders_are(tmp_path, clips, both, names):
  video = clips.numbered(6, 16, 16)
  for name in ('ffs_train', 'ffs_test'):
    zipped(tmp_path / f'{name}.zip', video, 'cat/a', 'dog/b')
  found = both(tmp_path)
  assert names(found['test']) == ['ffs_test.zip/cat/a', 'ffs_test.zip/dog/b']
  assert found['train'].classes == ('cat', 'dog')
  for path in tmp_path.iterdir():
    path.rename(path.with_stem(path.stem.removeprefix('ffs_t')))
  assert both(tmp_path)['train'].classes == ('est', 'rain')


def test_stacks_of_clips_are_read_in_the_order_that_is_said(tmp_path, clips, names):
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
