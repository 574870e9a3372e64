#!/usr/bin/env bash
# A SLURM cluster of two hosts as one tree of processes in namespaces of its own: when the tree ends, nothing is left.
#   unshare --mount --net --uts --ipc --pid --fork --kill-child --mount-proc two_hosts.sh FOLDER [SHARED...]
# Needs root, and Debian's slurmctld, slurmd, slurm-client, munge, libpmix-dev and iproute2. FOLDER takes slurm.conf, the
# daemons' logs, and the file `ready` when both hosts are idle. Each host has a name, an address, a /tmp and a /dev/shm of
# its own (two slurmd on one /tmp break the pmix plugin); FOLDER and SHARED are the same on both.
set -eu
folder=$1
network=10.77.0

hostname ctl
mount -t tmpfs none /run # of munge's socket, and the names of network namespaces
mkdir -p /run/munge /run/netns /run/tmp "$folder/state" "$folder/spool"
mount --rbind /tmp /run/tmp
printf '%s\n' '127.0.0.1 localhost' "$network.1 ctl" "$network.11 n1" "$network.12 n2" >"$folder/hosts"
mount --bind "$folder/hosts" /etc/hosts

head -c 1024 /dev/urandom >"$folder/munge.key"
chmod 400 "$folder/munge.key"
munged --force --key-file="$folder/munge.key" --log-file="$folder/munged.log" --seed-file="$folder/munged.seed" \
  --pid-file=/run/munge/munged.pid

cat >"$folder/slurm.conf" <<END
ClusterName=two
SlurmctldHost=ctl($network.1)
SlurmUser=root
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool/%n
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd-%n.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd-%n.log
# A job that is started again waits as long as a credential lives: two minutes unless set; this is the least.
AuthInfo=cred_expire=5
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
SlurmdTimeout=10
KillWait=5
SchedulerParameters=batch_sched_delay=1,sched_interval=1,bf_interval=1
NodeName=n[1-2] CPUs=4 RealMemory=2000
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
END
# Where /sys/fs/cgroup is no mount itself, slurmd does not find out.
printf 'CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n' >"$folder/cgroup.conf"
export SLURM_CONF=$folder/slurm.conf

ip link set lo up
ip link add bridge type bridge
ip addr add "$network.1/24" dev bridge
ip link set bridge up
slurmctld -D >"$folder/slurmctld.out" 2>&1 &
for number in 1 2; do
  host=n$number
  ip netns add "$host"
  ip link add "to-$host" type veth peer name eth0 netns "$host"
  ip link set "to-$host" master bridge up
  ip -n "$host" addr add "$network.1$number/24" dev eth0
  ip -n "$host" link set eth0 up
  ip -n "$host" link set lo up
  cat >"$folder/$host.sh" <<END
hostname $host
mount -t tmpfs none /tmp
mount -t tmpfs none /dev/shm
for path in $*; do
  case \$path in /tmp/*) mkdir -p "\$path"; mount --bind "/run\$path" "\$path" ;; esac
done
while :; do
  slurmd -D -N $host
  while [ -e $folder/$host.down ]; do sleep 0.1; done # one that is killed comes back, when it may
done
END
  ip netns exec "$host" unshare --uts --mount sh "$folder/$host.sh" >"$folder/slurmd-$host.out" 2>&1 &
done

until [ "$(sinfo --noheader --format='%D %T')" = "2 idle" ]; do sleep 0.2; done 2>/dev/null
touch "$folder/ready"
wait
