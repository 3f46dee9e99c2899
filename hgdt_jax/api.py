"""The verbs from Python: what `import hgdt_jax` gives, in one place.

import hgdt_jax as h

model = h.train(h.config('small', **{'gan.steps': 200}), 'runs/mine')
h.show(model.sample(method='hybrid', num=8, steps=4, seed=0))
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

from hgdt_jax import donors, results, run, sampled, trained
from hgdt_jax import workdir as workdirs
from hgdt_jax.metrics import score
from hgdt_jax.request import Request
from hgdt_jax.sampling import clips as files

RECIPES = 'configs'  # the package that recipes are modules of
_DEFAULT = 'hybrid'


class Model:
  """A trained workdir or published weights, to draw from.

  Attributes:
    workdir: where it is; None of weights.
    about: of weights, what is known of them: data, licence, versions, steps, scores.
    methods: the ways to sample that its stages allow.
    fps: frames a second of its clips.
  """

  def __init__(self, donor: donors.Donor):
    is_run = isinstance(donor, donors.Run)
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

  A run that was stopped goes on when the call is repeated.

  Raises: as `run.main`.
  """
  workdir = pathlib.Path(workdir)
  run.main(config, workdir)
  return Model(donors.Run(workdir))


def load(source: str | os.PathLike) -> Model:
  """What a workdir has come to, at any moment of its run; or published weights.

  Args:
    source: a workdir, a file that the verb `export` wrote, or the name of shipped weights:
      'synthetic'.

  Raises: as `donors.find` and `Trained.load`.
  """
  return Model(donors.find(source))


def evaluate(
  real: np.ndarray,
  fake: np.ndarray,
  metrics: Sequence[str] = ('frechet_random_conv3d', 'motion_ratio'),
  weights: str | os.PathLike | None = None,
) -> dict[str, float]:
  """Scores clips uint8 `[N, T, H, W, C]` against real ones; files are for the verb `evaluate`.

  Args:
    metrics: names, of `python -m hgdt_jax.main --list`.
    weights: folder of converted weights of feature networks; None for those of packages.

  Raises: as `metrics.score.score_sets`.
  """
  found = score.score_clips(real, fake, metrics, weights)
  return {name: one.value for name, one in found.items()}


def show(clips: np.ndarray, fps: float = 8.0) -> None:
  """Plays clips uint8 `[N, T, H, W, C]` in a notebook, and lays their frames out below.

  Raises:
    ImportError: there is no IPython, so no notebook.
  """
  from IPython import display

  with tempfile.TemporaryDirectory() as folder:
    playing, strip = pathlib.Path(folder) / 'clips.gif', pathlib.Path(folder) / 'strip.png'
    files.write_gif(files.grid(clips), playing, fps)
    files.write_film_strip(clips, strip)
    display.display(display.Image(playing.read_bytes(), format='gif'))
    display.display(display.Image(strip.read_bytes(), format='png'))
