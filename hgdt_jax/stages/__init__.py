"""What can be trained, a stage each, by name."""

from hgdt_jax.stages import aligner, diffusion, fewstep, gan, joint

STAGES = {
  'gan': gan.STAGE,
  'diffusion': diffusion.STAGE,
  'aligner': aligner.STAGE,
  'joint': joint.STAGE,
  'fewstep': fewstep.STAGE,
}
