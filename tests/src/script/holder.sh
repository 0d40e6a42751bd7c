# Runs as the first process of a lab's own pid, mount and network namespaces. All that a lab
# has started lives below this process: when it ends, the kernel ends the rest with it.
#
# $1 the lab's folder of state   $2 the lock of the base image   $3 the lab's cgroup
# $4 `owned` by whoever holds the other end of standard input, or `kept` until it is taken down

set -eu

# Keeps the base image where it is for as long as the lab runs.
exec 9<"$2"
flock --shared --nonblock 9 || { echo "the base image is being rebuilt" >&2; exit 1; }

# Hosts must see pure cgroup v2, also on a machine that has v1.
umount --recursive /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p "/sys/fs/cgroup/$3"

# Names of network namespaces and the registry of systemd-nspawn: the lab's own, gone with it.
mkdir -p /run/netns /run/systemd/nspawn
mount -t tmpfs -o mode=755 tmpfs /run/netns
mount -t tmpfs -o mode=755 tmpfs /run/systemd/nspawn

# Commands in the lab find its hosts by name.
mount --bind "$1/hosts" /etc/hosts

echo up
exec >/dev/null

# Waits in a child: the first process of a namespace has to stay bash, which collects the
# orphans that others leave behind.
if [ "$4" = owned ]; then
  # Standard input is a pipe that ends with its owner, however the owner ends.
  cat
else
  sleep infinity
fi
:
