"""Which files are images, and of which class."""

from litefleet_controller.imagefolder import classes_of, in_turn, is_image


def test_images_are_told_by_their_names():
    assert [n for n in ("a/1.jpg", "a/1.JPEG", "b.png", "a/b/c.webp", "x.bmp") if not is_image(n)] == []
    assert [
        n for n in ("a/1.txt", "a/.1.jpg", ".cache/1.jpg", "__MACOSX/a/1.jpg", "jpg", "a.jpg/x") if is_image(n)
    ] == []


def test_a_class_is_the_first_folder():
    names = ["dog/2.jpg", "cat/1.jpg", "dog/1.jpg", "cat/kittens/1.jpg", "README"]
    assert classes_of(names) == {"cat": ["cat/1.jpg", "cat/kittens/1.jpg"], "dog": ["dog/1.jpg", "dog/2.jpg"]}


def test_one_folder_around_all_classes_is_looked_through():
    assert classes_of(["photos/cat/1.jpg", "photos/dog/1.jpg", "photos/LICENSE"]) == {
        "cat": ["photos/cat/1.jpg"], "dog": ["photos/dog/1.jpg"],
    }  # fmt: skip


def test_images_in_no_folder_are_of_no_class():
    assert classes_of(["1.jpg", "2.jpg"]) == {"": ["1.jpg", "2.jpg"]}
    assert classes_of(["1.jpg", "cat/2.jpg"]) == {"": ["1.jpg"], "cat": ["cat/2.jpg"]}


def test_the_first_few_are_of_all_classes():
    classes = {"a": ["a/1", "a/2", "a/3"], "b": ["b/1"], "c": ["c/1", "c/2"]}
    assert [image for _, image in in_turn(classes)] == ["a/1", "b/1", "c/1", "a/2", "c/2", "a/3"]
    assert in_turn({}) == []
