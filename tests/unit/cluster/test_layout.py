"""Addresses of clusters never meet, whatever slots they have."""

from ipaddress import IPv4Network, ip_address, ip_network
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from slipway.cluster.layout import SERVICE_NETWORK, SLOTS, Layout, plan

NETWORK = "172.30.0.0/24"
slots = st.lists(st.sampled_from(SLOTS), min_size=1, max_size=16, unique=True)


@given(slots)
def test_nodes_have_addresses_of_their_own_on_the_bridge(chosen):
    layout = plan("dev", chosen, NETWORK)
    addresses = [node.address for node in layout.nodes]
    assert len({*addresses, layout.bridge_address}) == len(chosen) + 1
    assert all(ip_address(address) in IPv4Network(NETWORK) for address in addresses)


@given(st.lists(st.sampled_from(SLOTS), min_size=2, max_size=2, unique=True))
def test_clusters_never_share_pod_addresses(first_slots):
    networks = [ip_network(plan("c", [slot], NETWORK).pod_network) for slot in first_slots]
    for one, other in combinations([*networks, ip_network(SERVICE_NETWORK), ip_network(NETWORK)], 2):
        assert not one.overlaps(other)


@given(slots)
def test_pods_of_a_node_are_within_their_cluster_and_apart(chosen):
    layout = plan("dev", chosen, NETWORK)
    networks = [ip_network(node.pod_network) for node in layout.nodes]
    assert all(network.subnet_of(ip_network(layout.pod_network)) for network in networks)
    assert not any(one.overlaps(other) for one, other in combinations(networks, 2))


@given(slots, st.booleans())
def test_a_layout_survives_its_file(chosen, audit):
    layout = plan("dev", chosen, NETWORK, audit=audit)
    assert Layout.from_json(layout.to_json()) == layout


def test_a_layout_of_an_earlier_version_keeps_no_audit_log():
    written = plan("dev", [1], NETWORK).to_json()
    del written["audit"]
    assert Layout.from_json(written).audit is False


def test_only_the_first_node_runs_the_control_plane():
    layout = plan("dev", [4, 7], NETWORK)
    assert [node.control_plane for node in layout.nodes] == [True, False]
    assert [node.name for node in layout.nodes] == ["dev-1", "dev-2"]


def test_interface_names_fit_the_kernel():
    assert all(len(plan("dev", [slot], NETWORK).nodes[0].link) <= 15 for slot in SLOTS)
