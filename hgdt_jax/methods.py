"""Every way to sample, once: what it starts from, what its denoiser is told and may do.

Pure data. Configuration, sampler, comparison, report and plots read it; two methods of which one
field differs are an experiment on that field, from the same weights, codes and noise.
"""

import dataclasses
import itertools

LATENTS = ('none', 'gan', 'bridge')


@dataclasses.dataclass(frozen=True)
class Method:
  """One way to sample, by the name of its folder in samples/.

  Attributes:
    label: for people.
    meaning: what it is, in a line.
    colours: in plots, on light and on dark paper; '': that of what is not named.
    marker: in plots, matplotlib's.
    draws_from: stages, in their order: the last that trained a network lends it.
    needs: stages without which there is nothing to draw, beside one that trains each network.
    drafted: it starts from the GAN's draft, diffused to tau; else from pure noise.
    refined: the denoiser walks from there; else the draft is the clip.
    mixing: frames see each other through the denoiser's temporal layers.
    aligned: the aligner is on.
    latents: what the denoiser is told: 'none'; 'gan', the w of a draft; 'bridge', what the bridge
      makes of the noisy clip or, where it was trained on clean clips, of the draft; 'trained', what
      goes with the denoiser's training, see `as_trained`.
    sampler: '' for the configured one.
    continues: it can be given a first frame.
  """

  label: str
  meaning: str
  colours: tuple[str, str] = ('', '')
  marker: str = '.'
  draws_from: tuple[str, ...] = ('gan', 'diffusion', 'aligner', 'joint')
  needs: tuple[str, ...] = ()
  drafted: bool = False
  refined: bool = True
  mixing: bool = True
  aligned: bool = False
  latents: str = 'none'
  sampler: str = ''
  continues: bool = False

  def as_trained(self, latents: str) -> 'Method':
    """With 'trained' resolved; `latents` as config.aligner has it.

    A denoiser that learnt with the bridge's guess from noisy clips is told just that of drafts; one
    that learnt with those of clean clips, the w of the draft.
    """
    if self.latents != 'trained':
      return self
    told = {'none': 'none', 'clean': 'gan', 'noised': 'bridge'}[latents]
    return dataclasses.replace(self, latents=told)

  @property
  def networks(self) -> tuple[str, ...]:
    """Those it draws with."""
    used = {
      'generator': self.drafted or self.latents != 'none',
      'denoiser': self.refined,
      'bridge': self.latents == 'bridge',
    }
    return tuple(name for name, is_used in used.items() if is_used)


# The single models are those of the stages that trained them for themselves: a generator that need
# only be right down to tau would be a poor GAN.
METHODS = {
  'gan': Method(
    'GAN',
    'the draft: one pass of the generator',
    ('#cf6a17', '#f0964a'),
    's',
    draws_from=('gan',),
    drafted=True,
    refined=False,
    continues=True,
  ),
  'diffusion_frames': Method(
    'Diffusion, per frame',
    'the denoiser with time mixing switched off',
    ('#0f9488', '#3cc4b6'),
    '^',
    draws_from=('diffusion',),
    mixing=False,
  ),
  'diffusion': Method(
    'Diffusion, video',
    'the denoiser from pure noise, without the aligner',
    ('#3a6fe0', '#7ea6ff'),
    'o',
    draws_from=('diffusion',),
    continues=True,
  ),
  'hybrid': Method(
    'Hybrid',
    'the GAN draft, noised to tau, refined by the aligned denoiser',
    ('#b4318a', '#ee7fc8'),
    'D',
    drafted=True,
    aligned=True,
    latents='trained',
    continues=True,
  ),
  'hybrid_fewstep': Method(
    'Hybrid, few steps',
    'the same, the denoiser trained to take long steps',
    ('#6d3bd1', '#b79cff'),
    'P',
    draws_from=('gan', 'diffusion', 'aligner', 'joint', 'fewstep'),
    needs=('fewstep',),
    drafted=True,
    aligned=True,
    latents='trained',
    sampler='ddpm',  # trained to draw from the posterior
  ),
}


def grid_name(drafted: bool, mixing: bool, aligned: bool, latents: str) -> str:
  """Such as draft_video_aligned_gan and noise_frames."""
  parts = ['draft' if drafted else 'noise', 'video' if mixing else 'frames']
  parts += ['aligned'] * aligned + [latents] * (latents != 'none')
  return '_'.join(parts)


def _grid():
  """Each part of the hybrid on and off, all drawn with the weights of the last stage."""
  on = (False, True)
  for drafted, mixing, aligned, latents in itertools.product(on, on, on, LATENTS):
    said = (
      'draft' if drafted else 'noise',
      'frames see each other' if mixing else 'each frame alone',
      'aligner' if aligned else 'no aligner',
      {'none': 'no latents', 'gan': "the GAN's latents", 'bridge': "the bridge's latents"}[latents],
    )
    yield (
      grid_name(drafted, mixing, aligned, latents),
      Method(
        ', '.join(said),
        'the weights of the last stage; ' + ', '.join(said),
        drafted=drafted,
        mixing=mixing,
        aligned=aligned,
        latents=latents,
      ),
    )


GRID = dict(_grid())
# The draft that the grid refines: the generator of the last stage that trained it.
GRID['draft'] = Method(
  'draft, unrefined', 'the weights of the last stage', drafted=True, refined=False
)


def find(name: str) -> Method:
  """ValueError with the choices for an unknown name."""
  if found := METHODS.get(name) or GRID.get(name):
    return found
  raise ValueError(f'no method {name!r}; there are {", ".join((*METHODS, *GRID))}')
