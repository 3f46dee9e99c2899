"""What each stage trains: `init`, `make_step`, and `TRAINS`, nothing else.

`init(cfg, key) -> TrainState`; `make_step(cfg) -> step(state, batch, root_key) -> (state,
metrics)`, pure and not yet compiled; `TRAINS` names the networks that samples are drawn with from
then on. Which networks a stage takes over, `config.STARTS_FROM` says.
"""

from hgdt_jax.stages import aligner, diffusion, fewstep, gan, joint

STAGES = {
  'gan': gan,
  'diffusion': diffusion,
  'aligner': aligner,
  'joint': joint,
  'fewstep': fewstep,
}
