"""The workdir of a run: what may change, what is refused, and that old ones still are of use."""

import functools
import json
import operator
import pathlib
import shutil
import tarfile

import jax
import numpy as np
import pytest

from configs import base, zoo
from hgdt_jax import checkpoint, run, settings, trained, workdir
from hgdt_jax.stages import STAGES

OLD = pathlib.Path(__file__).parent / 'workdirs' / 'format_1.tar.xz'


@pytest.fixture
def old(tmp_path):
  """A workdir that hgdt_jax 0.1.0 trained."""
  with tarfile.open(OLD) as archive:
    archive.extractall(tmp_path / 'old', filter='data')
  return tmp_path / 'old'


def _files(path):
  return {f.relative_to(path): f.stat().st_mtime_ns for f in path.rglob('*') if f.is_file()}


def test_a_workdir_of_format_1_is_sampled_and_not_written_to(old):
  before = _files(old)
  model = trained.Trained.load(old)
  assert model.methods == ('gan', 'diffusion_frames', 'diffusion', 'hybrid')
  drawn = model.draw('hybrid', np.zeros(8, int), 0, steps=1, tau=0.5)
  assert drawn.shape == (8, 4, 16, 16, 3) and drawn.std() > 0
  assert _files(old) == before


def test_a_workdir_of_format_1_is_not_trained_on(old):
  given = settings.as_dict(workdir.read_config(old))
  before = _files(old / 'checkpoints')
  with pytest.raises(ValueError, match=r'begun by hgdt_jax 0\.1.*train on with that'):
    run.main(given, old)
  assert _files(old / 'checkpoints') == before


@pytest.mark.parametrize('path', [('log_every',), ('guard',), ('draft', 'image_weight')])
def test_a_config_from_before_a_field_or_section_reads_with_its_default(finished, tmp_path, path):
  """Of the recipe's base; `test_config.py` goes through every field."""
  content = json.loads((finished / 'config.json').read_text())
  *sections, name = path
  functools.reduce(operator.getitem, sections, content['config']).pop(name)
  (tmp_path / 'config.json').write_text(json.dumps(content))
  found = settings.as_dict(workdir.read_config(tmp_path))
  default = base.get_config().to_dict()
  assert functools.reduce(operator.getitem, path, found) == functools.reduce(
    operator.getitem, path, default
  )


def test_a_config_from_before_there_were_families_reads_as_of_the_one_there_was(finished, tmp_path):
  content = json.loads((finished / 'config.json').read_text())
  given = content['config']
  draft = given.pop('draft')
  assert draft.pop('name') == 'style'
  given |= {section: draft.pop(section) for section in ('generator', 'critic')}
  given['gan'] |= draft
  (tmp_path / 'config.json').write_text(json.dumps(content | {'format': 3}))
  assert workdir.read_config(tmp_path) == workdir.read_config(finished)


def test_a_run_of_last_week_is_sampled(finished, tmp_path):
  """From before the fields of first frames existed, for one."""
  shutil.copytree(finished, tmp_path / 'run', ignore=shutil.ignore_patterns('samples', 'xla_cache'))
  content = json.loads((tmp_path / 'run' / 'config.json').read_text())
  del content['config']['draft']['image_weight'], content['config']['gan']['ema_decay']
  (tmp_path / 'run' / 'config.json').write_text(json.dumps(content))
  drawn = [
    trained.Trained.load(path, 'gan').draw('gan', np.zeros(8, int), 0, steps=0, tau=0.0)
    for path in (finished, tmp_path / 'run')
  ]
  np.testing.assert_array_equal(*drawn)


@pytest.mark.parametrize(
  'content, says',
  [
    ('', 'damaged'),
    ('{"config": {"seed"', 'damaged'),
    ('[1]', 'damaged'),
    ('{"format": 99, "versions": {"hgdt_jax": "9.1"}, "config": {}}', r'format 99.*hgdt_jax 9\.1'),
  ],
)
def test_a_config_that_cannot_be_read_is_told(tmp_path, content, says):
  (tmp_path / 'config.json').write_text(content)
  with pytest.raises(ValueError, match=f'config.json.*{says}'):
    workdir.read_config(tmp_path)


def _changed(given, **sections):
  return given | {name: given[name] | fields for name, fields in sections.items()}


def test_a_stage_that_started_from_another_step_is_refused_before_anything_is_trained(
  finished, tmp_path, smallest
):
  shutil.copytree(finished, tmp_path / 'run', ignore=shutil.ignore_patterns('samples', 'xla_cache'))
  more = _changed(smallest(), gan={'steps': 3})
  message = (
    r'stage aligner .* started from step 2 of stage gan, which is to have 3: remove .*aligner'
  )
  before = _files(tmp_path / 'run' / 'checkpoints')
  with pytest.raises(ValueError, match=message):
    run.main(more, tmp_path / 'run')
  assert _files(tmp_path / 'run' / 'checkpoints') == before
  assert workdir.read_config(tmp_path / 'run').gan.steps == 2


