"""Numbers are what they say: seeds, stamps, costs, and scores that any number of processes share.

Run as a script, this file is one of the processes of `test_two_processes_score_as_one`.
"""

import dataclasses
import functools
import json
import os
import pathlib
import socket
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hgdt_jax import laws, results, settings, sharding, trained
from hgdt_jax import methods as ways
from hgdt_jax.denoisers.types import Condition, Denoised
from hgdt_jax.diffusion import samplers
from hgdt_jax.drawing import Guidance, Known
from hgdt_jax.metrics import kernel
from hgdt_jax.report import meanings
from hgdt_jax.stages import STAGES, networks
from hgdt_jax.state import Net
from input_pipeline import fixed, make_source

ROOT = pathlib.Path(__file__).parents[1]
STRIDED = {'stride': 3, 'fps': 12.5}


def untrained(cfg, mesh, stages=('gan', 'diffusion')):
  """A model of random weights, none of them zero, that `stages` seem to have trained."""

  rng = np.random.default_rng(0)

  def random(leaf):
    inputs = np.prod(leaf.shape[:-1]) if len(leaf.shape) > 1 else 4
    values = rng.normal(size=leaf.shape).astype(np.float32) / np.float32(np.sqrt(inputs))
    where = sharding.replicated(mesh)
    return jax.make_array_from_callback(leaf.shape, where, lambda index: values[index])

  made = {}
  for name in ('generator', 'denoiser', 'bridge'):  # nothing is compiled
    init = functools.partial(getattr(networks, f'init_{name}'), cfg)
    made[name] = jax.tree.map(random, jax.eval_shape(init, jax.random.key(0)))
  drawn_with = lambda stage: [name for name in STAGES[stage].trains if name in made]
  weights = {s: {name: Net.of(made[name]) for name in drawn_with(s)} for s in stages}
  return trained.Trained(cfg, weights, mesh)


@pytest.fixture(scope='module')
def model(smallest):
  given = smallest()
  given['evaluation'] |= {'batch': 4}
  cfg = settings.build(settings.Config, given)
  mesh = sharding.make_mesh(-1, 1)
  return untrained(cfg, mesh, ('gan', 'diffusion', 'aligner'))


def clips_of(cfg, count, split='test'):
  shape = {'frames': cfg.data.frames, 'size': cfg.data.size}
  source = make_source('synthetic', **shape, split=split, count=count)
  return source, fixed(source, count)


LABELS = np.arange(8) % 4
KNOWN = Known(np.full((1, 16, 16, 3), 200, np.uint8), (0,))


@pytest.mark.parametrize(
  ('method', 'options'),
  [
    ('gan', {}),
    ('hybrid', {'sampler': 'dpmpp_2m_sde'}),
    ('diffusion', {'sampler': 'ddpm', 'known': KNOWN}),
  ],
)
def test_a_clip_depends_on_the_seed_and_its_number_alone(model, method, options):
  """Not on the batch it is drawn in; a grey level is left to rounding in other programs."""
  draw = lambda labels, seed, first: model.draw(
    method, labels, seed, first=first, steps=2, tau=0.5, **options
  ).astype(int)
  whole, half = draw(LABELS, 0, 0), draw(LABELS[:4], 0, 4)
  assert np.abs(whole[4:] - half).max() <= 1
  np.testing.assert_array_equal(half, draw(LABELS[:4], 0, 4))
  apart = np.abs(whole[:, None] - whole[None]).mean(axis=(2, 3, 4, 5))
  assert (apart[~np.eye(8, dtype=bool)] > 1).all()  # and each number is another clip


def test_no_clip_of_one_seed_is_one_of_another(model):
  draw = lambda seed, first: model.draw('gan', LABELS, seed, first=first, steps=0, tau=0)
  many = np.concatenate([draw(0, first) for first in range(0, 64, 8)]).astype(int)
  for clip in draw(16, 0):
    assert (np.abs(many - clip).mean(axis=(1, 2, 3, 4)) > 1).all()


def test_noise_of_refined_clips_and_of_the_test_of_drafts_goes_by_number_too(model):
  _, held_out = clips_of(model.cfg, 8)
  video, label = held_out['video'], held_out['label']
  for draw in (
    lambda rows, i: model.refine('hybrid', video[rows], label[rows], 0, first=i, steps=2, tau=0.5),
    lambda rows, i: model.draft_at('gan', label[rows], 0, 0.5, first=i),
    lambda rows, i: model.clips_at(video[rows], 0, 0.5, first=i),
  ):
    whole, part = draw(slice(8), 0).astype(int), draw(slice(4, 8), 4).astype(int)
    assert np.abs(whole[4:] - part).max() <= 1
    other = draw(slice(4, 8), 5)
    assert np.abs(part - other).mean() > 1


