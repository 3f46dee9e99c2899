"""What is asked of the compiler."""

import pytest

from hgdt_jax import effort


@pytest.mark.parametrize(
  'flags, platform, options',
  [
    ('', 'cpu', {'xla_backend_optimization_level': 1}),
    ('--xla_backend_optimization_level=3', 'cpu', None),  # whoever asks gets it
    ('', 'tpu', None),
  ],
)
def test_what_is_asked_of_the_compiler(monkeypatch, flags, platform, options):
  monkeypatch.setenv('XLA_FLAGS', flags)
  assert effort.options(1, platform) == options
