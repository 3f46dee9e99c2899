"""Families of denoisers by name."""

from hgdt_jax.denoisers import unet3d

DENOISERS = {'unet3d': unet3d.FAMILY}
