"""The verbs from Python give what the verbs of the command line give."""

import dataclasses
import subprocess
import sys

import ml_collections
import numpy as np
import pytest

import hgdt_jax
import input_pipeline
from configs import hybrid, paper
from hgdt_jax import api, publish, results, sampled, weights
from hgdt_jax.metrics import score
from hgdt_jax.request import Request
from input_pipeline import video_files


def test_a_configuration_is_a_recipe_with_changes():
  made = hgdt_jax.config('small', **{'gan.steps': 200, 'stages': ('gan',)})
  wanted = hybrid.get_config('small')
  wanted.gan.steps, wanted.stages = 200, ('gan',)
  assert made.to_dict() == wanted.to_dict()
  assert hgdt_jax.config('paper:bench').to_dict() == paper.get_config('bench').to_dict()
  assert hgdt_jax.config('paper').to_dict() == paper.get_config().to_dict()


@pytest.mark.parametrize(
  ('recipe', 'changes', 'message'),
  [
    ('papre', {}, "'papre': no recipe of that name in configs/, nor a preset"),
    ('hybrid:smal', {}, 'configs/hybrid.py:smal: no such preset'),
    ('small', {'gan.stepz': 3}, 'Did you mean "steps"'),
    ('small', {'gan.steps': 'many'}, 'many is of original type'),
  ],
)
def test_what_is_no_recipe_or_field_is_told(recipe, changes, message):
  with pytest.raises(ValueError, match=message):
    hgdt_jax.config(recipe, **changes)


def test_a_run_is_gone_on_with_and_sampled_as_by_the_verb(finished, smallest, tmp_path):
  before = {path: path.stat().st_mtime_ns for path in finished.rglob('checkpoints/**/*')}
  model = hgdt_jax.load(str(finished))
  asked = dict(method='hybrid', num=3, steps=2, tau=0.4, seed=5)
  clips = model.sample(**asked)
  sampled.write(finished, tmp_path / 'clips', Request(**asked), 'png')
  assert {path: path.stat().st_mtime_ns for path in finished.rglob('checkpoints/**/*')} == before
  assert clips.shape == (3, 4, 16, 16, 3) and clips.dtype == np.uint8
  written = [video_files.read(tmp_path / 'clips' / f'clip_{i:04d}', range(4), 16) for i in range(3)]
  np.testing.assert_array_equal(clips, np.stack(written))
  assert model.table() == results.table(results.read(finished)) and 'hybrid' in model.table()
  assert model.report.exists()
  with pytest.raises(TypeError, match='setps'):
    model.sample(setps=3)


def test_a_locked_configuration_trains_as_its_dictionary(monkeypatch, smallest, tmp_path):
  given = {}
  monkeypatch.setattr(api.run, '_train', lambda cfg, mesh, workdir: given.update(cfg=cfg) or 1 / 0)
  for changed in (smallest(), ml_collections.ConfigDict(smallest()).lock()):
    with pytest.raises(ZeroDivisionError):
      hgdt_jax.train(changed, str(tmp_path / 'run'))
    given.setdefault('first', given['cfg'])
  assert given['cfg'] == given['first']


def test_a_workdir_without_a_name_is_refused(smallest):
  with pytest.raises(ValueError, match="workdir is '', which would be the current folder"):
    hgdt_jax.train(smallest(), '')


def test_scores_are_those_of_the_metrics():
  real, fake = np.random.default_rng(0).integers(0, 256, (2, 8, 4, 16, 16, 3), np.uint8)
  found = api.evaluate(real, fake, ['psnr', 'motion_ratio'])
  wanted = score.score_clips(real, fake, ['psnr', 'motion_ratio'])
  assert found == {name: one.value for name, one in wanted.items()}


def test_folders_are_scored_as_by_the_verb(tmp_path, capsys):
  real, fake = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 16, 16, 3), np.uint8)
  for name, clips in (('real', real), ('fake', fake)):
    (tmp_path / name).mkdir()
    for i, video in enumerate(clips):
      np.savez(tmp_path / name / f'{i}.npz', video=video)
  folders = str(tmp_path / 'real'), tmp_path / 'fake'
  found = api.evaluate(*folders, ['psnr', 'motion_ratio'], frames=4)
  assert found == pytest.approx(api.evaluate(real, fake, ['psnr', 'motion_ratio']))
  assert f'{folders[0]}: 4 clips' in capsys.readouterr().out


