"""Families of denoisers by name."""

from hgdt_jax.denoisers import dit, unet3d

DENOISERS = {'unet3d': unet3d.FAMILY, 'dit': dit.FAMILY}
