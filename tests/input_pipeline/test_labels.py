"""Lists of clips: this project's CSV, UCF-101's and Kinetics'."""

import pytest

from input_pipeline.census import of_sources as census_of

UCF = [f'{c}/v_{c}_g{g:02d}_c01' for c in ('Archery', 'Bowling') for g in range(1, 5)]


@pytest.mark.parametrize('given', ['trainlist01.txt', 'testlist01.txt'])
def test_the_lists_of_ucf101(put, given, both, names):
  root = put(*(f'{name}.npy' for name in UCF))  # converted: the lists have avi
  lists = {
    'trainlist01.txt': [f'{name}.avi {1 + ("Bowl" in name)}' for name in UCF if 'g01' not in name],
    'testlist01.txt': [f'{name}.avi' for name in (*UCF, 'Archery/v_gone') if 'g01' in name],
  }
  for name, lines in lists.items():
    (root / name).write_text('\r\n'.join(lines) + '\n')
  found = both(root, labels=root / given)
  assert names(found['test']) == ['Archery/v_Archery_g01_c01.npy', 'Bowling/v_Bowling_g01_c01.npy']
  assert len(found['train']) == 6 and found['train'].classes == ('Archery', 'Bowling')


def test_the_csv_of_kinetics(put, both, names):
  root = put('x/abc_000001_000011.npy', 'y/d_f-_000002_000012.npy', 'z/ghi.npy', 'z/extra.npy')
  (root / 'k.csv').write_text(
    'label,youtube_id,time_start,time_end,split,is_cc\n'
    'archery,abc,1,11,train,0\nbowling,d_f-,2,12,validate,0\narchery,ghi,3,13,train,0\n'
    'archery,gone,4,14,train,0\narchery,other,4,14,test,0\n'
  )
  found = both(root, labels=root / 'k.csv')
  assert names(found['train']) == ['x/abc_000001_000011.npy', 'z/ghi.npy']
  assert names(found['test']) == ['y/d_f-_000002_000012.npy'], 'no clip of test is there'
  told = census_of(found.values()).record
  assert told['classes'] == {'archery': 2, 'bowling': 1}
  assert told['set_aside'] == {'named in k.csv and not there': 2, 'not named in k.csv': 1}
  (root / 'k.csv').write_text('label,youtube_id,time_start,time_end,split\nx,abc,one,2,train\n')
  with pytest.raises(ValueError, match=r"k\.csv, line 2: 'one' to '2', want seconds"):
    both(root, labels=root / 'k.csv')


@pytest.mark.parametrize(
  ('head', 'says'),
  [
    ('path,Split', "column 'Split', want 'split'"),
    ('path, split', "column ' split', want 'split'"),
    ('Path,split', "column 'Path', want 'path'"),
    ('path,set', "column 'set' is none of path, label, split, group; remove it"),
    ('path;split', "columns separated by ';', want commas"),
    ('path\tsplit', 'columns separated by'),
    ('path,split,split', 'a column stands there twice'),
  ],
)
def test_columns_that_are_not_quite_right(put, head, says, both):
  root = put('a.npy', 'b.npy')
  (root / 'c.csv').write_text(f'{head}\na.npy,train\nb.npy,test\n')
  with pytest.raises(ValueError, match=r'c\.csv: ') as e:
    both(root, labels=root / 'c.csv')
  assert says in str(e.value) and '\n' not in str(e.value)


@pytest.mark.parametrize(
  ('rows', 'says'),
  [
    ('a.npy,x,train\nb.npy,x,train\n./a.npy,x,test', 'line 4: a.npy stands in line 2 too'),
    ('a.npy,x,train\nb.npy,,test', 'line 3: b.npy has no label, as others have'),
  ],
)
def test_rows_that_say_two_things_or_nothing(put, rows, says, both):
  root = put('a.npy', 'b.npy')
  (root / 'c.csv').write_text(f'path,label,split\n{rows}\n')
  with pytest.raises(ValueError, match=f'c.csv, {says}'):
    both(root, labels=root / 'c.csv')


def test_labels_that_differ_by_case_or_blanks_only(put, both):
  root = put('a.npy', 'b.npy')
  (root / 'c.csv').write_text('path,label\na.npy,Archery\nb.npy, archery\n')
  with pytest.raises(ValueError, match="labels ' archery' and 'Archery' differ by case or blanks"):
    both(root, labels=root / 'c.csv')


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16', 'utf-16-le'])
def test_encodings_of_a_list(put, encoding, both, names):
  """Excel's and PowerShell's; without its mark, UTF-16 is told."""
  root = put('über/a.npy', 'über/b.npy')
  text = 'path,label,split\r\nüber\\a.npy,é,train\r\nüber/b.npy,é,test\r\n'
  (root / 'c.csv').write_bytes(text.encode(encoding))
  if encoding == 'utf-16-le':
    with pytest.raises(ValueError, match=r'c\.csv: zeros in it, as in UTF-16 without a mark'):
      both(root, labels=root / 'c.csv')
    return
  found = both(root, labels=root / 'c.csv')
  assert names(found['train']) == ['über/a.npy'] and names(found['test']) == ['über/b.npy']
  assert found['train'].classes == ('é',)
