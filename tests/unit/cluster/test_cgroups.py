"""Reading a machine's control groups."""

from pathlib import Path

from slipway.cluster.cgroups import hierarchies, unified

HYBRID = """\
24 1 0:21 / /sys rw,nosuid shared:2 - sysfs sysfs rw
26 24 0:23 / /sys/fs/cgroup rw shared:3 - tmpfs tmpfs rw,mode=755
27 26 0:24 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:4 - cgroup cgroup rw,cpu,cpuacct
28 26 0:25 / /sys/fs/cgroup/memory rw,relatime shared:5 - cgroup cgroup rw,memory
29 26 0:26 / /sys/fs/cgroup/systemd rw,relatime shared:6 - cgroup cgroup rw,xattr,release_agent=/bin/x,name=systemd
30 26 0:27 / /sys/fs/cgroup/unified rw,relatime shared:7 - cgroup2 cgroup2 rw
"""
UNIFIED = "31 24 0:28 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"


def test_hierarchies_of_version_1_keep_their_controllers_and_mount_options():
    found = {item.path.name: item for item in hierarchies(HYBRID)}
    assert found["cpu,cpuacct"].controllers == ("cpu", "cpuacct")
    assert found["memory"].options == "memory"
    assert found["systemd"].options == "none,name=systemd"
    assert found["systemd"].controllers == ()


def test_a_hybrid_machine_counts_as_version_1():
    assert not unified(hierarchies(HYBRID))


def test_a_machine_with_version_2_alone_is_unified():
    mounted = hierarchies(UNIFIED)
    assert unified(mounted)
    assert mounted[0].path == Path("/sys/fs/cgroup")


def test_no_control_groups_at_all_are_not_unified():
    assert not unified(hierarchies(""))