def test_the_last_batch_compiles_nothing_and_counts_no_compilation(model):
  """6 clips in batches of 4: one program, and the time is that of the second batch."""
  _, held_out = clips_of(model.cfg, 6)
  fresh = trained.Trained(model.cfg, model.weights, model.mesh)
  video, seconds = results._draw(fresh, 'diffusion_frames', held_out, 3, 0.5)
  assert fresh.drawing.walk._cache_size() == fresh.drawing.start._cache_size() == 1
  assert len(video) == 6 and seconds > 0
  one = {name: rows[:4] for name, rows in held_out.items()}
  first, seconds = results._draw(fresh, 'diffusion_frames', one, 3, 0.5)
  assert seconds is None  # the only batch might have compiled
  np.testing.assert_array_equal(first, video[:4])
  fresh = trained.Trained(model.cfg, model.weights, model.mesh)
  assert len(results._refined(fresh, 'diffusion_frames', held_out)) == 6
  assert fresh.drawing.walk._cache_size() == fresh.drawing.truncate._cache_size() == 1


def test_refined_clips_know_nothing_of_the_clean_ones(model):
  """No encoding of the answer: what the bridge sees in a clip changes nothing."""
  _, held_out = clips_of(model.cfg, 4)
  refine = lambda one: results._refined(one, 'hybrid', held_out)
  before = refine(model)
  other = jax.tree.map(lambda leaf: leaf + 1.0, model.weights['aligner']['bridge'])
  aligner = model.weights['aligner'] | {'bridge': other}
  changed = trained.Trained(model.cfg, model.weights | {'aligner': aligner}, model.mesh)
  np.testing.assert_array_equal(refine(changed), before)
  # The aligner is on all the same.
  plain = {stage: model.weights[stage] for stage in ('gan', 'diffusion')}
  without = refine(trained.Trained(model.cfg, plain, model.mesh))
  assert (without != before).any()
  scores = results._refined_scores(model, 'hybrid', held_out, [], STRIDED)
  for name in ('psnr', 'ssim'):
    assert 'without latents of the clean clip' in scores[name].stamp['of']
    assert STRIDED.items() <= scores[name].stamp.items()
    assert 'without latents of the clean clip' in meanings.metric(name).meaning


def walked(model, method, **options):
  """The walk and the key that a method hands to its program."""
  one, seen = trained.Trained(model.cfg, model.weights, model.mesh), []
  one.drawing.walk = lambda weights, walk, key, **_: seen.append((walk, key)) or walk.start
  one.draw(method, LABELS, **({'seed': 3, 'steps': 2, 'tau': 0.5} | options))
  return seen[0]


def test_cells_of_the_grid_draw_from_equal_codes_and_noise(model):
  """So two of them that differ in one part are an experiment on that part."""
  cells = {name: way for name, way in ways.GRID.items() if way.refined}
  found = {name: walked(model, name) for name in cells}
  for drafted in (False, True):
    these = [found[name][0] for name in cells if cells[name].drafted == drafted]
    for walk in these:
      np.testing.assert_array_equal(walk.start, these[0].start)
      assert walk.t_start == (0.5 if drafted else 1.0)
    assert np.std(these[0].start) > 0.1
  keys = {jax.random.key_data(key).tobytes() for _, key in found.values()}
  assert len(keys) == 1
  told = {name: walk.latents for name, (walk, _) in found.items() if cells[name].latents == 'gan'}
  for latents in told.values():
    np.testing.assert_array_equal(latents, told['draft_video_gan'])
  other, _ = walked(model, 'draft_video', seed=4)
  assert (other.start != found['draft_video'][0].start).any()


@pytest.mark.parametrize('latents', ['gan', 'bridge'])
def test_what_a_method_is_told_of_its_drafts_is_what_it_draws_with(model, latents):
  method = f'draft_video_{latents}'
  said = model.told_of_drafts(method, LABELS, 3, 0.5)
  np.testing.assert_array_equal(said, walked(model, method)[0].latents)
  assert said.shape == (8, 4, 8) and said.std() > 0.1


