#!/bin/sh
# engine.sh DIR DATA CGROUP runs a Docker engine as process 1 of private mount, network and process namespaces: its socket and log are in DIR,
# its images in DATA, its containers' control groups below CGROUP. It ends with its standard input, and every process, mount,
# bridge and iptables rule goes with it.
set -eu
dir=$1 data=$2 cgroup=$3

mount -t tmpfs tmpfs /run
mkdir -p /etc/docker
mount -t tmpfs tmpfs /etc/docker
# The engine raises these for the whole machine: here it raises a copy.
for f in root_maxkeys root_maxbytes; do
	cat /proc/sys/kernel/keys/$f >"$dir/$f"
	mount --bind "$dir/$f" /proc/sys/kernel/keys/$f
done
ip link set lo up

dockerd --data-root "$data" --exec-root "$dir/exec" --host "unix://$dir/docker.sock" --pidfile "$dir/docker.pid" \
	--storage-driver overlay2 --bip 172.31.254.1/24 --cgroup-parent "$cgroup" --log-level warn >"$dir/log" 2>&1 </dev/null &
engine=$!
cat >/dev/null || true
kill "$engine" 2>/dev/null || true
wait "$engine" || true
