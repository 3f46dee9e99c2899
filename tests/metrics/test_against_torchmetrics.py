"""The arithmetic of FID, IS, KID, PSNR and SSIM beside torchmetrics, on the same features."""

import numpy as np
import pytest

from hgdt_jax.metrics import frechet, image, inception_score, kernel

torchmetrics = pytest.importorskip(
  'torchmetrics', reason='torchmetrics is not installed (extra: reference)'
)
torch = pytest.importorskip('torch', reason='torch is not installed (extra: reference)')
fid, inception, kid = (
  pytest.importorskip(f'torchmetrics.image.{name}') for name in ('fid', 'inception', 'kid')
)


@pytest.fixture(scope='module')
def sets():
  """Images of 3x2x2 pixels whose 12 values are the features."""
  rng = np.random.default_rng(0)
  draw = lambda low, high: rng.integers(low, high, (80, 3, 2, 2), dtype=np.uint8)
  return draw(0, 200), draw(40, 256)


@pytest.fixture(scope='module')
def pixels():
  class Pixels(torch.nn.Module):
    num_features = 12

    def forward(self, images):
      return images.reshape(len(images), -1).double() / 64

  return Pixels()


def features(images):
  return images.reshape(len(images), -1).astype(np.float64) / 64


def updated(metric, sets):
  metric.update(torch.from_numpy(sets[0]), real=True)
  metric.update(torch.from_numpy(sets[1]), real=False)
  return metric.compute()


def test_fid(sets, pixels):
  metric = fid.FrechetInceptionDistance(feature=pixels).set_dtype(torch.float64)
  a, b = (frechet.Moments.from_features(features(x)) for x in sets)
  want = float(updated(metric, sets))
  assert frechet.frechet_distance(a, b, 1) == pytest.approx(want, rel=1e-6)


def test_kid(sets, pixels):
  metric = kid.KernelInceptionDistance(feature=pixels, subsets=1, subset_size=len(sets[0]))
  want = float(updated(metric, sets)[0])
  got = kernel.kernel_distance(features(sets[0]), features(sets[1]))
  assert got == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize('splits', [1, 4])
def test_inception_score(sets, pixels, splits):
  metric = inception.InceptionScore(feature=pixels, splits=splits)
  metric.update(torch.from_numpy(sets[0]))
  torch.manual_seed(0)
  mean, std = (float(v) for v in metric.compute())
  torch.manual_seed(0)
  order = torch.randperm(len(sets[0])).numpy()
  ours = inception_score.inception_score(features(sets[0])[order], splits, shuffle=False)
  assert ours[0] == pytest.approx(mean, rel=1e-5)
  if splits > 1:  # torch divides the variance by splits - 1
    assert ours[1] * np.sqrt(splits / (splits - 1)) == pytest.approx(std, rel=1e-4)


def test_psnr(sets):
  real, fake = (x[:, None].transpose(0, 1, 3, 4, 2) for x in sets)
  psnr = torchmetrics.image.PeakSignalNoiseRatio(data_range=255.0, dim=(1, 2, 3), reduction='none')
  want = psnr(torch.from_numpy(sets[1]).double(), torch.from_numpy(sets[0]).double())
  np.testing.assert_allclose(image.psnr(real, fake)[:, 0], want.numpy(), rtol=1e-5)


def test_ssim():
  rng = np.random.default_rng(0)
  real = rng.integers(0, 256, (2, 24, 20, 3), dtype=np.uint8)
  fake = np.clip(real + rng.integers(-30, 31, real.shape), 0, 255).astype(np.uint8)
  channels_first = [torch.from_numpy(x).double().permute(0, 3, 1, 2) for x in (fake, real)]
  ssim = torchmetrics.image.StructuralSimilarityIndexMeasure(
    data_range=255.0, reduction='none', return_full_image=True
  )
  _, everywhere = ssim(*channels_first)  # of padded frames at the edge, which ours leaves out
  want = everywhere[..., 5:-5, 5:-5].mean((1, 2, 3)).numpy()
  np.testing.assert_allclose(image.ssim(real, fake), want, atol=1e-9)
