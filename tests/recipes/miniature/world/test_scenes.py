from __future__ import annotations

from random import Random

from inlay.recipes.miniature.world.scenes import COLOURS, SHAPES, SIZES, Scene, Thing, random_scene, sample_scene


def test_one_seed_gives_one_world() -> None:
    first, second = Random(3), Random(3)
    assert [sample_scene(first) for _ in range(20)] == [sample_scene(second) for _ in range(20)]


def test_split_is_the_same_on_every_machine() -> None:
    rng = Random(11)
    splits = "".join(random_scene(rng).split[0] for _ in range(24))
    assert splits == "ttttthtttttttttttttthttt"


def test_things_of_a_scene_have_cells_of_their_own(scenes: list[Scene]) -> None:
    for scene in scenes:
        places = [thing.place for thing in scene.things]
        assert places == sorted(set(places))


def test_no_two_things_share_colour_and_shape(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert len({(thing.colour, thing.shape) for thing in scene.things}) == len(scene.things)


def test_held_out_combinations_are_never_in_training() -> None:
    rng = Random(0)
    training = {sample_scene(rng).combination for _ in range(3000)}
    held_out = {sample_scene(rng, "held_out").combination for _ in range(3000)}
    assert training.isdisjoint(held_out)


def test_world_of_few_values_shows_only_those() -> None:
    rng = Random(0)
    things = [thing for _ in range(200) for thing in sample_scene(rng, values=3).things]
    assert {thing.colour for thing in things} == set(COLOURS[:3])
    assert {thing.shape for thing in things} == set(SHAPES[:3])
    assert {thing.size for thing in things} == set(SIZES)
    assert len({thing.place for thing in things}) == 3


def test_share_of_held_out_scenes() -> None:
    rng = Random(0)
    share = sum(random_scene(rng).split == "held_out" for _ in range(4000)) / 4000
    assert 0.10 < share < 0.15


def test_split_of_several_things_depends_on_their_looks_only() -> None:
    one, two = Thing(0, "small", "red", "circle"), Thing(1, "large", "blue", "star")
    moved = Scene((Thing(3, "large", "blue", "star"), Thing(8, "small", "red", "circle")))
    assert Scene((one, two)).combination == moved.combination


def test_every_lone_thing_is_seen_somewhere_in_training() -> None:
    for size in SIZES:
        for colour in COLOURS:
            for shape in SHAPES:
                scenes = [Scene((Thing(place, size, colour, shape),)) for place in range(9)]
                assert any(scene.split == "train" for scene in scenes)
