"""A JupyterLab of its own for tests and pictures, in a temporary folder.

Everything lives there: a copy of the notebooks, JupyterLab's settings and workspaces, the kernel's
files. Nothing of the user's own Jupyter is read or written.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

START_SECONDS = 90
LAB_SETTINGS = Path(__file__).resolve().parents[1] / "gan_lessons" / "classroom" / "jupyter"


class LabServer:
    """A JupyterLab on 127.0.0.1 over a copy of ``notebooks``, private to ``scratch``.

    ``scratch`` is created and not removed: the caller owns it. ``dark`` chooses the theme.
    ``config`` is a folder of Jupyter configuration to use in place of what ``make lab`` reads and
    our settings for tests.
    Entering starts the server and waits until it answers; leaving ends it and its kernels.
    Raises RuntimeError with the end of the server's log if it does not start.
    """

    def __init__(
        self, notebooks: Path, scratch: Path, *, dark: bool = False, config: Path | None = None
    ) -> None:
        self.scratch = scratch.resolve()
        self.root = self.scratch / "notebooks"
        self.token = secrets.token_hex(16)
        self.url = ""
        self._source = notebooks
        self._dark = dark
        self._config = config
        self.program: tuple[str, ...] = (sys.executable, "-m", "jupyterlab")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        shutil.copytree(
            self._source, self.root, ignore=shutil.ignore_patterns(".ipynb_checkpoints")
        )
        if self._config is None:
            self._write_settings()
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [*self.program, "--no-browser", "--allow-root"]
        command += [
            "--ServerApp.ip=127.0.0.1",
            f"--ServerApp.port={port}",
            "--ServerApp.port_retries=0",
            f"--ServerApp.root_dir={self.root}",
            f"--IdentityProvider.token={self.token}",
            "--LabApp.expose_app_in_browser=True",
        ]
        with (self.scratch / "server.log").open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.root,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def log(self) -> str:
        return (self.scratch / "server.log").read_text(encoding="utf-8", errors="replace")

    def end_sessions(self) -> None:
        """Shut down the kernel of every notebook: the next ones need its memory."""
        for session in json.loads(self._ask("GET", "/api/sessions")):
            self._ask("DELETE", f"/api/sessions/{session['id']}")

    def start_kernel(self, name: str) -> Path:
        """Start the kernel in which the notebook ``name`` will be opened; its connection file."""
        asked = {"path": name, "name": name, "type": "notebook", "kernel": {"name": "python3"}}
        session = json.loads(self._ask("POST", "/api/sessions", START_SECONDS, asked))
        return self.scratch / "runtime" / f"kernel-{session['kernel']['id']}.json"

    def _ask(self, method: str, path: str, seconds: float = 30, sent: Any = None) -> bytes:
        request = urllib.request.Request(
            self.url + path,
            headers={"Authorization": f"token {self.token}"},
            method=method,
            data=None if sent is None else json.dumps(sent).encode(),
        )
        with urllib.request.urlopen(request, timeout=seconds) as answer:
            return bytes(answer.read())

    def _environment(self) -> dict[str, str]:
        environment = kernel_environment(self.scratch)
        return environment | {
            "JUPYTER_CONFIG_PATH": str(self._config or LAB_SETTINGS),
            "JUPYTERLAB_SETTINGS_DIR": str(self.scratch / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(self.scratch / "workspaces"),
        }

    def _write_settings(self) -> None:
        settings: dict[str, dict[str, Any]] = {
            # Lab leaves cells out of the page while they are out of view; a test looks at all.
            "notebook-extension/tracker": {"windowingMode": "none"},
            "apputils-extension/themes": {
                "theme": "JupyterLab Dark" if self._dark else "JupyterLab Light"
            },
        }
        for name, values in settings.items():
            path = self.scratch / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values), encoding="utf-8")

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                raise RuntimeError(f"JupyterLab ended while starting:\n{self.log()[-3000:]}")
            try:
                self._ask("GET", "/api/status", 5)
                return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        raise RuntimeError(
            f"JupyterLab gave no answer within {START_SECONDS} s:\n{self.log()[-3000:]}"
        )

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)  # the server shuts its kernels down
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def kernel_environment(scratch: Path) -> dict[str, str]:
    """Return an environment in which Jupyter and its kernels write only below ``scratch``."""
    private = {
        "JUPYTER_CONFIG_DIR": scratch / "config",
        "JUPYTER_DATA_DIR": scratch / "data",
        "JUPYTER_RUNTIME_DIR": scratch / "runtime",
        "IPYTHONDIR": scratch / "ipython",
        "MPLCONFIGDIR": scratch / "matplotlib",
    }
    environment = {**os.environ, **{name: str(path) for name, path in private.items()}}
    environment["JUPYTER_PREFER_ENV_PATH"] = "1"
    environment["JUPYTER_PLATFORM_DIRS"] = "1"
    # Below pytest a kernel would leave what C code writes to stderr out of the cell. A learner
    # sees it, so the tests have to.
    environment.pop("PYTEST_CURRENT_TEST", None)
    environment.pop("MPLBACKEND", None)
    return environment


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
