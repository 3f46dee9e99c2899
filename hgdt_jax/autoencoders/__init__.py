"""Families of autoencoders by name: they name the space that the denoiser works in."""

from hgdt_jax.autoencoders import pixels

AUTOENCODERS = {'pixels': pixels.FAMILY}