def without(weights, *scopes):
  """The weights with 0 for every parameter of the denoiser that lies in one of these scopes."""

  def one(path, leaf):
    names = jax.tree_util.keystr(path, simple=True, separator='/').split('/')
    return 0 * leaf if set(scopes) & set(names) else leaf

  silent = lambda net: Net(jax.tree_util.tree_map_with_path(one, net.params))
  return {
    stage: nets | ({'denoiser': silent(nets['denoiser'])} if 'denoiser' in nets else {})
    for stage, nets in weights.items()
  }


@pytest.mark.parametrize(
  ('method', 'scopes'),
  [
    ('draft_video_aligned', ('aligner_middle', 'aligner0')),
    ('draft_video_gan', ('latents_out',)),
    ('draft_video_bridge', ('latents_out',)),
    ('draft_video', ('time_conv', 'time_attention')),
    ('noise_video_aligned', ('aligner_middle', 'aligner0')),
  ],
)
def test_a_part_that_is_silent_is_all_that_two_cells_differ_in(model, method, scopes):
  """Up to a grey level: without it the program is another, which rounds in another order."""
  plain = {'draft_video': 'draft_frames'}.get(method) or method.split('_video')[0] + '_video'
  draw = lambda one, name: one.draw(name, LABELS, 0, steps=2, tau=0.5).astype(int)
  silent = trained.Trained(model.cfg, without(model.weights, *scopes), model.mesh)
  silent.drawing.walk = model.drawing.walk  # compiled before
  pair = [draw(silent, name) for name in (method, plain)]
  assert np.abs(pair[0] - pair[1]).max() <= 1
  assert (draw(model, method) != pair[0]).any()


@pytest.mark.parametrize('latents', ['clean', 'noised'])
def test_parts_that_no_stage_trained_are_left_out(smallest, latents):
  """Aligner and latents of a run without the aligner stage: their weights mean nothing."""
  given = smallest() | {'stages': ('gan', 'diffusion', 'joint')}
  given['aligner']['latents'] = latents
  mesh = sharding.make_mesh(-1, 1)
  one = untrained(settings.build(settings.Config, given), mesh, given['stages'])
  draw = lambda name: one.draw(name, LABELS, 0, steps=2, tau=0.5)
  plain = draw('draft_video')
  for name in ('draft_video_aligned', 'draft_video_aligned_gan', 'hybrid'):
    np.testing.assert_array_equal(draw(name), plain, err_msg=name)
  with pytest.raises(ValueError, match=r'draft_video_bridge.*for want of bridge'):
    draw('draft_video_bridge')
  assert (draw('draft_frames') != plain).any()


def test_a_bridge_of_noisy_clips_tells_a_method_what_it_walks_through(smallest):
  """A function of x_t at every step, and of nothing else."""
  given = smallest()
  given['aligner']['latents'] = 'noised'
  mesh = sharding.make_mesh(-1, 1)
  one = untrained(settings.build(settings.Config, given), mesh, ('gan', 'diffusion', 'aligner'))
  _, held_out = clips_of(one.cfg, 8)
  walk, _ = walked(one, 'draft_video_bridge')
  assert walk.latents is None  # of the draft it is told nothing but x_t
  told = one.told_of_drafts('draft_video_bridge', LABELS, 3, 0.5)
  bridge = one.weights['aligner']['bridge'].variables()
  np.testing.assert_array_equal(told, one.drawing.guess(bridge, walk.start, 0.5))
  drawn = one.draw('draft_video_bridge', LABELS, 0, steps=2, tau=0.5)
  assert (drawn != one.draw('draft_video', LABELS, 0, steps=2, tau=0.5)).any()
  at = lambda tau: one.told_of_clips('draft_video_bridge', held_out['video'], 0, tau)
  assert (at(0.5) != at(0.9)).any()


class Coded:
  """In the place of a model: a clip is of one grey, which its latents are to know.

  Clips have the same law as drafts, and so have latents; `leaks`: those of drafts are of others.
  """

  def __init__(self, cfg, leaks):
    self.cfg, self._leaks = cfg, leaks

  def clips_at(self, video, seed, tau, *, first=0):
    return self._clips(first, len(video))

  def needs_image(self, method):
    return False

  def draft_at(self, method, label, seed, tau, *, first=0):
    return self._clips(first, len(label))

  def told_of_clips(self, method, video, seed, tau, *, first=0):
    return self._latents(first, len(video))

  def told_of_drafts(self, method, label, seed, tau, *, first=0):
    return self._latents(first + 10_000 * self._leaks, len(label))

  def _clips(self, first, count):
    grey = 60 + 130 * self._codes(first, count).reshape(-1, 1, 1, 1, 1)
    noise = np.random.default_rng(first).normal(0, 10, (count, 4, 16, 16, 3))
    return np.clip(grey + noise, 0, 255).astype(np.uint8)

  def _latents(self, first, count):
    noise = np.random.default_rng([first, 1]).normal(0, 0.2, (count, 4, 32))
    return self._codes(first, count).reshape(-1, 1, 1) + noise

  def _codes(self, first, count):
    return np.array([np.random.default_rng([7, first + i]).uniform() for i in range(count)])


