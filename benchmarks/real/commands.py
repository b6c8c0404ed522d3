"""Running `inlay` commands as separate processes, with the time and peak memory of each."""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

__all__ = ["CommandError", "Finished", "ask_page", "inlay"]

INLAY = (sys.executable, "-m", "inlay.recipes.cli")


class CommandError(RuntimeError):
    """A command failed."""


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A finished command."""

    output: str
    """Standard output."""
    seconds: float
    """Wall time."""
    cpu_seconds: float
    """CPU time of all cores together."""
    peak_bytes: int
    """Most resident memory."""


def inlay(*arguments: str, folder: Path) -> Finished:
    """Run ``inlay``; its standard error is shown.

    Args:
        arguments: the arguments of the command.
        folder: the working directory; output is written to a file in it, because a full pipe would block.

    Raises:
        CommandError: its exit status is not 0.
    """
    print(f"$ inlay {' '.join(arguments)}", flush=True)
    start, log = time.monotonic(), folder / "output.txt"
    with log.open("wb") as out:
        process = subprocess.Popen([*INLAY, *arguments], cwd=folder, stdout=out)
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    text = log.read_text(encoding="utf-8")
    if process.returncode:
        raise CommandError(f"inlay {arguments[0]}: exit status {process.returncode}\n{text[-2000:]}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Finished(
        output=text,
        seconds=time.monotonic() - start,
        cpu_seconds=used.ru_utime + used.ru_stime,
        peak_bytes=used.ru_maxrss * unit,
    )


def ask_page(run: str, question: str, picture: Path, *, folder: Path, patience: float = 300.0) -> str:
    """Start ``inlay demo RUN``, ask its page one question about a picture, and stop it.

    Raises:
        CommandError: there is no page, or no answer.
    """
    print(f"$ inlay demo {run}", flush=True)
    arguments = [*INLAY, "demo", run, "--port", "0"]
    with subprocess.Popen(arguments, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            address = next((word for word in line.split() if word.startswith("http://")), "")
            if not address:
                raise CommandError(f"inlay demo: expected the address of a page, got {line!r}")
            page = http.client.HTTPConnection(urlsplit(address).netloc, timeout=patience)
            page.request("GET", "/")
            shown = page.getresponse()
            if shown.status != http.client.OK or b"<html" not in shown.read():
                raise CommandError(f"inlay demo: expected a page, got status {shown.status}")
            return _answer(page, question, picture)
        finally:
            process.send_signal(signal.SIGINT)


def _answer(page: http.client.HTTPConnection, question: str, picture: Path) -> str:
    """Send the request that the page sends: one turn with one picture, to the first adapter."""
    page.request("GET", "/about")
    name = json.loads(page.getresponse().read())["adapters"][0]["id"]
    url = f"data:image/png;base64,{base64.b64encode(picture.read_bytes()).decode()}"
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": question}]
    body = json.dumps({"model": name, "max_tokens": 64, "messages": [{"role": "user", "content": content}]})
    page.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
    reply = page.getresponse()
    text = reply.read().decode()
    if reply.status != http.client.OK:
        raise CommandError(f"inlay demo: status {reply.status}: {text}")
    return str(json.loads(text)["choices"][0]["message"]["content"])
