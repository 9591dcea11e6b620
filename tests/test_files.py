import pytest

from microbleeds.errors import UserError
from microbleeds.files import make_folder, whole_file


def test_a_file_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / "new" / "result.txt"
    with whole_file(path) as part:
        part.write_text("first")
    with pytest.raises(ZeroDivisionError), whole_file(path) as part:
        part.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "first" and list(path.parent.iterdir()) == [path]


def test_two_that_write_one_file_do_not_share_the_unfinished_one(tmp_path):
    path = tmp_path / "shared.txt"
    with whole_file(path) as one:
        one.write_text("one")
        with whole_file(path) as two:
            two.write_text("two")
        assert path.read_text() == "two"
    assert path.read_text() == "one" and list(tmp_path.iterdir()) == [path]


def test_folders_are_made_with_those_above_them_and_may_be_there(tmp_path):
    folder = tmp_path / "a" / "b"
    assert make_folder(folder) == folder and make_folder(folder).is_dir()


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "taken").write_text("")
    for path in (tmp_path / "taken", tmp_path / "taken" / "below"):
        with pytest.raises(UserError, match=r"taken.* cannot be made"):
            make_folder(path)
