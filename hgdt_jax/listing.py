"""All that a configuration can name, with a line of meaning each."""

from hgdt_jax import methods
from hgdt_jax.autoencoders import AUTOENCODERS
from hgdt_jax.denoisers import DENOISERS
from hgdt_jax.diffusion.samplers import SAMPLERS
from hgdt_jax.gans import GANS
from hgdt_jax.losses.adversarial import OBJECTIVES
from hgdt_jax.metrics.table import METRICS
from hgdt_jax.report import meanings
from hgdt_jax.stages import STAGES
from input_pipeline import SOURCES


def text() -> str:
  """A block for each registry, and where its names are used."""
  meaning = lambda registry: {name: one.meaning for name, one in registry.items()}
  blocks = {
    'GANs (draft.name)': meaning(GANS),
    'autoencoders (space.name)': meaning(AUTOENCODERS),
    'denoisers (denoiser.name)': meaning(DENOISERS),
    'stages': meaning(STAGES),
    'methods (sample --method)': meaning(methods.METHODS),
    'samplers (hybrid.sampler)': meaning(SAMPLERS),
    "adversarial losses (a GAN's objective)": meaning(OBJECTIVES),
    'metrics (evaluation.metrics)': {n: _metric(n, one) for n, one in METRICS.items()},
    'sources (data.source)': meaning(SOURCES),
  }
  return '\n\n'.join(f'{title}\n{_table(names)}' for title, names in blocks.items())


def _metric(name, metric):
  said = meanings.metric(name).meaning or metric.facts.get('definition', '')
  return f'{said} Best: {metric.better}.'


def _table(meanings_of):
  width = max(map(len, meanings_of))
  return '\n'.join(f'  {name.ljust(width)}  {said}' for name, said in meanings_of.items())
