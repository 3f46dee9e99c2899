"""What each stage trains: `init`, `make_step`, and `STARTS_FROM`, nothing else.

`init(cfg, key) -> TrainState`; `make_step(cfg) -> step(state, batch, root_key) -> (state,
metrics)`, pure and not yet compiled; `STARTS_FROM` names, for each network that is taken over, the
stage it comes from.
"""

from hgdt_jax.stages import aligner, diffusion, fewstep, gan, joint

STAGES = {
  'gan': gan,
  'diffusion': diffusion,
  'aligner': aligner,
  'joint': joint,
  'fewstep': fewstep,
}