@pytest.mark.long
def test_a_folder_goes_in_and_clips_and_weights_come_out(finished, tmp_path, capsys):
  model = hgdt_jax.load(finished)
  model.write(tmp_path / 'clips', num=8, seed=1, clip_format='mp4-lossless')
  model.export(tmp_path / 'model.safetensors', 'float32', licence='CC0-1.0')
  taken = hgdt_jax.load(tmp_path / 'model.safetensors')
  assert taken.about['licence'] == 'CC0-1.0'
  np.testing.assert_array_equal(taken.sample(num=2), model.sample(num=2))
  with pytest.raises(ValueError, match='these are weights already'):
    taken.export(tmp_path / 'again.safetensors')
  options = dict(frames=4, size=16, test_share=0.25)
  counts = hgdt_jax.prepare(tmp_path / 'clips', tmp_path / 'set', **options)
  assert list(counts) == ['train', 'test'] and sum(counts.values()) == 8
  assert 'clips: 8 clips' in capsys.readouterr().out
  with pytest.raises(ValueError, match="no option 'sizes'; it has stride, fps"):
    hgdt_jax.prepare(tmp_path / 'clips', tmp_path / 'set', **options, sizes=3)


def test_what_is_inside_a_hybrid(finished):
  model = hgdt_jax.load(finished)
  over = model.over_tau((0.0, 0.4), num=2, seed=3)
  assert list(over) == [0.0, 0.4] and list(over[0.4]) == ['draft', 'diffused', 'refined']
  drawn = model.sample('hybrid', 2, seed=3, tau=0.4)
  np.testing.assert_array_equal(over[0.4]['refined'], drawn)
  np.testing.assert_array_equal(over[0.0]['refined'], over[0.0]['draft'])
  np.testing.assert_array_equal(over[0.0]['draft'], over[0.4]['draft'])
  assert (over[0.4]['diffused'] != over[0.0]['diffused']).any()
  clips = model.clips(2)
  source = input_pipeline.make_source('synthetic', split='test', frames=4, size=16, count=32)
  held_out = np.stack([source[i]['video'] for i in range(len(source))])
  assert all((held_out == clip).all((1, 2, 3, 4)).any() for clip in clips)
  flow = model.flow(clips)
  assert flow.shape == (2, 3, 16, 16, 2) and np.abs(flow).max() <= 4 * 2.0  # map of 4x4, radius 2
  head, *rows = model.two_samples((0.4, 0.2), num=8).split('\n')
  assert head.split() == ['tau', 'drafts', 'of', 'statistic', 'p']
  assert [row.split()[:2] for row in rows] == [
    [tau, method] for tau in ('0.2', '0.4') for method in ('gan', 'hybrid')
  ]
  head, *rows = model.compare(('gan', 'draft_frames_aligned'), 8, ['motion_ratio']).split('\n')
  found = {row.split()[0]: row.split()[-1] for row in rows}
  wanted = api.evaluate(model.clips(8), model.sample('gan', 8), ['motion_ratio'])['motion_ratio']
  assert found['gan'] == f'{wanted:.4g}' and list(found) == ['gan', 'draft_frames_aligned']


def test_a_model_without_an_aligner_has_no_flow(finished, tmp_path):
  path = tmp_path / 'two.safetensors'
  weights.write(publish.of_run(finished, ['gan', 'diffusion']), path)
  with pytest.raises(ValueError, match='hybrid: no aligner was trained for it'):
    hgdt_jax.load(path).flow(np.zeros((1, 4, 16, 16, 3), np.uint8))


def test_weights_know_not_where_clips_lie(finished, tmp_path):
  found = publish.of_run(finished, ['gan'])
  data = dataclasses.replace(found.cfg.data, source='folder')
  found = dataclasses.replace(found, cfg=dataclasses.replace(found.cfg, data=data))
  weights.write(found, tmp_path / 'gan.safetensors')
  with pytest.raises(ValueError, match='weights do not know where clips lie'):
    hgdt_jax.load(tmp_path / 'gan.safetensors').clips()


def test_only_what_is_public_is_an_attribute():
  with pytest.raises(AttributeError, match='smaple'):
    _ = hgdt_jax.smaple
  # In a process of its own: here tests have imported the verb of the same name as `evaluate`.
  script = """
import sys, hgdt_jax
assert 'jax' not in sys.modules and 'configs' not in sys.modules
found = {name: getattr(hgdt_jax, name) for name in hgdt_jax.__all__}
assert all(value is getattr(hgdt_jax.api, name) for name, value in found.items())
"""
  done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, check=False)
  assert not done.returncode, done.stderr


def test_loader_processes_start_outside_of_absl(tmp_path):
  script = tmp_path / 'script.py'
  script.write_text(
    """
import input_pipeline
if __name__ == '__main__':
  options = dict(frames=2, size=16, split='train', count=8)
  source = input_pipeline.make_source('synthetic', **options)
  print(next(input_pipeline.Batches(source, batch=4, seed=0, workers=1))['video'].shape)
"""
  )
  done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
  assert done.stdout.split('\n')[0] == '(4, 2, 16, 16, 3)', done.stderr
