"""Does the command by which SECURITY.md looks for weak pins see a weakness, and ask of every pin?

    python -m tests.stress.audit --tool /tmp/audit/bin/pip-audit --keep

The true database needs the network, and what it answers changes by the day. Here a small one stands
in for it on this machine: it knows one made-up weakness of one pin, and then none.
"""

from __future__ import annotations

import json
import re
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from tests.stress import report

WEAK = "jinja2"
PINS = re.compile(r"^([\w.-]+)==(\S+)", re.MULTILINE)


class Database(BaseHTTPRequestHandler):
    """Answers as OSV does; ``weak`` and ``asked`` are of the run."""

    weak = ""
    asked: set[tuple[str, str]]

    def do_POST(self) -> None:
        said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name, version = said["package"]["name"], said["version"]
        self.asked.add((name, version))
        package = {"ecosystem": "PyPI", "name": name}
        found = {
            "id": "MADE-UP-1", "summary": "made up", "details": "made up",
            "modified": "2026-01-01T00:00:00Z",
            "affected": [{"package": package, "versions": [version]}],
        }  # fmt: skip
        answer = json.dumps({"vulns": [found]} if name == self.weak else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        """Nothing: pip-audit speaks for itself."""


def described() -> str:
    """The arguments that SECURITY.md gives to pip-audit, as bash reads them."""
    text = (report.ROOT / "SECURITY.md").read_text(encoding="utf-8")
    (arguments,) = re.findall(r"^\S+/pip-audit (.*)$", text, re.MULTILINE)
    return arguments


def audited(tool: str, weak: str) -> tuple[int, str, set[tuple[str, str]]]:
    """(status, what was said, which pins were asked of) where ``weak`` is known to be weak."""
    asked = set[tuple[str, str]]()
    kind = type("Known", (Database,), {"weak": weak, "asked": asked})
    with HTTPServer(("127.0.0.1", 0), kind) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/v1/query"
        command = ["bash", "-c", f"{tool} {described()} -s osv --osv-url {address}"]
        done = subprocess.run(command, cwd=report.ROOT, capture_output=True, text=True, check=False)
        server.shutdown()
    return done.returncode, done.stdout + done.stderr, asked


def main() -> None:
    parser = report.arguments(__doc__)
    parser.add_argument("--tool", default="pip-audit", help="where pip-audit is installed")
    options = parser.parse_args()
    pins = set(PINS.findall((report.ROOT / "hashes.txt").read_text(encoding="utf-8")))
    bad = []
    for weak, status, word in ((WEAK, 1, "MADE-UP-1"), ("", 0, "No known vulnerabilities")):
        got, said, asked = audited(options.tool, weak)
        if got != status or word not in said:
            bad.append(f"status {got} where {status} was right: {said}")
        bad += [f"not asked of: {pin}" for pin in sorted(pins - asked)]
    print(*bad, sep="\n")
    text = (
        "{n} pins asked of a database that stands in for the true one; its one made-up weakness "
        "named, with status 1, and none where there is none, with 0: accidents: {bad}"
    )
    report.told("audit", text.format(n=len(pins), bad=len(bad)), len(bad))


if __name__ == "__main__":
    main()
