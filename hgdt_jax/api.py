"""The verbs from Python: what `import hgdt_jax` gives, in one place.

```python
import hgdt_jax as h

h.show(h.load('synthetic').sample('hybrid', num=8, steps=4, seed=0))  # weights that are shipped
model = h.train(h.config('small', **{'gan.steps': 200}), 'runs/mine')
print(model.table())
```
"""

import html
import importlib
import os
import pathlib
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

import input_pipeline
from hgdt_jax import (
  clip_sources,
  donors,
  flows,
  laws,
  machine,
  notebook,
  publish,
  results,
  run,
  sampled,
  scoring,
  trained,
  weights,
)
from hgdt_jax import workdir as workdirs
from hgdt_jax.clip_decoder import Cut
from hgdt_jax.metrics import score
from hgdt_jax.notebook import show, show_flow, show_over
from hgdt_jax.request import Request
from input_pipeline import prepare as prepared

__all__ = ['config', 'evaluate', 'load', 'prepare', 'show', 'show_flow', 'show_over', 'train']

RECIPES = 'configs'  # the package that recipes are modules of
_DEFAULT = 'hybrid'
_COMPARED = ('frechet_random_conv3d', 'motion_ratio')


class Model:
  """A trained workdir or published weights, to draw from.

  Attributes:
    workdir: where it is; None of weights.
    about: of weights, what is known of them: data, licence, versions, steps, scores.
    methods: the ways to sample that its stages allow.
    fps: frames a second of its clips.
  """

  def __init__(self, donor: donors.Donor):
    self._donor, is_run = donor, isinstance(donor, donors.Run)
    self.workdir = donor.workdir if is_run else None
    self.about = {} if is_run else donor.about
    workdirs.use_compile_cache(donor.cache)
    self._trained = trained.Trained.load(donor)
    self.methods, self.fps = self._trained.methods, self._trained.cfg.data.fps

  def sample(self, method: str = 'hybrid', num: int = 8, **asked: Any) -> np.ndarray:
    """Draws clips, uint8 `[num, T, H, W, C]`; those that the verb `sample` writes for the same.

    Args:
      method: one of `methods`, or of the grid in hgdt_jax/methods.py.
      num: how many.
      **asked: `steps`, `tau`, `seed`, `label`, `frames`, `sampler`, `guidance`, ...: see `Request`.

    Raises:
      TypeError: there is nothing of that name to be asked for.
      ValueError: the model cannot do what is asked.
    """
    return sampled.draw(self._trained, Request(method=method, num=num, **asked))

  def write(
    self, out: str | os.PathLike, num: int = 16, *, clip_format: str = 'mp4', **asked: Any
  ) -> None:
    """Writes what `sample` draws to a folder, as the verb `sample`, whose formats there are.

    Raises: as `sample`; ValueError where `out` holds other things than clips.
    """
    asked = Request(num=num, **asked)
    sampled.write(self._donor, pathlib.Path(out).expanduser(), asked, clip_format)

  def export(self, path: str | os.PathLike, dtype: str = 'float16', **about: str) -> None:
    """Writes the weights of a run as one file that `load` reads, as the verb `export`.

    Args:
      dtype: 'float32' or 'float16'.
      **about: `data` and `licence`, a line each.

    Raises:
      ValueError: this is no run, or nothing of it is done.
    """
    if self.workdir is None:
      raise ValueError('these are weights already')
    path = pathlib.Path(path).expanduser()
    weights.write(publish.of_run(self.workdir, **about), path, dtype)

  def clips(self, num: int = 8) -> np.ndarray:
    """Real clips that were held out, uint8 `[num, T, H, W, C]`.

    Raises:
      ValueError: they are files, and weights do not know where.
    """
    return self._held_out(num)['video']

  def at_tau(
    self, tau: float, num: int = 4, seed: int = 0, label: int = -1
  ) -> dict[str, np.ndarray]:
    """What becomes of drafts at a noise level, `{name: clips}`, clips as of `sample`.

    'draft': of the generator as the last stage left it; 'diffused' to tau, at a contrast that no
    noise exceeds; 'refined': what the hybrid makes of that.
    """
    rows, model = np.full(num, label), self._trained
    steps = model.cfg.hybrid.steps
    return {
      'draft': model.draw('draft', rows, seed, steps=0, tau=0.0),
      'diffused': model.draft_at('hybrid', rows, seed, tau),
      'refined': model.draw('hybrid', rows, seed, steps=steps, tau=tau),
    }

  def over_tau(
    self, taus: Sequence[float], num: int = 2, seed: int = 0
  ) -> dict[float, dict[str, np.ndarray]]:
    """`at_tau` of each, `{tau: {name: clips}}`: what `show_over` makes a slider of."""
    return {tau: self.at_tau(tau, num, seed) for tau in taus}

  def flow(self, clips: np.ndarray, t: float = 0.0) -> np.ndarray:
    """Where the finest aligner looks for each pixel in the frame before.

    Args:
      clips: uint8 `[N, T, H, W, C]`.
      t: the noise level that it sees them at.

    Returns:
      `[N, T-1, H, W, 2]` in pixels, (x, y).

    Raises:
      ValueError: there is no aligner.
    """
    field, _ = flows.of_clips(self._trained, clips, np.full(len(clips), -1), t)[-1]
    factor = clips.shape[2] // field.shape[2]
    return field.repeat(factor, axis=2).repeat(factor, axis=3) * factor

  def two_samples(self, taus: Sequence[float], num: int = 64) -> str:
    """Whether drafts pass for clips, both diffused to tau: a table of two-sample tests.

    Rows 'gan' are of the generator before the stage joint, 'hybrid' after it. Raises as `clips`.
    """
    rows = laws.truncation(self._trained, self._held_out(num), taus, ('gan', 'hybrid'))
    lines = [f'{"tau":6}{"drafts of":12}{"statistic":>11}{"p":>9}']
    for row in rows:
      lines.append(
        f'{row["tau"]:<6g}{row["method"]:12}{row["statistic"]:11.4f}{row["p_value"]:9.3f}'
      )
    return '\n'.join(lines)

  def compare(
    self, methods: Sequence[str], num: int = 64, metrics: Sequence[str] = _COMPARED, seed: int = 0
  ) -> str:
    """Methods side by side, drawn from the same codes and noise: a table of scores.

    Args:
      methods: of `methods`, or of the grid in hgdt_jax/methods.py, each part of the hybrid on and
        off.
      num: clips of each, scored against as many real ones.

    Raises: as `sample`, `clips` and `evaluate`.
    """
    real, rows = self.clips(num), []
    for method in methods:
      steps = self._trained.cfg.hybrid.steps
      rows.append(
        {
          'method': method,
          'network_evaluations': self._trained.evaluations(method, steps),
          'seconds_per_clip': None,  # the first call compiles: benchmarks/realtime.py
          'metrics': evaluate(real, self.sample(method, num, seed=seed), metrics),
        }
      )
    return results.table(rows)

  def table(self) -> str:
    """Scores of all methods side by side, as `train` measured them.

    Raises:
      FileNotFoundError: the run has not come to its end.
    """
    rows = self.about.get('results', []) if self.workdir is None else results.read(self.workdir)
    return results.table(rows)

  @property
  def report(self) -> pathlib.Path:
    """The page that says what the run gave; it needs nothing beside it.

    Raises:
      FileNotFoundError: there is none.
    """
    if self.workdir is None:
      raise FileNotFoundError('weights have no report; `about` has their scores')
    return self.workdir / 'report' / 'index.html'

  def show_report(self, height: int = 800) -> None:
    """Shows the report in a notebook, so many pixels high. ImportError: as `show`."""
    from IPython import display

    page = html.escape(self.report.read_text(encoding='utf-8'))
    frame = f'<iframe srcdoc="{page}" width="100%" height="{height}"></iframe>'
    display.display({'text/html': frame}, raw=True)

  def _held_out(self, num):
    cfg = self._trained.cfg
    if self.workdir is None and cfg.data.source != 'synthetic':
      raise ValueError('weights do not know where clips lie; load the workdir of a run')
    with tempfile.TemporaryDirectory() as nowhere:  # for a list of files that cannot be read
      source = clip_sources.of(cfg, 'test', self.workdir or pathlib.Path(nowhere))
    return input_pipeline.fixed(source, num)


