"""Numbers are what they say: seeds, stamps, costs, and scores that any number of processes share.

Run as a script, this file is one of the processes of `test_two_processes_score_as_one`.
"""

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

from hgdt_jax import config, results, sharding, trained
from hgdt_jax.diffusion import samplers
from hgdt_jax.report import meanings
from hgdt_jax.stages import networks
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
  names = {'gan': ['generator'], 'diffusion': ['denoiser'], 'aligner': ['denoiser', 'bridge']}
  weights = {stage: {name: Net(made[name]) for name in names[stage]} for stage in stages}
  return trained.Trained(cfg, weights, mesh)


@pytest.fixture(scope='module')
def model(smallest, one_device):
  given = smallest()
  given['evaluation'] |= {'batch': 4}
  cfg = config.build(config.Config, given)
  with one_device() as mesh:
    return untrained(cfg, mesh, ('gan', 'diffusion', 'aligner'))


def clips_of(cfg, count, split='test'):
  shape = {'frames': cfg.data.frames, 'size': cfg.data.size}
  source = make_source('synthetic', **shape, split=split, count=count)
  return source, fixed(source, count)


LABELS = np.arange(8) % 4
KNOWN = trained.Known(np.full((1, 16, 16, 3), 200, np.uint8), (0,))


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
  assert fresh._program._cache_size() == fresh._start._cache_size() == 1
  assert len(video) == 6 and seconds > 0
  one = {name: rows[:4] for name, rows in held_out.items()}
  first, seconds = results._draw(fresh, 'diffusion_frames', one, 3, 0.5)
  assert seconds is None  # the only batch might have compiled
  np.testing.assert_array_equal(first, video[:4])
  fresh = trained.Trained(model.cfg, model.weights, model.mesh)
  assert len(results._refined(fresh, 'diffusion_frames', held_out)) == 6
  assert fresh._program._cache_size() == fresh._truncate._cache_size() == 1


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
    return self._counted(x) + 0.0 * condition.label.reshape(-1, 1, 1, 1, 1)


@pytest.mark.parametrize('guidance', [None, 2.0])
@pytest.mark.parametrize('known', [None, KNOWN])
@pytest.mark.parametrize('sampler', samplers.SAMPLERS)
def test_network_evaluations_are_those_that_are_made(smallest, model, sampler, known, guidance):
  """A backward pass counted as one forward pass: see `Trained.evaluations`."""
  given = smallest()
  given['hybrid'] |= {'sampler': sampler}
  cfg = config.build(config.Config, given)
  counting = Counting()
  one = trained.Trained(cfg, model.weights, model.mesh)
  one._networks = networks.make(cfg)._replace(denoiser=counting)
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
  plain = networks.Condition.plain(label, cfg.data.frames, cfg.generator.latent_size)
  denoiser = networks.make(cfg).denoiser
  forward = lambda x: denoiser.apply({'params': weights}, x, jnp.ones(1), plain, jnp.ones(1))
  both = jax.value_and_grad(lambda x: jnp.sum(forward(x) ** 2))
  once, twice = (jax.jit(f).lower(x).cost_analysis()['flops'] for f in (forward, both))
  assert twice / once == pytest.approx(2.0, abs=0.15)


def scored(given, mesh, workdir):
  """Scores on the way of a stage, and results.json, of an untrained model."""
  model = untrained(config.build(config.Config, given), mesh)
  source, held_out = clips_of(model.cfg, 6)
  _, reference = clips_of(model.cfg, 6, 'train')
  flows = [source.flow(int(i)) for i in held_out['id'][: model.cfg.evaluation.flow_clips]]
  on_the_way = results.on_the_way(model, 'gan', held_out)
  rows = results.evaluate(model, held_out, reference, flows, workdir, {}, STRIDED)
  return {'on_the_way': on_the_way, 'metrics': [row['metrics'] for row in rows]}


@pytest.fixture(scope='module')
def given(smallest):
  """Six clips in batches of four, and two processes: nothing divides."""
  given = smallest()
  given['stages'] = ('gan', 'diffusion')
  given['gan'] |= {'image_share': 0.0}  # fewer programs to compile
  given['evaluation'] |= {'clips': 6, 'batch': 4, 'flow_clips': 3, 'evaluations': ()}
  return given


@pytest.fixture(scope='module')
def alone(given, tmp_path_factory):
  """What one process on two devices comes to, and its workdir."""
  workdir = tmp_path_factory.mktemp('alone')
  devices = np.array(jax.devices()[:2]).reshape(2, 1)
  return scored(given, jax.sharding.Mesh(devices, ('data', 'fsdp')), workdir), workdir


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


def test_two_processes_score_as_one(given, alone, tmp_path):
  with socket.socket() as free:
    free.bind(('localhost', 0))
    address = f'localhost:{free.getsockname()[1]}'
  (tmp_path / 'config.json').write_text(json.dumps(given))
  environment = os.environ | {'PYTHONPATH': str(ROOT)}
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
