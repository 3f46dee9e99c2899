"""PSNR and SSIM against their definition and golden values."""

import numpy as np
import pytest

from hgdt_jax.metrics import image


@pytest.fixture(scope='module')
def pair():
  rng = np.random.default_rng(0)
  real = rng.integers(0, 256, (2, 3, 24, 20, 3), dtype=np.uint8)
  noise = rng.integers(-30, 31, real.shape)
  return real, np.clip(real + noise, 0, 255).astype(np.uint8)


def test_psnr_is_of_the_mean_squared_error(pair):
  real, fake = pair
  error = np.square(real.astype(np.float64) - fake)
  for psnr, axes in ((image.psnr, (2, 3, 4)), (image.psnr_video, (1, 2, 3, 4))):
    want = 10 * np.log10(255**2 / error.mean(axis=axes))
    np.testing.assert_allclose(psnr(real, fake), want, atol=1e-9)


@pytest.mark.parametrize('window', ['gaussian', 'uniform'])
def test_ssim_is_the_mean_over_channels(pair, window):
  real, fake = pair
  each = [image.ssim(real[..., c : c + 1], fake[..., c : c + 1], window) for c in range(3)]
  np.testing.assert_allclose(image.ssim(real, fake, window), np.mean(each, axis=0), atol=1e-9)


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
