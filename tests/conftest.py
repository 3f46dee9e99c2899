"""Fast compiles, three nets that catch silent mistakes, and what many tests begin with.

Tests see one device, as the processes that they start do, with which they share what is compiled.
Those marked `devices` want eight: `JAX_NUM_CPU_DEVICES=8 python -m pytest -m devices`.
"""

import contextlib
import fcntl
import gc
import importlib.metadata
import os
import pathlib
import re
import shutil
import sys
import tempfile

os.environ['JAX_PLATFORMS'] = 'cpu'
_FLAGS = ['--xla_backend_optimization_level=0']  # compiles 2 to 5x faster
if importlib.metadata.version('jaxlib') < '0.11':  # an unknown flag is fatal
  # Another quarter; and a sixth, for there is a process for each core.
  _FLAGS += ['--xla_cpu_use_fusion_emitters=false', '--xla_cpu_parallel_codegen_split_count=1']
os.environ.setdefault('XLA_FLAGS', ' '.join(_FLAGS))
# What one test compiled, no other test of this session compiles again, nor a process it starts.
_SESSION = os.environ.get('PYTEST_XDIST_TESTRUNUID', str(os.getpid()))
_CACHE = os.path.join(tempfile.gettempdir(), f'hgdt_jax_tests_{_SESSION}')
os.environ.setdefault('JAX_COMPILATION_CACHE_DIR', _CACHE)
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0')

import jax
import jaxtyping
import pytest

# Calls into these modules, which are imported below, have to fit their annotations.
CHECKED = ('denoisers.dit', 'denoisers.unet3d', 'diffusion', 'losses', 'metrics', 'models')
jaxtyping.install_import_hook([f'hgdt_jax.{name}' for name in CHECKED], 'beartype.beartype')

import input_pipeline
from configs import hybrid
from hgdt_jax import (
  autoencoders,
  denoisers,
  gans,
  machine,
  methods,
  programs,
  run,
  settings,
  stages,
)
from hgdt_jax.diffusion import samplers
from hgdt_jax.losses import adversarial
from hgdt_jax.metrics import measures, table

machine.start()
jax.config.update('jax_debug_key_reuse', True)  # a key used twice is an error
jax.config.update('jax_numpy_rank_promotion', 'raise')  # so is [B] + [B, 1]


def pytest_collection_finish():
  gc.freeze()  # what is imported and collected stays: it need not be looked over again
  gc.set_threshold(50_000, 20)  # traces are many objects that stay a while


def pytest_runtest_setup(item):
  if item.get_closest_marker('devices') and jax.device_count() < 8:
    pytest.skip('wants eight devices: JAX_NUM_CPU_DEVICES=8 python -m pytest -m devices')


def pytest_unconfigure(config):
  if not hasattr(config, 'workerinput'):  # the last process of the session
    shutil.rmtree(_CACHE, ignore_errors=True)


def _smallest():
  given = hybrid.get_config('small').to_dict()
  changes = {
    'data': dict(frames=4, size=16, batch=8, clips=32, classes=4),
    'denoiser': dict(patch=4, width=8, multipliers=(1,), time_attention=8, space_attention=4),
    'bridge': dict(width=8, max_width=8, patch=4),
    'checkpoint': dict(every=2, keep=3),
    'evaluation': dict(clips=8, batch=8, flow_clips=2, taus=(0.5,), evaluations=(2,), checks=2),
    'draft': dict(image_share=0.5),
    'diffusion': dict(warmup=1),
    'joint': dict(refiner_rows=2),
    'hybrid': dict(tau=0.5, steps=1),
  }
  for section, values in changes.items():
    given[section] |= values
  sizes = dict(latent_size=8, content_size=4, motion_size=4)
  given['draft']['generator'] |= dict(patch=4, width=8, max_width=8) | sizes
  given['draft']['critic'] |= dict(width=8, max_width=8, frame_patch=4, clip_patch=4)
  for stage in settings.STAGES:
    given[stage]['steps'] = 2
  given['stages'] = tuple(settings.STAGES)
  given['fewstep']['walk'] = 2
  given['diffusion']['steps'] = 6  # the first layers move only after the last
  given['log_every'] = 1
  return given


@pytest.fixture(scope='session')
def smallest():
  """A function that gives `tiny_dict`, for fixtures that outlive a test."""
  return _smallest


@pytest.fixture
def tiny_dict():
  """The smallest configuration that has every part: a dict, to be changed and built."""
  return _smallest()


@pytest.fixture
def tiny():
  """The same, built."""
  return settings.build(settings.Config, _smallest())


@pytest.fixture(scope='session')
def compiled_once():
  """A context; in all of these, a stage's step is compiled once for equal configurations."""
  compiled, steps = programs.compiled, {}

  def once(cfg, stage, mesh):
    key = repr((cfg, stage, mesh))
    if key not in steps:
      steps[key] = compiled(cfg, stage, mesh)
    return steps[key]

  @contextlib.contextmanager
  def context():
    with pytest.MonkeyPatch.context() as patch:
      patch.setattr(programs, 'compiled', once)
      yield

  return context


@pytest.fixture
def untaught(monkeypatch):
  """Stages count their steps and learn nothing: they hand on what they began with."""

  def compiled(cfg, stage, mesh):
    return lambda state, batch, root: (state.replace(step=state.step + 1), {f'{stage}/loss': 0.0})

  monkeypatch.setattr(programs, 'compiled', compiled)


@pytest.fixture(scope='session')
def finished(tmp_path_factory):
  """The workdir of a whole run of it, one for all test processes; not to be written to."""
  alone = 'PYTEST_XDIST_WORKER' not in os.environ
  base = tmp_path_factory.getbasetemp()
  workdir = (base if alone else base.parent) / 'finished'
  with pathlib.Path(f'{workdir}.lock').open('w') as turn:
    fcntl.flock(turn, fcntl.LOCK_EX)
    if not (workdir / 'report' / 'index.html').exists():
      run.main(_smallest(), workdir)
  return workdir


PAGE = pathlib.Path(__file__).parents[1] / 'docs' / 'extending.md'
REGISTRIES = (
  *(
    gans.GANS,
    denoisers.DENOISERS,
    autoencoders.AUTOENCODERS,
    stages.STAGES,
    methods.METHODS,
    samplers.SAMPLERS,
  ),
  *(adversarial.OBJECTIVES, table.METRICS, measures.MEASURES, input_pipeline.SOURCES),
)


@pytest.fixture
def files(tmp_path, monkeypatch):
  """The files of docs/extending.md, where modules are found; what they register goes again."""
  folder, before = tmp_path / 'files', [dict(registry) for registry in REGISTRIES]
  folder.mkdir()
  for name, text in re.findall(r'```python\n# (\S+)\n(.*?)```', PAGE.read_text(), re.DOTALL):
    (folder / name).write_text(text)
  monkeypatch.syspath_prepend(str(folder))
  yield folder
  for path in folder.glob('*.py'):
    sys.modules.pop(path.stem, None)
  for registry, entries in zip(REGISTRIES, before):
    registry.clear()
    registry.update(entries)
