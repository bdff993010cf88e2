"""The program of the process in which pygraphviz lays out graphs, labels mended; see ``render.py``.

A line of JSON in: [DOT, format]. A line out: [what was drawn, or null; what Graphviz said].
"""

import json
import os
import re
import sys
import tempfile


def draw(dot: str, form: str) -> str:
    """Raises ValueError (DotError is one) for bad DOT, ImportError for a broken wheel."""
    from pygraphviz import AGraph

    # pygraphviz 2.0.4 crashes the process on a label whose first line is empty. torchviz writes
    # such labels for tensors without a name. A space keeps the line, and the process.
    graph = AGraph(string=re.sub(r'(label=")(\n|\\n)', r"\1 \2", dot))
    return str(graph.draw(format=form, prog="dot").decode())


with tempfile.TemporaryFile() as complaints:
    os.dup2(complaints.fileno(), 2)  # Graphviz and Fontconfig are C code and write there
    for request in sys.stdin:
        drawn, said = None, ""
        try:
            drawn = draw(*json.loads(request))
        except (ImportError, OSError, ValueError) as error:
            said = f"{type(error).__name__}: {error}\n"
        complaints.seek(0)
        lines = (said + complaints.read().decode(errors="replace")).splitlines()
        complaints.seek(0)
        complaints.truncate()
        # Fontconfig warns of files of the system that are newer than the wheel's Fontconfig, and
        # nobody can act on that.
        told = [line for line in lines if not line.startswith("Fontconfig")]
        print(json.dumps([drawn, "\n".join(told)]), flush=True)
