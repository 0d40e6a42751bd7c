# Keeps one host running: starts it again after a reboot, ends with it after anything else.
#
# $1 name   $2 root folder   $3 the host's cgroup   $4 console log

set -eu
exec </dev/null >>"$4" 2>&1

mkdir -p "$3/keeper" "$3/machine"
echo 0 >"$3/keeper/cgroup.procs"

while :; do
  status=0
  (
    echo 0 >"$3/machine/cgroup.procs"
    # CAP_BPF and bpf(): without them the host's systemd silently skips what units say of
    # addresses and devices; without CAP_NET_ADMIN that of Debian 13 skips what they say of networks.
    exec systemd-nspawn --quiet --register=no --keep-unit --boot --directory="$2" \
      --machine="$1" --hostname="$1" --network-namespace-path="/run/netns/$1" \
      --link-journal=no --resolv-conf=off --timezone=off --console=read-only \
      --capability=CAP_BPF,CAP_NET_ADMIN --system-call-filter="bpf fanotify_init fanotify_mark"
  ) || status=$?
  # What systemd-nspawn says when the host wants to be started again.
  [ "$status" -eq 133 ] || exit "$status"
done
