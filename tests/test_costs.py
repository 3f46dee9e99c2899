"""What a program takes, against counts by hand."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from hgdt_jax import costs, sharding


def _lowered(function, *shapes, **options):
  return jax.jit(function, **options).lower(*shapes).compile()


def test_a_product_of_matrices_costs_what_it_does():
  a, b = jax.ShapeDtypeStruct((64, 32), 'float32'), jax.ShapeDtypeStruct((32, 16), 'float32')
  cost = costs.of(_lowered(lambda a, b: a @ b, a, b))
  assert cost.flops == pytest.approx(2 * 64 * 32 * 16, rel=0.01)
  assert cost.arguments == 4 * (64 * 32 + 32 * 16)
  assert cost.accessed == pytest.approx(4 * (64 * 32 + 32 * 16 + 64 * 16), rel=0.01)
  assert cost.peak >= cost.arguments + cost.temporaries + 4 * 64 * 16
  assert not cost.collectives


def test_what_is_donated_is_counted_once():
  a = jax.ShapeDtypeStruct((256, 256), 'float32')
  kept, given = (costs.of(_lowered(lambda a: a + 1, a, donate_argnums=d)) for d in ((), 0))
  assert kept.peak - given.peak == 4 * 256 * 256


@pytest.mark.devices
def test_of_each_device_its_share_and_what_it_gets_of_the_others():
  mesh = sharding.make_mesh(8, 1)
  whole, rows = NamedSharding(mesh, P()), sharding.batch(mesh)
  weights = jax.ShapeDtypeStruct((128, 128), 'float32', sharding=whole)
  clips = jax.ShapeDtypeStruct((16, 128), 'float32', sharding=rows)
  gradient = jax.grad(lambda w, x: jnp.mean((x @ w) ** 2))
  cost = costs.of(_lowered(gradient, weights, clips, out_shardings=whole))
  assert cost.arguments == 4 * (128 * 128 + 2 * 128)
  assert cost.collectives == {'all-reduce': costs.Collective(1, 4 * 128 * 128)}


@pytest.mark.parametrize(
  ('text', 'kind', 'count', 'size'),
  [
    ('%a = f32[8,4]{1,0:T(8,128)} all-gather(%x), replica_groups={}', 'all-gather', 1, 128),
    # Several at once give a tuple.
    ('%a = (f32[8]{0}, bf16[4,2]{1,0}) all-reduce(%x, %y), to_apply=%add', 'all-reduce', 1, 48),
    # Of which every fifth is numbered.
    (
      '%a = (f32[8]{0}, /*index=5*/f32[4]{0}) all-reduce(%x, %y), to_apply=%add',
      'all-reduce',
      1,
      48,
    ),
    # In two halves, of which one is counted, and of it what comes out.
    (
      '%s = (f32[2]{0}, f32[8]{0}) all-gather-start(%x)\n%d = f32[8]{0} all-gather-done(%s)',
      'all-gather',
      1,
      32,
    ),
    ('%s = ((f32[2], f32[1]), (f32[8], f32[4])) all-gather-start(%x, %y)', 'all-gather', 1, 48),
    (
      '%s = (f32[4], f32[4], u32[], u32[]) collective-permute-start(%x)\n'
      '%t = pred[3]{0} collective-permute(%y)',
      'collective-permute',
      2,
      19,
    ),
    ('%s = f32[4]{0} all-reduce-start(%x)\n%d = f32[4] all-reduce-done(%s)', 'all-reduce', 1, 16),
  ],
)
def test_exchanges_are_read_out_of_the_program(text, kind, count, size):
  assert costs.collectives(text) == {kind: costs.Collective(count, size)}


def test_what_only_uses_one_is_none():
  text = '%f = f32[4]{0} fusion(%all-reduce.1), calls=%g, metadata={op_name="f all-gather(x)"}'
  assert not costs.collectives(text)