def config(recipe: str = _DEFAULT, /, **changes: Any) -> ConfigDict:
  """A recipe as a configuration that can be changed and trained.

  Args:
    recipe: 'NAME' or 'NAME:PRESET', of a file in configs/; or a preset of configs/hybrid.py.
    **changes: fields by their path, `**{'gan.steps': 200}`. All of them, with their meaning, are in
      configs/base.py.

  Raises:
    ValueError: there is no such recipe, preset or field, or a value is not of its field's type.
  """
  name, _, preset = recipe.partition(':')
  if name in importlib.import_module(f'{RECIPES}.{_DEFAULT}').PRESETS:
    name, preset = _DEFAULT, name
  try:
    module = importlib.import_module(f'{RECIPES}.{name}')
  except ModuleNotFoundError as error:
    raise ValueError(f'{recipe!r}: no recipe of that name in {RECIPES}/, nor a preset') from error
  made = (module.get_config(preset) if preset else module.get_config()).lock()
  try:
    made.update_from_flattened_dict(changes)
  except (KeyError, TypeError) as error:
    raise ValueError(f'no such field, or not of its type: {error.args[0]}') from error
  return made


def train(config: ConfigDict | Mapping[str, Any], workdir: str | os.PathLike) -> Model:
  """Trains every stage, samples all ways, scores them and writes the report, as the verb `main`.

  A run that was stopped goes on when the call is repeated. In a notebook its curves and what it
  draws on its way are shown meanwhile.

  Raises: as `run.main`; ValueError for a workdir without a name.
  """
  if not os.fspath(workdir):
    raise ValueError("workdir is '', which would be the current folder; name one")
  workdir = pathlib.Path(workdir).expanduser()
  with notebook.following(workdir):
    run.main(config, workdir)
  return Model(donors.Run(workdir))