def test_a_stage_that_would_start_from_other_stages_is_refused(finished, smallest):
  """Joint training that began without an aligner, say, knows nothing of one that comes later."""
  fewer = ('gan', 'diffusion', 'joint')
  cfg = settings.build(settings.Config, smallest() | {'stages': fewer})
  message = (
    r'stage joint in .* started from the stages gan, aligner, and would now from gan, diffusion: '
    r'remove .*joint to train it anew'
  )
  with pytest.raises(ValueError, match=message):
    workdir.refuse_stale(cfg, finished)
  every = tuple(settings.STAGES)
  for stages in (every, every[:2], every[:4]):
    workdir.refuse_stale(settings.build(settings.Config, smallest() | {'stages': stages}), finished)


def test_each_checkpoint_says_what_it_started_from(finished):
  def of(stage):
    return checkpoint.about(finished, stage, workdir.last_step(finished, stage))['started_from']

  assert of('gan') == of('diffusion') == {}
  assert of('aligner') == {'gan': 2, 'diffusion': 6}
  assert of('joint') == {'gan': 2, 'aligner': 2}
  assert of('fewstep') == {'joint': 2}


def test_what_trains_nothing_may_change(finished, tmp_path, smallest):
  shutil.copytree(finished, tmp_path / 'run', ignore=shutil.ignore_patterns('samples', 'xla_cache'))
  given = _changed(smallest(), hybrid=dict(steps=2, sampler='heun', spacing='uniform_logsnr'))
  workdir.open_to_train(settings.build(settings.Config, given), tmp_path / 'run')
  assert workdir.read_config(tmp_path / 'run').hybrid.sampler == 'heun'


def test_rates_and_penalties_may_be_tuned_and_the_step_is_written_down(
  finished, tmp_path, smallest
):
  """A guard advises to lower a rate and to go on with the same command."""
  shutil.copytree(finished, tmp_path / 'run', ignore=shutil.ignore_patterns('samples', 'xla_cache'))
  changes = dict(gan=dict(learning_rate=1e-5), draft=dict(r1=0.0), optimiser=dict(clip_norm=0.5))
  given = _changed(smallest(), **changes)
  was = smallest()['gan']['learning_rate']
  for _ in range(2):  # what was written before stays
    workdir.open_to_train(settings.build(settings.Config, given), tmp_path / 'run')
  found = workdir.read_config(tmp_path / 'run')
  assert (found.gan.learning_rate, found.draft.r1, found.optimiser.clip_norm) == (1e-5, 0.0, 0.5)
  tuned = json.loads((tmp_path / 'run' / 'config.json').read_text())['tuned']
  assert len(tuned) == 3
  (rate,) = [one for one in tuned if one['field'] == 'config.gan.learning_rate']
  assert (rate['was'], rate['now'], rate['after_steps']['gan']) == (was, 1e-5, 2)


def test_a_guards_settings_may_change_and_are_written_down(finished, tmp_path, smallest):
  shutil.copytree(finished, tmp_path / 'run', ignore=shutil.ignore_patterns('samples', 'xla_cache'))
  was = smallest()['guard']['action']
  now = 'warn' if was != 'warn' else 'stop'
  given = _changed(smallest(), guard=dict(action=now, motion=0.0, d_loss=0.0))
  workdir.open_to_train(settings.build(settings.Config, given), tmp_path / 'run')
  content = json.loads((tmp_path / 'run' / 'config.json').read_text())
  assert content['config']['guard']['action'] == now
  action = {one['field']: one for one in content['tuned']}['config.guard.action']
  assert (action['was'], action['now'], action['after_steps']['gan']) == (was, now, 2)


def test_fewer_steps_than_were_trained_and_a_dropped_stage_are_told(
  finished, tmp_path, smallest, capsys
):
  """Each time, also once config.json knows no other."""
  shutil.copytree(finished, tmp_path / 'run', ignore=shutil.ignore_patterns('samples', 'xla_cache'))
  stages = tuple(stage for stage in settings.STAGES if stage != 'fewstep')
  given = _changed(smallest(), diffusion=dict(steps=4)) | {'stages': stages}
  workdir.open_to_train(settings.build(settings.Config, smallest()), tmp_path / 'run')
  assert capsys.readouterr().out == ''  # nothing is left over
  for _ in range(2):
    workdir.open_to_train(settings.build(settings.Config, given), tmp_path / 'run')
    steps, dropped = sorted(capsys.readouterr().out.splitlines())
    assert steps.startswith('config.diffusion.steps=4: stage diffusion has 6 in ')
    assert 'stage fewstep has 2 steps' in dropped and 'not among config.stages' in dropped


