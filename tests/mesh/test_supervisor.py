"""What becomes of the sample's servers when nobody can stop them any more."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from servers.supervisor import KINDS, free_ports

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(90)
def test_servers_end_with_a_supervisor_that_was_killed(tmp_path: Path) -> None:
    ports = ",".join(map(str, free_ports(len(KINDS))))
    command = (sys.executable, "-m", "servers.serve", "--state", str(tmp_path), "--ports", ports)
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as supervisor:
        assert supervisor.stdout is not None
        assert supervisor.stderr is not None
        assert supervisor.stdout.readline() == "mesh ready\n"
        said = [supervisor.stderr.readline() for _ in KINDS]
        pids = [int(pid) for line in said for pid in re.findall(r"\(pid (\d+)\)", line)]
        servers = [psutil.Process(pid) for pid in pids]
        assert len(servers) == len(KINDS)
        supervisor.kill()
    gone, alive = psutil.wait_procs(servers, timeout=20)
    assert not alive
    assert len(gone) == len(KINDS)
