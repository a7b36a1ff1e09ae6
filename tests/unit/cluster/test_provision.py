"""What a new cluster has on disk: who is vouched for by whom, and who may read it."""

import json
import stat

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from cryptography.x509.verification import PolicyBuilder, Store

from slipway.cluster.layout import NodePaths, plan
from slipway.cluster.provision import filesystem, provision


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    directory = tmp_path_factory.mktemp("cluster")
    layout = plan("dev", [1, 2], "172.30.0.0/24")
    provision(layout, directory)
    return layout, directory


def certificate(path):
    return x509.load_pem_x509_certificate(path.read_bytes())


def etc(written, number=0):
    layout, directory = written
    return NodePaths(directory / "nodes" / layout.nodes[number].name).etc


def test_the_api_server_is_vouched_for_at_every_name_it_is_called_by(written):
    directory = etc(written)
    store = Store([certificate(directory / "ca.crt")])
    for name in ("localhost", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"):
        verifier = PolicyBuilder().store(store).build_server_verifier(x509.DNSName(name))
        verifier.verify(certificate(directory / "apiserver.crt"), [])


def test_a_kubelet_is_its_own_node_and_no_other(written):
    for number in (0, 1):
        subject = certificate(etc(written, number) / "kubelet.crt").subject
        names = [attribute.value for attribute in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        assert names == [f"system:node:dev-{number + 1}"]
        assert [a.value for a in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)] == ["system:nodes"]


def test_the_registry_trusts_another_authority_than_the_api_server(written):
    directory = etc(written)
    assert certificate(directory / "registry-ca.crt") != certificate(directory / "ca.crt")
    assert certificate(directory / "etcd-ca.crt") != certificate(directory / "ca.crt")


def test_a_worker_has_no_authority_and_no_administrator(written):
    names = {path.name for path in etc(written, 1).rglob("*")}
    assert not names & {"ca.key", "sa.key", "admin.key", "etcd-client.key", "front-proxy-client.key"}


def test_only_the_owner_reads_keys_and_kubeconfigs(written):
    _, directory = written
    private = [
        path for path in directory.rglob("*") if path.suffix in {".key", ".kubeconfig"} or path.name == "kubeconfig"
    ]
    assert private
    assert {stat.S_IMODE(path.stat().st_mode) for path in private} == {0o600}


def test_the_kubeconfig_for_people_has_one_context_of_the_clusters_name(written):
    layout, directory = written
    kubeconfig = json.loads((directory / "kubeconfig").read_text())
    assert kubeconfig["current-context"] == "slipway-dev"
    assert kubeconfig["clusters"][0]["cluster"]["server"] == layout.api_url


def test_the_file_system_of_a_directory_has_a_number(tmp_path):
    assert filesystem(tmp_path) > 0
    with pytest.raises(FileNotFoundError):
        filesystem(tmp_path / "absent")
