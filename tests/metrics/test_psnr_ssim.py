"""PSNR and SSIM against scikit-image and golden values."""

import numpy as np
import pytest
from skimage import metrics as reference

from hgdt_jax.metrics import image


@pytest.fixture(scope='module')
def pair():
  rng = np.random.default_rng(0)
  real = rng.integers(0, 256, (2, 3, 24, 20, 3), dtype=np.uint8)
  noise = rng.integers(-30, 31, real.shape)
  return real, np.clip(real + noise, 0, 255).astype(np.uint8)


def test_psnr_equals_skimage(pair):
  real, fake = pair
  got = image.psnr(real, fake)
  assert got.shape == (2, 3)
  for i in np.ndindex(2, 3):
    assert got[i] == pytest.approx(reference.peak_signal_noise_ratio(real[i], fake[i]), abs=1e-9)
  for i in range(2):
    want = reference.peak_signal_noise_ratio(real[i], fake[i])
    assert image.psnr_video(real, fake)[i] == pytest.approx(want, abs=1e-9)


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize(
  ('window', 'options'),
  [
    ('gaussian', {'gaussian_weights': True, 'sigma': 1.5, 'use_sample_covariance': False}),
    ('uniform', {}),
  ],
)
def test_ssim_equals_skimage(pair, window, options, channels):
  real, fake = (x[..., :channels] for x in pair)
  got = image.ssim(real, fake, window)
  for i in np.ndindex(2, 3):
    want = reference.structural_similarity(real[i], fake[i], channel_axis=-1, **options)
    assert got[i] == pytest.approx(want, abs=1e-9)


@pytest.mark.parametrize(('name', 'key'), [('jitter', 'B'), ('noise', 'N')])
def test_golden_values(golden_dir, golden, golden_inputs, name, key):
  arrays = np.load(golden_dir / 'psnr_ssim_golden.npz')
  real = golden_inputs.moving_blobs(4)
  noise = np.floor((golden_inputs.rng(99).random(real.shape) - 0.5) * 61)
  fake = {
    'B': golden_inputs.moving_blobs(4, jitter=3),
    'N': np.clip(real + noise, 0, 255).astype(np.uint8),
  }[key]
  for which, clips in (('A', real), (key, fake)):
    assert golden_inputs.sha(clips) == golden['psnr_ssim']['sha256'][which]
  psnr = image.psnr(real, fake)
  np.testing.assert_allclose(psnr, arrays[f'{name}__psnr_skimage'], atol=1e-5)
  finite = np.isfinite(psnr)
  want = golden['psnr_ssim']['means'][name]['psnr_skimage']
  assert psnr[finite].mean() == pytest.approx(want, abs=1e-9)
  assert (~finite).sum() == golden['psnr_ssim']['n_inf_psnr'][name]
  for window, want in (
    ('gaussian', 'ssim_skimage_gauss_wang'),
    ('uniform', 'ssim_skimage_default7'),
  ):
    np.testing.assert_allclose(image.ssim(real, fake, window), arrays[f'{name}__{want}'], atol=1e-5)


def test_equal_frames(pair):
  real, _ = pair
  assert np.isposinf(image.psnr(real, real)).all()
  assert np.isposinf(image.psnr_video(real, real)).all()
  np.testing.assert_allclose(image.ssim(real, real), 1.0)


def test_clear_errors(pair):
  real, fake = pair
  with pytest.raises(ValueError, match='equal shapes'):
    image.psnr(real, fake[:1])
  with pytest.raises(ValueError, match='uint8'):
    image.ssim(real, fake / 255.0)
  with pytest.raises(ValueError, match='frames of 11 pixels'):
    image.ssim(real[..., :8, :], fake[..., :8, :])
  with pytest.raises(ValueError, match='choose from gaussian, uniform'):
    image.ssim(real, fake, 'box')
