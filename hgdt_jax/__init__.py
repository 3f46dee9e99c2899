"""Hybrid GAN + diffusion video generation in JAX/Flax."""
