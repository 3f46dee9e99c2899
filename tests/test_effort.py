"""What is asked of the compiler."""

import jax
import pytest

from hgdt_jax import effort

LEVEL = {'xla_backend_optimization_level': 1}
FUSED = {'xla_cpu_experimental_ynn_fusion_type': 'LIBRARY_FUSION_TYPE_ELTWISE'}


@pytest.mark.parametrize(
  'version, flags, platform, options',
  [
    ((0, 10, 2), '', 'cpu', LEVEL | FUSED),
    ((0, 11, 0), '', 'cpu', LEVEL),
    # Whoever asks gets it.
    ((0, 10, 2), '--xla_backend_optimization_level=3', 'cpu', FUSED),
    ((0, 10, 2), '--xla_cpu_experimental_ynn_fusion_type=-eltwise', 'cpu', LEVEL),
    ((0, 11, 0), '--xla_backend_optimization_level=3', 'cpu', None),
    ((0, 10, 2), '', 'tpu', None),
  ],
)
def test_what_is_asked_of_the_compiler(monkeypatch, version, flags, platform, options):
  monkeypatch.setattr(jax, '__version_info__', version)
  monkeypatch.setenv('XLA_FLAGS', flags)
  assert effort.options(1, platform) == options


def test_this_compiler_understands_it(monkeypatch):
  monkeypatch.setenv('XLA_FLAGS', '')
  asked = effort.options(1, 'cpu')
  assert jax.jit(lambda x: x + 1, backend='cpu', compiler_options=asked)(1) == 2
