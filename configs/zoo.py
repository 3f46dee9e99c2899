"""Published GANs as drafts of the hybrid: `--config=configs/zoo.py:NAME` or `:NAME,small`.

vgan        Vondrick et al. 2016: a masked foreground over a still background; 32 frames of 64x64
vgan_image  the same, which goes on from an image
mocogan     Tulyakov et al. 2018: a still content and a recurrent motion, 16 frames of 64x64
imaginator  Wang et al. 2020: goes on from an image and a class; 32 frames of 64x64

Plain, a GAN has the size, the rate and the batch it was published with; `small` is for 8 frames of
32x32 on two CPU cores. Drafts of vgan and imaginator have no latents: the refiner is told none.
"""

import ml_collections

from configs import base, hybrid

NAMES = ('vgan', 'vgan_image', 'mocogan', 'imaginator')
PRESETS = tuple(preset for name in NAMES for preset in (name, f'{name},small'))


def get_config(preset: str = 'vgan,small'):
  if preset not in PRESETS:
    raise ValueError(f'configs/zoo.py:{preset}: no such preset; want {" or ".join(PRESETS)}')
  name, _, small = preset.partition(',')
  config = hybrid.small(base.get_config()) if small else base.get_config()
  recipes = {'vgan': vgan, 'vgan_image': vgan_image, 'mocogan': mocogan, 'imaginator': imaginator}
  return recipes[name](config, bool(small))


def vgan(config, small: bool):
  config.draft = draft = ml_collections.ConfigDict()
  draft.name = 'vgan'
  draft.code_size = 64 if small else 100
  draft.width = 16 if small else 64  # features of the largest maps of both streams
  draft.critic_width = 16 if small else 64
  # 'strided': convolutions of 4, stride 2; 'repeated': of repeated pixels, faster on CPUs
  draft.resampling = 'repeated' if small else 'strided'
  draft.mask_weight = 0.1  # of the mask's mean in the generator's loss
  # Of the distance between a given image and the first frame; 0: no image is given, but a code.
  draft.image_weight = 0.0
  config.aligner.latents = 'none'
  config.gan.update(learning_rate=2e-4, ema_decay=0.0)
  if small:  # those of hybrid.py:small are for a GAN that learns five times as fast
    config.gan.steps = 1500
    config.joint.update(learning_rate=1e-4, critic_learning_rate=2e-4)
  if not small:
    config.data.update(frames=32, batch=64)
  return config


def vgan_image(config, small: bool):
  config = vgan(config, small)
  config.draft.update(mask_weight=0.0, image_weight=10.0)
  if not small:
    config.draft.update(width=128, critic_width=128)
    config.data.batch = 32
  return config


def mocogan(config, small: bool):
  config.draft = draft = ml_collections.ConfigDict()
  draft.name = 'mocogan'
  draft.content_size = 32 if small else 50  # of the code per clip
  draft.motion_size = 8 if small else 10  # of the recurrent network's state, and of what it is fed
  draft.width = 32 if small else 64  # features of the largest maps
  draft.critic_width = 16 if small else 64
  draft.noise = 0.1  # deviation of what critics add to their maps in training
  # Of the first weights. 0: PyTorch's, as the original's, four times as large next to the pixels:
  # after 900 steps drafts were noise.
  draft.init_deviation = 0.02 if small else 0.0
  config.gan.update(learning_rate=2e-4, ema_decay=0.0)
  if small:  # an average of the weights: docs/zoo.md has what else was tried
    config.gan.update(steps=2000, ema_decay=0.995)
    config.joint.update(learning_rate=1e-4, critic_learning_rate=2e-4)
  if not small:  # noise and batch are those of its users; its code begins with none and 3 clips
    config.gan.steps = 100_000
    config.data.update(frames=16, batch=32, stride=2)
  return config


def imaginator(config, small: bool):
  config.draft = draft = ml_collections.ConfigDict()
  draft.name = 'imaginator'
  draft.code_size = 128 if small else 512
  draft.appearance_size = 32 if small else 100  # of the image as a code
  draft.width = 16 if small else 64  # features of the encoder's largest maps
  # Features of the decoder where time has grown and space not yet, a block each, from the smallest.
  draft.time_widths = (256, 128, 64, 24) if small else (4096, 3072, 1536, 768, 36)
  draft.critic_width = 16 if small else 64
  draft.l1_weight = 100.0  # of the mean absolute distance to the clip that the image is of
  config.aligner.latents = 'none'
  config.gan.update(learning_rate=2e-4, ema_decay=0.0)
  if small:  # an average of the weights: without it scores go up and down by a quarter
    config.gan.update(steps=2500, ema_decay=0.99)
    config.joint.update(learning_rate=1e-4, critic_learning_rate=2e-4)
  if not small:
    config.data.update(frames=32, batch=64)
  return config
