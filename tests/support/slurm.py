"""Starts a SLURM cluster of one node with two pretend GPUs. All its files lie below one folder, but for a link to them."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

LINK = Path("/etc/slurm/slurm.conf")  # the only place where jobs find it: Snakemake's plugin clears their SLURM variables
CONF = """
ClusterName=toy
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
CommunicationParameters=NoInAddrAny
SlurmUser=root
SlurmdUser=root
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
GresTypes=gpu
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
MinJobAge=300
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=16 RealMemory=64000 Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Returns why no cluster can be started here, or an empty text; installs SLURM where apt-get can."""
    if os.geteuid():
        return "starting SLURM needs root"
    if LINK.exists():
        return f"{LINK} exists: this machine has its own SLURM"
    if not shutil.which("slurmctld") or not shutil.which("munged"):
        if not shutil.which("apt-get"):
            return "SLURM is not installed, and there is no apt-get"
        for command in (["update"], ["install", "-y", "--no-install-recommends", "slurm-wlm", "munge"]):
            if subprocess.run(["apt-get", "-q", *command], capture_output=True, check=False).returncode:
                return "SLURM is not installed, and apt-get cannot install it"
    return ""


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[dict[str, str]]:
    """Starts the cluster in an empty folder, and yields the environment in which its commands find it."""
    host = socket.gethostname().split(".")[0]
    ports = [_free_port() for _ in range(2)]
    for name in ("state", "spool"):
        (folder / name).mkdir()
    (folder / "slurm.conf").write_text(CONF.format(folder=folder, host=host, ports=ports))
    (folder / "gres.conf").write_text("".join(f"NodeName={host} Name=gpu File=/dev/{device}\n" for device in ("null", "zero")))
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    files = {"key-file": key.name, "socket": "munge.socket", "pid-file": "munged.pid", "log-file": "munged.log",
             "seed-file": "munged.seed"}  # fmt: skip
    environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
    LINK.parent.mkdir(exist_ok=True)
    LINK.unlink(missing_ok=True)  # a broken link, from a test that was killed
    LINK.symlink_to(folder / "slurm.conf")
    munged = ["munged", "--force", *(f"--{option}={folder / name}" for option, name in files.items())]
    try:
        for command in (munged, ["slurmctld", "-c"], ["slurmd"]):
            subprocess.run(command, env=environment, check=True, capture_output=True)
        _wait_for_node(environment)
        yield environment
    finally:
        subprocess.run(["scancel", "--user=root"], env=environment, capture_output=True, check=False)
        LINK.unlink()
        for name in ("slurmd", "slurmctld", "munged"):
            with contextlib.suppress(OSError, ValueError):
                os.kill(int((folder / f"{name}.pid").read_text()), signal.SIGTERM)


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port: int = server.getsockname()[1]
        return port


def _wait_for_node(environment: dict[str, str]) -> None:
    for _ in range(60):
        result = subprocess.run(["sinfo", "-h", "-o", "%T"], env=environment, capture_output=True, text=True, check=False)
        if result.stdout.strip() == "idle":
            return
        time.sleep(0.5)
    raise RuntimeError(f"the node did not start: {result.stdout} {result.stderr}")
