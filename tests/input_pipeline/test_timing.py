"""What sources say of their clips in time: it stands beside every score of them."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from input_pipeline import make_source, prepare

UNKNOWN = {'stride': None, 'fps': None}


@pytest.fixture(scope='module')
def videos(tmp_path_factory, clips):
  """Two files of 25 frames a second."""
  root = tmp_path_factory.mktemp('videos')
  for name in 'ab':
    clips.write(root / f'{name}.mkv', clips.numbered(20), fps=25)
  return root


def timing(source, path='', **options):
  return make_source(source, path=path, frames=4, size=16, split='train', **options).timing


def test_files_have_the_stride_and_the_rate_that_it_leaves(videos):
  assert timing('folder', videos) == {'stride': 1, 'fps': 25.0}
  assert timing('folder', videos, stride=2) == {'stride': 2, 'fps': 12.5}


def test_a_target_rate_is_the_rate_and_has_no_stride(videos):
  assert timing('folder', videos, fps=10.0) == {'stride': None, 'fps': 10.0}


def test_files_of_several_rates_give_the_lowest_and_the_highest(videos, tmp_path, clips):
  shutil.copytree(videos, tmp_path, dirs_exist_ok=True)
  clips.write(tmp_path / 'c.mkv', clips.numbered(20), fps=10)
  clips.write(tmp_path / 'd.mkv', clips.numbered(20), fps=20)
  np.save(tmp_path / 'e.npy', clips.numbered(20))  # without a clock
  assert timing('folder', tmp_path, test_share=0) == {'stride': 1, 'fps': [10.0, 25.0]}


def test_folders_of_frames_have_no_clock(tmp_path, clips):
  for take in ('take000', 'take001'):
    folder = tmp_path / 'subjects3' / '001' / 'anger' / take
    folder.mkdir(parents=True)
    for k, frame in enumerate(clips.numbered(12)):
      Image.fromarray(frame).save(folder / f'{k:03d}.png')
  for source in ('mug', 'folder'):
    assert timing(source, tmp_path, stride=3, test_share=0) == {'stride': 3, 'fps': None}


def test_synthetic_clips_are_consecutive_frames():
  assert timing('synthetic', count=4) == {'stride': 1, 'fps': None}


def test_a_prepared_set_is_what_it_was_prepared_from(videos, tmp_path):
  arguments = [f'--path={videos}', f'--out={tmp_path}', '--size=16', '--frames=4', '--stride=2']
  assert prepare.main(['--source=folder', '--workers=0', '--splits=train', *arguments]) == 0
  assert timing('arrayrecord', tmp_path) == {'stride': 2, 'fps': 12.5}
  # A set of a version that did not write it down is still read.
  about = json.loads((tmp_path / 'prepared.json').read_text())
  del about['splits']['train']['timing']
  (tmp_path / 'prepared.json').write_text(json.dumps(about))
  assert timing('arrayrecord', tmp_path) == UNKNOWN