def test_the_test_of_pairs_finds_a_leak_that_no_test_of_clips_can(tiny):
  """Clips agree and latents agree; that they belong together in training alone is the leak."""
  count = 256
  cfg = dataclasses.replace(tiny, evaluation=dataclasses.replace(tiny.evaluation, batch=64))
  clips = {'video': np.zeros((count, 4, 16, 16, 3), np.uint8), 'label': np.zeros(count, int)}
  honest, leaky = Coded(cfg, leaks=False), Coded(cfg, leaks=True)
  (alone,) = laws.truncation(leaky, clips, [0.5], ['hybrid'])
  assert alone['p_value'] > 0.05
  latents = (leaky.told_of_drafts('', range(count), 0, 0.5), leaky._latents(count, count))
  assert kernel.two_sample_test(*(each.mean(axis=1) for each in latents)).p_value > 0.05
  assert laws.pairs(honest, clips, 0.5, 'hybrid').p_value > 0.05
  found = laws.pairs(leaky, clips, 0.5, 'hybrid')
  assert found.p_value < 0.01 and found.statistic > 0


class Counting:
  """In the place of the denoiser: says how often it is run, forward and backward."""

  def __init__(self):
    self.forward = self.backward = 0

    @jax.custom_vjp
    def counted(x):
      jax.debug.callback(self._ran, True)
      return 0.5 * x

    def run(x):
      return counted(x), None

    def back(_, gradient):
      jax.debug.callback(self._ran, False)
      return (0.5 * gradient,)

    counted.defvjp(run, back)
    self._counted = counted

  def _ran(self, forward):
    self.forward += bool(forward)
    self.backward += not forward

  def apply(self, variables, x, t, condition, mixing):
    return Denoised(self._counted(x) + 0.0 * condition.label.reshape(-1, 1, 1, 1, 1))


@pytest.mark.parametrize('guidance', [None, Guidance(2.0)])
@pytest.mark.parametrize('known', [None, KNOWN])
@pytest.mark.parametrize('sampler', samplers.SAMPLERS)
def test_network_evaluations_are_those_that_are_made(smallest, model, sampler, known, guidance):
  """A backward pass counted as one forward pass: see `Trained.evaluations`."""
  given = smallest()
  given['hybrid'] |= {'sampler': sampler}
  cfg = settings.build(settings.Config, given)
  counting = Counting()
  one = trained.Trained(cfg, model.weights, model.mesh)
  one.drawing.networks = networks.make(cfg)._replace(denoiser=counting)
  for steps in (1, 3):
    counting.forward = counting.backward = 0
    one.draw('diffusion', LABELS[:2], 0, steps=steps, tau=1.0, known=known, guidance=guidance)
    jax.effects_barrier()
    spent = counting.forward + counting.backward
    guided = guidance is not None
    assert one.evaluations('diffusion', steps, guided=guided, known=known is not None) == spent
    assert (counting.backward > 0) == (known is not None)
    draft = one.evaluations('hybrid', steps, guided=guided, known=known is not None) - spent
    assert draft == one.evaluations('gan', 0, known=known is not None) == 1


def test_a_backward_pass_costs_a_forward_pass(model):
  """As XLA counts operations: with respect to the clip, not to the weights."""
  cfg, weights = model.cfg, model.weights['aligner']['denoiser'].params
  x, label = jnp.zeros((1, cfg.data.frames, 16, 16, 3)), jnp.zeros(1, jnp.int32)
  plain = Condition.plain(label, cfg.data.frames, cfg.draft.latent_size)
  denoiser = networks.make(cfg).denoiser
  forward = lambda x: denoiser.apply({'params': weights}, x, jnp.ones(1), plain, jnp.ones(1)).output
  both = jax.value_and_grad(lambda x: jnp.sum(forward(x) ** 2))
  once, twice = (jax.jit(f).lower(x).cost_analysis()['flops'] for f in (forward, both))
  assert twice / once == pytest.approx(2.0, abs=0.15)


