"""A SLURM cluster of two hosts, n1 and n2, on this machine (two_hosts.sh), and the commands a user gives on it."""

import os
import pathlib
import shutil
import signal
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent
COMMANDS = ["slurmctld", "slurmd", "srun", "munged", "ip", "tc", "unshare", "nsenter"]
# What makes a link slow, the first that the kernel has: sch_netem, or sch_tbf, which limits the rate alone.
SLOW = [["netem", "delay", "20ms", "rate", "50mbit"], ["tbf", "rate", "1mbit", "burst", "4kb", "latency", "1s"]]
NAMESPACES = ["--mount", "--net", "--uts", "--ipc", "--pid"]


def obstacle():
    """Why there can be no such cluster here, or None."""
    if os.geteuid() != 0:
        return "a cluster is made by root alone"
    missing = [name for name in COMMANDS if shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin") is None]
    if not list(pathlib.Path("/usr/lib").glob("*/libpmix.so")):
        missing.append("libpmix.so")
    if missing:
        return f"{', '.join(missing)}: not found (scripts/setup.sh --tests installs them)"
    made = subprocess.run(["unshare", *NAMESPACES, "--fork", "--mount-proc", "mount", "-t", "tmpfs", "none", "/run"],
                          capture_output=True, text=True, check=False)
    return None if made.returncode == 0 else f"no namespaces here, as in a container without rights: {made.stderr.strip()}"


class Ended:
    """A command that has ended: its exit code and all that it printed."""

    def __init__(self, code, text):
        self.code, self.text = code, text

    def __repr__(self):
        return f"exit code {self.code}\n{self.text}"


def processes():
    """Of this machine and the cluster: (process id, parent, arguments)."""
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            arguments = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        yield int(entry.name), parent, arguments


def environment_of(pid):
    try:
        text = pathlib.Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    except OSError:
        return {}
    return dict(entry.split("=", 1) for entry in text.split("\0") if "=" in entry)


class Cluster:
    def __init__(self, folder, environment, shared):
        self.folder = folder
        # A rank that crashes leaves its stack in a file of its own: others' lines would cut it.
        self.environment = environment | {"SLURM_CONF": str(folder / "slurm.conf"),
                                          "OMPI_MCA_opal_stacktrace_output": f"file:{folder}/stack"}
        with open(folder / "cluster.out", "w", encoding="utf-8") as out:
            self.tree = subprocess.Popen(
                ["unshare", *NAMESPACES, "--fork", "--kill-child", "--mount-proc", HERE / "two_hosts.sh", folder, *shared],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=self.environment)
        self.wait_for(lambda: self.tree.poll() is not None or (folder / "ready").exists(), 30, "a cluster with two idle hosts")
        assert self.tree.poll() is None, self.logs()
        [self.first] = [pid for pid, parent, _ in processes() if parent == self.tree.pid]

    def end(self):
        self.tree.kill()
        self.tree.wait()

    def logs(self):
        return "\n".join(f"--- {path.name}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-30:])
                         for path in sorted([*self.folder.glob("*.log"), *self.folder.glob("*.out")]))

    def wait_for(self, condition, seconds, what):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"{what}: not within {seconds} s\n{self.logs()}"
            time.sleep(0.05)

    def start(self, *command, cwd=None, env=None):
        """A command on the host of the controller, where users log in."""
        inside = ["nsenter", "--target", str(self.first), *NAMESPACES, "--", "env", "-C", str(cwd or self.folder)]
        return subprocess.Popen([*inside, *map(str, command)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True, env=self.environment | (env or {}))

    def finish(self, process, timeout=60):
        try:
            out, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self("scancel", "--user=root")
            process.kill()
            out, _ = process.communicate()
            raise AssertionError(f"no end within {timeout} s\n{self.logs()}\n--- the command\n{out}") from None
        # pytest shows all of it where a test fails; of an assertion's values it cuts the middle.
        stacks = [f"--- {path.name}\n{path.read_text(errors='replace')}" for path in sorted(self.folder.glob("stack*"))]
        print(f"{process.args[7:]}\n{out}", *stacks, sep="\n")
        return Ended(process.returncode, out)

    def __call__(self, *command, timeout=60, **settings):
        return self.finish(self.start(*command, **settings), timeout)

    def submit(self, script, *arguments, options=(), **settings):
        """sbatch: the number of the job."""
        ended = self("sbatch", "--parsable", *options, script, *arguments, **settings)
        assert ended.code == 0, ended
        return ended.text.strip()

    def facts(self, job):
        """What SLURM says of a job, of the last of them in an array: JobState, Restarts, ExitCode and so on."""
        return dict(word.split("=", 1) for word in self("scontrol", "--oneliner", "show", "job", job).text.split() if "=" in word)

    def wait_for_state(self, job, *states, seconds=60):
        self.wait_for(lambda: self.facts(job).get("JobState") in states, seconds, f"job {job}: {' or '.join(states)}")
        return self.facts(job)

    def ranks(self, program):
        """The process ids of the tasks of srun that run `program`, by (host, rank)."""
        found = {}
        for pid, _, arguments in processes():
            if arguments[0] == str(program):
                variables = environment_of(pid)
                # A process that begins or ends shows none.
                if "SLURMD_NODENAME" in variables and "SLURM_PROCID" in variables:
                    found[(variables["SLURMD_NODENAME"], int(variables["SLURM_PROCID"]))] = pid
        return found

    def kill_slurmd(self, host):
        """Ends the daemon of a host, not the tasks there; it comes back at once, or where the host is lost, with revive."""
        [pid] = [pid for pid, _, arguments in processes() if arguments[:4] == ["slurmd", "-D", "-N", host]]
        os.kill(pid, signal.SIGKILL)

    def lose(self, host):
        """As if SLURM had not heard of the host for its SlurmdTimeout."""
        (self.folder / f"{host}.down").touch()
        self.kill_slurmd(host)
        assert self("scontrol", "update", f"NodeName={host}", "State=DOWN", "Reason=lost").code == 0

    def revive(self, host):
        (self.folder / f"{host}.down").unlink(missing_ok=True)

    def set_link(self, host, state):
        assert self("ip", "link", "set", f"to-{host}", state).code == 0

    def slow_link(self, host):
        """Slows what goes to the host and what comes from it; by what, or None where the kernel can by nothing."""
        for how in SLOW:
            if self("tc", "qdisc", "add", "dev", f"to-{host}", "root", *how).code == 0:
                assert self("tc", "-n", host, "qdisc", "add", "dev", "eth0", "root", *how).code == 0
                return " ".join(how)
        return None

    def restore_link(self, host):
        assert self("tc", "qdisc", "del", "dev", f"to-{host}", "root").code == 0
        assert self("tc", "-n", host, "qdisc", "del", "dev", "eth0", "root").code == 0

    def wait_until_idle(self):
        self.wait_for(lambda: self("sinfo", "--noheader", "--format=%D %T").text.strip() == "2 idle", 60, "two idle hosts")
