"""Looking at many files: kept between runs, listed once, with a word where it takes long."""

import os
import time

import numpy as np
import pytest

from input_pipeline import probes, video_files
from input_pipeline.folder import Folder


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
    assert one == two and np.array_equal(one.stamps, two.stamps) and one.codec == two.codec
  assert [info.codec for _, info in again._files] == ['h264 yuv420p', 'ffv1 bgr0']
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
