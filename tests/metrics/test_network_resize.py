"""Bilinear resizing against rows of TensorFlow's, jax.image and plain interpolation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hgdt_jax.metrics.networks import resize


@pytest.mark.parametrize(
  ('rule', 'row'), [('tf1', 'legacy_row_A000'), ('half_pixel', 'halfpixel_row_A000')]
)
def test_rows_of_tensorflow(golden_dir, golden_inputs, rule, row):
  """Row 100 of a frame, 64 -> 224, as TensorFlow 1 and 2 resize it."""
  frame = jnp.asarray(golden_inputs.moving_blobs(n=1)[0, :1], jnp.float32)
  with np.load(golden_dir / 'tf_golden.npz') as archive:
    expected = archive[row]
  got = resize.bilinear(frame, 224, rule)[0, 100, :, 0]
  np.testing.assert_allclose(got, expected, atol=1e-3)


@pytest.mark.parametrize(('size', 'new'), [((20, 33), 14), ((20, 33), 57)])
@pytest.mark.parametrize(('rule', 'antialias'), [('half_pixel', False), ('antialias', True)])
def test_agrees_with_jax_image(size, new, rule, antialias):
  images = jnp.asarray(np.random.default_rng(0).random((2, *size, 3)), jnp.float32)
  expected = jax.image.resize(images, (2, new, new, 3), 'bilinear', antialias=antialias)
  np.testing.assert_allclose(resize.bilinear(images, new, rule), expected, atol=1e-5)


def test_tf1_takes_pixels_at_multiples_of_the_step():
  ramp = jnp.arange(8.0)[None, :, None, None] + jnp.zeros((1, 8, 8, 1))
  out = resize.bilinear(ramp, 16, 'tf1')[0, :, 0, 0]
  np.testing.assert_allclose(out, np.minimum(np.arange(16) / 2, 7.0), atol=1e-6)


def test_unknown_rule_names_the_choices():
  with pytest.raises(ValueError, match='half_pixel, tf1, antialias'):
    resize.bilinear(jnp.zeros((1, 4, 4, 1)), 8, 'cubic')
