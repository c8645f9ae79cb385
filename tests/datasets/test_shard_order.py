import numpy as np
import pytest

from keras_iwm.datasets.shard_order import shard_order


@pytest.mark.parametrize(
    ("num_shards", "num_streams", "shuffle_buffer"),
    [(1, 1, 1), (7, 4, 10), (50, 8, 100), (3, 16, 10_000), (2, 1000, 50)],
)
def test_each_image_comes_once(num_shards, num_streams, shuffle_buffer):
    shards = np.sort(np.random.default_rng(1).integers(0, num_shards, 501))
    order = shard_order(shards, num_streams, shuffle_buffer, [3, 4])
    np.testing.assert_array_equal(np.sort(order), np.arange(501))
    again = shard_order(shards, num_streams, shuffle_buffer, [3, 4])
    np.testing.assert_array_equal(order, again)
    if num_shards > 1:
        other = shard_order(shards, num_streams, shuffle_buffer, [3, 5])
        assert (order != other).any()


def test_without_a_buffer_shards_come_whole_in_a_random_order():
    shards = np.repeat(np.arange(20), 10)
    order = shard_order(shards, 1, 1, 0)
    assert (np.diff(order.reshape(20, 10)) == 1).all()
    visited = shards[order[::10]]
    assert sorted(visited) == list(range(20))
    assert (visited != np.arange(20)).any()


def test_streams_take_turns_and_have_shards_of_their_own():
    shards = np.repeat(np.arange(40), 25)
    order = shard_order(shards, 8, 200, 0)
    seen = [set(shards[order[stream::8]]) for stream in range(8)]
    assert [len(part) for part in seen] == [5] * 8
    assert set.union(*seen) == set(range(40))


def test_images_move_less_far_than_the_buffer_is_long():
    count, shuffle_buffer = 5000, 300
    order = shard_order(np.zeros(count, "int64"), 1, shuffle_buffer, 0)
    moved = order - np.arange(count)
    assert np.abs(moved).max() < shuffle_buffer
    assert np.abs(moved).mean() > shuffle_buffer / 10
    # Images of the middle are as likely to come sooner as later.
    assert abs(moved[1000:4000].mean()) < 20
    # A buffer much longer than the data is a shuffle of all: one third, on average.
    order = shard_order(np.zeros(count, "int64"), 1, 10**7, 0)
    assert abs(np.abs(order - np.arange(count)).mean() / count - 1 / 3) < 0.02


def test_an_empty_part_has_an_empty_order():
    assert len(shard_order(np.zeros(0, "int64"), 4, 10, 0)) == 0