@pytest.mark.parametrize(
  'section, values',
  [('aligner', dict(denoiser_learning_rate=0.1)), ('optimiser', dict(weight_decay=0.1))],
)
def test_what_had_no_optimiser_cannot_begin_to_learn(finished, tmp_path, smallest, section, values):
  shutil.copytree(finished, tmp_path / 'run', ignore=shutil.ignore_patterns('samples', 'xla_cache'))
  given = _changed(smallest(), **{section: values})
  with pytest.raises(ValueError, match='was trained with 0'):
    workdir.open_to_train(settings.build(settings.Config, given), tmp_path / 'run')


def test_another_family_is_refused_by_its_name(finished, tmp_path, smallest):
  shutil.copytree(finished, tmp_path / 'run', ignore=shutil.ignore_patterns('samples', 'xla_cache'))
  given = smallest() | {
    'draft': zoo.get_config('vgan,small').to_dict()['draft'],
    'stages': ('gan',),
  }
  given['data'] |= dict(frames=4, size=16)
  given['aligner']['latents'] = 'none'
  with pytest.raises(ValueError, match=r"config\.draft\.name is 'vgan', but .* with 'style'"):
    workdir.open_to_train(settings.build(settings.Config, given), tmp_path / 'run')


def test_a_run_that_was_refused_before_its_first_checkpoint_binds_nobody(tmp_path, smallest):
  (tmp_path / 'run' / 'checkpoints' / 'gan' / '.part-2').mkdir(parents=True)  # nothing saved
  (tmp_path / 'run' / 'metrics.jsonl').write_text('{"stage": "gan", "step": 9}\n')  # but logged
  workdir.open_to_train(settings.build(settings.Config, smallest()), tmp_path / 'run')
  given = _changed(smallest(), data=dict(jitter=0.5), draft=dict(objective='hinge'))
  workdir.open_to_train(settings.build(settings.Config, given), tmp_path / 'run')
  assert workdir.read_config(tmp_path / 'run').data.jitter == 0.5
  assert not (tmp_path / 'run' / 'metrics.jsonl').exists()  # another run's curves


def test_the_rate_of_a_prepared_set_is_what_the_set_says(tmp_path, smallest):
  """Runs begun when config.json had not the set's go on; clips of files have the one rate asked."""
  for source in ('arrayrecord', 'folder'):
    run = tmp_path / source
    (run / 'checkpoints' / 'gan' / '2').mkdir(parents=True)
    given = [_changed(smallest(), data=dict(source=source, stride=stride)) for stride in (1, 3)]
    before, now = (settings.build(settings.Config, one) for one in given)
    workdir.open_to_train(before, run)
    if source == 'arrayrecord':
      workdir.open_to_train(now, run)
      assert workdir.read_config(run).data.stride == 3
    else:
      with pytest.raises(ValueError, match=r'config\.data\.stride is 3, but .* was trained with 1'):
        workdir.open_to_train(now, run)


def test_what_was_trained_binds_though_all_of_it_is_damaged(tmp_path, smallest):
  (tmp_path / 'run' / 'checkpoints' / 'gan' / 'damaged-2').mkdir(parents=True)
  workdir.open_to_train(settings.build(settings.Config, smallest()), tmp_path / 'run')
  given = _changed(smallest(), data=dict(jitter=0.5))
  with pytest.raises(ValueError, match='was trained with'):
    workdir.open_to_train(settings.build(settings.Config, given), tmp_path / 'run')


def _states(given, stage):
  cfg = settings.build(settings.Config, given)
  return jax.eval_shape(lambda key: STAGES[stage].init(cfg, key), jax.random.key(0))


@pytest.mark.parametrize('stage', STAGES)
def test_what_may_be_tuned_changes_nothing_that_a_checkpoint_holds(smallest, stage):
  """Else the tuned run could not be restored; from or to 0 it would, which is refused."""
  plain, tuned = smallest(), smallest()
  found = list(workdir._differences(tuned, tuned | {s: {} for s in tuned}, 'config'))
  names = [name.split('.')[1:] for name, *_ in found if workdir._is_tunable(name)]
  assert ['joint', 'critic_learning_rate'] in names and len(names) >= 10
  for section, field in names:
    tuned[section] |= {field: 0.9 * tuned[section][field]}
  assert jax.tree.structure(_states(tuned, stage)) == jax.tree.structure(_states(plain, stage))


def test_an_optimiser_that_rests_or_decays_weights_has_another_state(smallest):
  plain = jax.tree.structure(_states(smallest(), 'diffusion'))
  decays = _changed(smallest(), optimiser=dict(weight_decay=0.1))
  assert jax.tree.structure(_states(decays, 'diffusion')) != plain