def scored(given, mesh, workdir):
  """Scores on the way of a stage, and results.json, of an untrained model."""
  model = untrained(settings.build(settings.Config, given), mesh)
  source, held_out = clips_of(model.cfg, 6)
  _, reference = clips_of(model.cfg, 6, 'train')
  flows = [source.flow(int(i)) for i in held_out['id'][: model.cfg.evaluation.flow_clips]]
  on_the_way = results.on_the_way(model, 'gan', held_out, workdir / 'gan.png')
  rows = results.evaluate(model, held_out, reference, flows, workdir, {}, STRIDED)
  return {'on_the_way': on_the_way, 'metrics': [row['metrics'] for row in rows]}


@pytest.fixture(scope='module')
def given(smallest):
  """Six clips in batches of four, and two processes: nothing divides."""
  given = smallest()
  given['stages'] = ('gan', 'diffusion')
  given['draft'] |= {'image_share': 0.0}  # fewer programs to compile
  given['evaluation'] |= {'clips': 6, 'batch': 4, 'flow_clips': 3, 'evaluations': ()}
  return given


@pytest.fixture(scope='module')
def alone(given, tmp_path_factory):
  """What one process on two devices comes to, and its workdir."""
  workdir = tmp_path_factory.mktemp('alone')
  devices = np.array(jax.devices()[:2]).reshape(2, 1)
  return scored(given, jax.sharding.Mesh(devices, ('data', 'fsdp')), workdir), workdir


@pytest.mark.devices
def test_stamps_say_what_the_source_says(alone):
  rows = json.loads((alone[1] / 'results.json').read_text())['results']
  for row in rows:
    for name, stamp in row['protocol'].items():
      if name != 'warping_error_true_flow':
        assert (STRIDED | {'split': 'test', 'seed': 0}).items() <= stamp.items(), name


def numbers(content):
  """The scores in results.json, without what depends on the clock."""
  if isinstance(content, dict):
    clock = 'seconds_per_clip'
    return {name: numbers(value) for name, value in content.items() if name != clock}
  return [numbers(value) for value in content] if isinstance(content, list) else content


@pytest.mark.devices
@pytest.mark.devices
@pytest.mark.long
def test_two_processes_score_as_one(given, alone, tmp_path):
  with socket.socket() as free:
    free.bind(('localhost', 0))
    address = f'localhost:{free.getsockname()[1]}'
  (tmp_path / 'config.json').write_text(json.dumps(given))
  environment = os.environ | {'PYTHONPATH': str(ROOT), 'JAX_NUM_CPU_DEVICES': '1'}
  command = [sys.executable, __file__, address, str(tmp_path)]
  pipes = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, 'text': True}
  workers = [subprocess.Popen([*command, str(i)], env=environment, **pipes) for i in range(2)]
  try:
    printed = [worker.communicate(timeout=300) for worker in workers]
  finally:  # one that waits for another that died
    for worker in workers:
      worker.kill()
  assert [worker.returncode for worker in workers] == [0, 0], printed
  said = [json.loads(out.splitlines()[-1]) for out, _ in printed]
  assert said[0] == said[1]
  want, workdir = alone
  close(said[0], want)
  files = [workdir / 'results.json', tmp_path / 'results.json']
  close(*(numbers(json.loads(path.read_text())) for path in reversed(files)))
  listed = lambda root: sorted(p.relative_to(root) for p in (root / 'samples').rglob('*'))
  assert listed(tmp_path) == listed(workdir)
  assert not [path for path in tmp_path.rglob('*') if '.part' in path.name]


def close(got, want):
  """Up to rounding, by which a few pixels differ by a grey level."""
  got, want = (jax.tree_util.tree_flatten_with_path(tree) for tree in (got, want))
  assert got[1] == want[1]
  for (path, value), (_, other) in zip(got[0], want[0]):
    wanted = pytest.approx(other, rel=1e-3) if isinstance(other, float) else other
    assert value == wanted, jax.tree_util.keystr(path)


def _process(address, workdir, index):
  jax.config.update('jax_platforms', 'cpu')
  jax.distributed.initialize(address, 2, int(index))
  workdir = pathlib.Path(workdir)
  given = json.loads((workdir / 'config.json').read_text())
  print(json.dumps(scored(given, sharding.make_mesh(-1, 1), workdir)))


if __name__ == '__main__':
  _process(*sys.argv[1:])
