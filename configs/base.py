"""Every field of the configuration, what it means, and its default.

A recipe is this plus the lines that differ. Plain data: neither jax nor hgdt_jax is imported here.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  """64x64, 16 frames, one accelerator."""
  config = ml_collections.ConfigDict()
  config.plugins = ()  # modules to import first, which register what you add: docs/extending.md
  config.seed = 0
  # Those that run, in this order; 'fewstep', after them, trains the refiner to take long steps.
  config.stages = ('gan', 'diffusion', 'aligner', 'joint')
  # Where networks begin. SOURCE is the workdir of another run, a file of weights or the name of
  # shipped ones. 'SOURCE': each network, in the first stage that has it, as the last stage there
  # left it. 'STAGE=SOURCE': the stage with all that the same stage there ended with, so that one
  # diffusion model serves many drafts; 'STAGE=SOURCE:OTHER', with those of another stage there.
  config.init_from = ()
  config.dtype = 'float32'  # of convolutions and matrix products; parameters stay float32
  config.log_every = 10  # steps between two rows of metrics.jsonl

  config.data = data = ml_collections.ConfigDict()
  data.source = 'synthetic'  # synthetic, folder, arrayrecord, tfds, ckplus or mug
  data.path = ''  # of the folder or the prepared set
  data.frames = 16  # T
  data.size = 64  # height and width, a power of two
  data.batch = 32  # clips a step over all devices and processes
  data.clips = 4096  # how many the synthetic source holds
  # Frames from one taken of a video to the next, or those that so many a second would show (0:
  # `stride` says). Of a prepared set both are what it was made at.
  data.stride = 1
  data.target_fps = 0.0
  data.windows = 0  # clips a video gives, spread over it; 0: as many as half-overlapping ones fit
  data.short = 'drop'  # what becomes of a video too short: drop, loop or pad (its last frame held)
  data.labels = ''  # CSV of a folder: path, and any of label, split, group; UCF-101's, Kinetics'
  data.npy_order = 'THWC'  # axes of npy files; of many clips: TNHW (Moving MNIST), NTHW, NTHWC
  data.max_bad = 0.5  # share of files that may be unreadable at the start; more stops the run
  data.test_share = 0.1  # of a folder that says nothing of splits
  data.flip = False  # mirror half of the clips
  data.jitter = 0.0  # strength of the colour jitter, one draw a clip
  data.classes = -1  # to condition on; -1: as many as the source has, if at least two; 0: none
  data.workers = 0  # loader processes; they pay when decoding is heavy
  data.fps = 8.0  # of the clips written

  config.mesh = mesh = ml_collections.ConfigDict()
  mesh.data = -1  # devices that share the batch; -1: all that are left over
  mesh.fsdp = 1  # devices that share the batch and split the parameters

  config.checkpoint = checkpoint = ml_collections.ConfigDict()
  checkpoint.every = 1000  # steps
  checkpoint.keep = 2  # newest ones, of each stage

  config.draft = draft = ml_collections.ConfigDict()
  draft.name = 'style'  # the family of GAN; what follows are this one's fields
  draft.objective = 'relativistic'  # nonsaturating, hinge, least_squares, wasserstein
  draft.r1 = 1.0  # weight gamma of gamma / 2 |d score / d x|^2 on real clips
  draft.r2 = 1.0  # the same on drafts
  draft.interpolation_penalty = 0.0  # weight of WGAN-GP's, between real clips and drafts
  draft.penalty_rows = 4  # every n-th row of the batch is penalised: n times cheaper
  draft.image_share = 0.0  # of the drafts that are given a first frame; 0: it knows none
  draft.image_weight = 10.0  # of their mean absolute distance from the clip they are to continue

  draft.generator = generator = ml_collections.ConfigDict()
  generator.width = 64  # features of the largest maps
  generator.max_width = 384
  generator.patch = 2  # pixels are drawn in squares of this side
  generator.latent_size = 256  # of the per-frame latents w
  generator.content_size = 128  # of the code per clip
  generator.motion_size = 32  # of the codes of motion
  generator.motion = 'gru'  # a code a frame; 'continuous': a path through codes at anchor times
  generator.motion_interval = 8  # of 'continuous': frames from anchor to anchor

  draft.critic = critic = ml_collections.ConfigDict()
  critic.width = 64
  critic.max_width = 384
  critic.frame_patch = 2
  critic.clip_patch = 4
  critic.convolution = 'factorised'  # of the clip critic; 'full': 3x3x3
  critic.minibatch_stddev = False  # show it how much the clips of a batch differ
  critic.frames = 4  # of each clip, drawn anew each step, that the frame critic sees
  critic.spectral_norm = False

  config.space = ml_collections.ConfigDict()
  config.space.name = 'pixels'  # the autoencoder that makes what the denoiser works on

  config.denoiser = denoiser = ml_collections.ConfigDict()
  denoiser.name = 'unet3d'  # the family; what follow are this one's fields
  denoiser.width = 64  # features of the largest maps
  denoiser.multipliers = (1, 2, 4)  # of the width, one a level
  denoiser.blocks = 2  # a level and direction
  denoiser.patch = 2
  denoiser.convolution = 'factorised'  # 1x3x3 and temporal taps; 'full': 3x3x3
  denoiser.space_attention = 16  # on maps of this size and below; 0: none
  denoiser.time_attention = 32
  denoiser.aligner_radius = 3.0  # the longest flow, in pixels of each map
  denoiser.aligner_flow = 'predicted'  # by convolutions; 'matched': a soft argmax of correlations
  denoiser.aligner_direction = 'causal'  # from earlier frames; 'both': from later ones as well
  denoiser.remat = False  # recompute activations in the backward pass: less memory, more time

  config.bridge = bridge = ml_collections.ConfigDict()
  bridge.width = 64
  bridge.max_width = 256
  bridge.patch = 4

  config.optimiser = optimiser = ml_collections.ConfigDict()  # of denoiser, aligner and bridge
  optimiser.b1 = 0.9  # of Adam; the GAN's is that of its family
  optimiser.b2 = 0.99
  optimiser.weight_decay = 0.0  # a step, times the learning rate
  optimiser.clip_norm = 1.0  # the most that the gradient's norm may be
  optimiser.decay = 'cosine'  # of the learning rate, to a tenth: cosine, linear or constant

  config.gan = gan = ml_collections.ConfigDict()
  gan.steps = 30_000
  gan.learning_rate = 2e-4  # by the optimiser of the draft's family
  gan.augment = 'none'  # of what critics see, in joint too: 'fixed' or 'adaptive' (ADA) probability
  gan.augment_probability = 0.2  # of each change to a clip; 'adaptive' begins with it
  gan.augment_target = 0.6  # 'adaptive': mean sign of the scores of real clips that is aimed at
  gan.noise = 0.0  # the highest noise level the critics see in stage gan; scales with 'adaptive'
  gan.ema_decay = 0.999

  config.diffusion = diffusion = ml_collections.ConfigDict()
  diffusion.steps = 60_000
  diffusion.learning_rate = 3e-4
  diffusion.warmup = 500  # steps
  diffusion.ema_decay = 0.9995
  diffusion.schedule = 'cosine'  # cosine, shifted_cosine, linear, edm or flow
  diffusion.prediction = 'v'  # eps, x0, v, edm or flow
  diffusion.sigma_data = 0.5  # of 'edm', as prediction and as weight: the deviation of clean clips
  diffusion.weight = 'clipped_snr'  # of the loss: uniform, min_snr, clipped_snr, edm or sigmoid
  diffusion.weight_gamma = 5.0  # of min_snr and clipped_snr: the most that a signal-to-noise counts
  diffusion.weight_bias = 2.0  # of sigmoid: the log-SNR at which the weight is half
  diffusion.times = 'truncated'  # noise levels drawn: uniform, truncated, logit_normal, log_normal
  # Of logit_normal, which is that of log(t / (1 - t)), and of log_normal, that of
  # log(sigma / alpha); EDM has -1.2 and 1.2.
  diffusion.times_mean = 0.0
  diffusion.times_spread = 1.0
  diffusion.low_noise_share = 0.5  # of 'truncated': share on [0, hybrid.tau], the rest above
  diffusion.noise = 'iid'  # across frames: iid, mixed or ar1; the same in training and sampling
  diffusion.noise_correlation = 0.5  # of mixed, of any two frames; of ar1, of neighbours
  diffusion.frames_share = 0.25  # of the rows that are trained as independent frames
  diffusion.label_dropout = 0.1  # for classifier-free guidance

  config.aligner = aligner = ml_collections.ConfigDict()
  aligner.steps = 10_000
  aligner.learning_rate = 3e-4  # of the aligner and the bridge
  aligner.denoiser_learning_rate = 0.0  # of the rest of the denoiser; 0 freezes it
  # What the bridge reads to guess the latents that the denoiser is told: 'clean' clips, 'noised'
  # ones as the denoiser sees them, or 'none': it is told nothing and no bridge is trained.
  aligner.latents = 'clean'
  aligner.latent_dropout = 0.1  # so that the refiner works without a GAN
  aligner.flow_weight = 1.0  # photometric loss of the aligner's flow on real clips
  aligner.hidden_price = 0.3  # of that loss: what it costs the gate to call a place hidden
  aligner.consistency_weight = (
    0.1  # warp consistency of what is predicted, where the real clip's holds
  )
  aligner.bridge_weight = 1.0  # E(G(w)) = w

  config.joint = joint = ml_collections.ConfigDict()
  joint.steps = 10_000
  joint.learning_rate = 5e-5  # of the generator; objective and penalties are those of `draft`
  joint.critic_learning_rate = 2e-4  # higher: diffused clips are new to the critics
  joint.denoiser_learning_rate = 3e-5  # of denoiser, aligner and bridge
  # Every n-th row of the batch trains the refiner, all of it the game; 0: the refiner rests. On
  # several devices clips stay where they are if each holds a multiple of n.
  joint.refiner_rows = 1
  joint.clean_share = 0.5  # of the clips that critics see without noise; the rest in [tau, 1]

  config.fewstep = fewstep = ml_collections.ConfigDict()
  fewstep.steps = 10_000
  fewstep.learning_rate = 2e-5  # of the denoiser; objective and penalties are those of `draft`
  fewstep.critic_learning_rate = 1e-4
  fewstep.walk = 4  # trained for walks from tau of 1 to so many steps
  fewstep.denoising_weight = 1.0  # of the squared error of the predicted clip
  fewstep.ema_decay = 0.999

  config.guard = guard = ml_collections.ConfigDict()
  guard.action = 'warn'  # of an adversarial stage that is ill: warn, stop or rollback
  guard.patience = 20  # logged rows below a bound, one after the other, until it acts
  guard.rollbacks = 2  # returns to an earlier checkpoint, until it stops for good
  guard.motion = 0.1  # least motion of drafts, as a share of real motion; 0: do not look
  guard.diversity = 0.1  # least distance between drafts, as a share of that between real clips
  guard.d_loss = 0.02  # least loss of the critic

  config.hybrid = hybrid = ml_collections.ConfigDict()
  # Noise level to which a draft is diffused before it is refined. 'auto': after stage gan, the
  # first of evaluation.taus at which a two-sample test cannot tell diffused drafts from clips.
  hybrid.tau = ml_collections.FieldReference(0.5, field_type=object)
  hybrid.steps = 4  # of the refiner
  hybrid.sampler = 'ddim'  # ddpm, ddim, dpmpp_2m, dpmpp_2m_sde, heun or euler
  hybrid.spacing = 'uniform_t'  # of the noise levels
  hybrid.threshold = 'none'  # what keeps a predicted clip in [-1, 1]: static (clipped) or dynamic

  config.evaluation = evaluation = ml_collections.ConfigDict()
  evaluation.clips = 512  # drawn by each method and compared with as many real ones held out
  evaluation.batch = 32
  evaluation.flow_clips = 32  # of them, the first, whose optical flow is estimated (slow)
  evaluation.taus = (0.1, 0.2, 0.35, 0.5, 0.65, 0.8)  # of the curve over tau
  evaluation.evaluations = (2, 4, 8, 16)  # network evaluations of the curve over them
  evaluation.checks = 10  # scores of what each stage trains on its way, evenly spaced; 0: none
  evaluation.metrics = ()  # further ones, from published networks: fvd, fid, ...
  evaluation.weights = ''  # folder of their weights
  return config
