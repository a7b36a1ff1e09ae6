"""What a machine must have, and which of its numbers and networks are free."""

import pytest

from slipway.cluster import slots
from slipway.cluster.errors import ClusterError
from slipway.cluster.host import CANDIDATES, free_network
from slipway.cluster.layout import SLOTS


def test_a_network_that_a_route_overlaps_is_left_alone():
    assert free_network(["default", "172.30.0.0/16", "10.0.0.0/8"]) == "172.29.0.0/24"


def test_no_free_network_is_said_with_the_command_that_shows_routes():
    with pytest.raises(ClusterError, match="in use") as error:
        free_network(list(CANDIDATES))
    assert "ip route" in error.value.hint


def test_slots_are_taken_once_and_given_back(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    machine = tmp_path / "machine"
    with slots.machine_lock(machine):
        assert slots.take(2, one, machine) == [1, 2]
        assert slots.take(1, other, machine) == [3]
        slots.release(one, machine)
        assert slots.taken(machine) == {3: other}
        assert slots.take(1, one, machine) == [1]


def test_the_slot_of_a_cluster_whose_directory_is_gone_is_free(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    with slots.machine_lock(tmp_path):
        slots.take(1, gone, tmp_path)
        gone.rmdir()
        assert slots.taken(tmp_path) == {}


def test_a_full_machine_says_so_and_takes_nothing(tmp_path):
    owner = tmp_path / "owner"
    owner.mkdir()
    with slots.machine_lock(tmp_path):
        slots.take(len(SLOTS), owner, tmp_path)
        with pytest.raises(ClusterError, match="room for"):
            slots.take(1, owner, tmp_path)


def test_the_record_goes_with_the_last_slot(tmp_path):
    owner = tmp_path / "owner"
    owner.mkdir()
    machine = tmp_path / "machine"
    with slots.machine_lock(machine):
        slots.take(1, owner, machine)
        slots.forget_machine(machine)
        assert slots.taken(machine)
        slots.release(owner, machine)
        slots.forget_machine(machine)
        assert {path.name for path in machine.iterdir()} == {"lock"}
