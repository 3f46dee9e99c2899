"""Signatures say the shapes of their arrays, and the checker that `conftest.py` installs is on."""

import importlib
import inspect
import pkgutil
import typing
from collections.abc import Callable

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from jaxtyping import Array, Float

from hgdt_jax import diffusion, losses, metrics, models
from hgdt_jax.diffusion import schedules
from hgdt_jax.losses import temporal
from hgdt_jax.metrics import content
from hgdt_jax.models import layers

PACKAGES = (diffusion, losses, metrics, models)
MODULES = [
  module.name
  for package in PACKAGES
  for module in pkgutil.walk_packages(package.__path__, f'{package.__name__}.')
]
UNSAID = inspect.Signature.empty


def _public(module):
  """What a module says, by name, of the arguments, results and fields that it lends to others."""
  for name, value in vars(module).items():
    if name.startswith('_') or getattr(value, '__module__', None) != module.__name__:
      continue
    if not inspect.isclass(value):
      yield from _said(name, value)
      continue
    yield from ((f'{name}.{field}', hint) for field, hint in inspect.get_annotations(value).items())
    for method, member in vars(value).items():
      if method == '__call__' or not method.startswith('_'):
        of_descriptor = (getattr(member, at, None) for at in ('__func__', 'fget', 'func'))
        yield from _said(f'{name}.{method}', next(filter(None, of_descriptor), member))


def _said(name, function):
  if inspect.isfunction(inspect.unwrap(function)):
    signature = inspect.signature(function)
    for argument in signature.parameters.values():
      some = argument.kind in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD)
      if argument.name not in ('self', 'cls') and not some:
        yield f'{name}({argument.name})', argument.annotation
    yield f'{name} ->', signature.return_annotation


def _is_unsaid(hint):
  """Whether it leaves the shape of an array open; named ones in a dict, as weights, have any."""
  if typing.get_origin(hint) is dict:
    return False
  parts = hint if isinstance(hint, list) else typing.get_args(hint)
  return hint in (UNSAID, np.ndarray, jax.Array) or any(map(_is_unsaid, parts))


def _unsaid(hints):
  return [where for where, hint in hints if _is_unsaid(hint)]


@pytest.mark.parametrize('name', MODULES)
def test_every_shape_is_said(name):
  assert not _unsaid(_public(importlib.import_module(name)))


def test_what_is_not_said_is_found():
  def function(
    a, b: np.ndarray | None, c: Callable[[jax.Array], float], d: dict[str, np.ndarray], *rest
  ) -> tuple[Float[Array, '...'], np.ndarray]:
    """Says the shapes of `d` and of the first result alone."""

  assert _unsaid(_said('f', function)) == ['f(a)', 'f(b)', 'f(c)', 'f ->']


SILENT = {  # without the checker each of these gives a result
  'diffusion': lambda: schedules.Cosine().diffuse(jnp.ones((2, 3)), jnp.ones((2, 1)), jnp.ones(2)),
  'losses': lambda: temporal.motion(jnp.ones((2, 3, 4, 4))),
  'metrics': lambda: content.mean_colours(np.ones((2, 3, 4, 4, 3), np.uint8)),
  'models': lambda: layers.TimeEmbedding(4).init(jax.random.key(0), jnp.ones((2, 1))),
}


@pytest.mark.parametrize('package', SILENT)
def test_another_shape_is_refused_while_tests_run(package):
  with pytest.raises(jaxtyping.TypeCheckError):
    SILENT[package]()