def load(source: str | os.PathLike) -> Model:
  """What a workdir has come to, at any moment of its run; or published weights.

  Args:
    source: a workdir, a file that the verb `export` wrote, or the name of shipped weights:
      'synthetic', 'gestures'.

  Raises: as `machine.start`, `donors.find` and `Trained.load`.
  """
  machine.start()
  return Model(donors.find(source))


def prepare(
  path: str | os.PathLike, out: str | os.PathLike, *, frames: int, size: int, **options: Any
) -> dict[str, int]:
  """Decodes a folder of clips once, as the verb `prepare`; goes on with what is there.

  What it finds in the folder is printed.

  Args:
    frames: of a clip.
    size: height and width of a clip, in pixels.
    **options: of `python -m input_pipeline.prepare`: `fps`, `stride`, `test_share`, `labels`, ...

  Returns:
    Clips of each split.

  Raises:
    ValueError, OSError: there is nothing that can be used, or `out` holds another set.
  """
  options = {'path': str(path), 'frames': frames, 'size': size, 'seed': 0} | options
  splits, workers = ('train', 'test'), os.cpu_count()
  return prepared.prepare_source('folder', out, splits, options, workers=workers)


def evaluate(
  real: np.ndarray | str | os.PathLike,
  fake: np.ndarray | str | os.PathLike,
  metrics: Sequence[str] = ('frechet_random_conv3d', 'motion_ratio'),
  weights: str | os.PathLike | None = None,
  *,
  frames: int = 16,
) -> dict[str, float]:
  """Scores clips against real ones; both sides are arrays, or both folders.

  Args:
    real: uint8 `[N, T, H, W, C]`; or a folder of clips, of which is printed what it was taken for.
    fake: the same, from any trainer. The verb `evaluate` has more options for folders.
    metrics: names, of `python -m hgdt_jax.main --list`.
    weights: folder of converted weights of feature networks; None for those of packages.
    frames: of the clips that are cut from files.

  Raises: as `metrics.score.score_sets`.
  """
  if isinstance(real, np.ndarray):
    found = score.score_clips(real, fake, metrics, weights)
  else:
    folders = (pathlib.Path(side).expanduser() for side in (real, fake))
    cut = Cut(frames=frames)
    found = scoring.score_folders(*folders, metrics, cut, weights, say=print).scores
  return {name: one.value for name, one in found.items()}
