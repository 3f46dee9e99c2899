"""Families of GANs by name, and the game they play."""

from hgdt_jax.gans import imaginator, mocogan, style, vgan

GANS = {
  'style': style.FAMILY,
  'vgan': vgan.FAMILY,
  'mocogan': mocogan.FAMILY,
  'imaginator': imaginator.FAMILY,
}
