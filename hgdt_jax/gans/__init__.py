"""Families of GANs by name, and the game they play."""

from hgdt_jax.gans import style

GANS = {'style': style.FAMILY}
