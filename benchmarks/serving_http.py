"""Serving over HTTP: time to the first token and requests per second, compared with ``transformers serve``.

    python -m benchmarks.serving_http [--clients 1 8 32] [--requests 64] [--rounds 3] [--no-transformers]

One LLaVA on the miniature's frozen models is saved twice, as an inlay bundle (only the projector) and as a folder of
transformers with the same weights; both servers run at once, with one thread each, and get requests in turns. A request
is one picture with a question, greedy, at most 16 tokens. Then eight adapters with LoRA: the same eight requests at
once, and one after the other. On a busy machine the figures are only indicative; see the spread.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from transformers import (
    CLIPImageProcessor,
    CLIPVisionModel,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)

from inlay.adapters import Adapter
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.inputs import MlpConfig
from inlay.adapters.llm_parts.lora import LoraConfig
from inlay.recipes.settings.default_models import miniature_path
from inlay.recipes.systems.load_backbone import miniature_backbone

TOKENS = 16
QUESTION = "describe the picture."
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}USER: {% for c in m.content %}"
    "{% if c.type == 'image' %}<image>\n{% endif %}{% endfor %}{% for c in m.content %}{% if c.type == 'text' %}"
    "{{ c.text }}{% endif %}{% endfor %} {% endif %}{% endfor %}ASSISTANT:"
)
ADAPTERS = 8


class Figures(NamedTuple):
    """Requests per second of one round."""

    first: float
    """Median seconds to the first text."""
    rate: float
    """Requests per second."""


def write(folder: Path) -> None:
    """Write the bundles ``plain`` and ``lora0`` to ``lora7``, and the folder ``hf``."""
    torch.manual_seed(0)
    backbone = miniature_backbone()
    made: dict[str, Adapter] = {}
    for name in ("plain", *(f"lora{index}" for index in range(ADAPTERS))):
        adapter = Adapter.for_backbone(
            backbone,
            system="llava",
            name=name,
            layout=Layout(template="vicuna_v1", geometry={"image": "pad"}),
            inputs={"image": MlpConfig()},
            lora=None if name == "plain" else LoraConfig(r=8, alpha=16.0, targets=("q_proj", "v_proj")),
        )
        for parameter in adapter.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.05)
        adapter.save_pretrained(folder / name, dtype="float32")
        made[name] = adapter
    _write_hf(backbone, made["plain"], folder / "hf")


def _write_hf(backbone: Any, adapter: Adapter, folder: Path) -> None:
    llm, encoder = backbone.llm.model, backbone.encoder("image")
    tokenizer = backbone.llm.tokenizer
    tokenizer.add_tokens(["<image>"], special_tokens=True)
    vision = CLIPVisionModel(encoder.model.config)
    vision.load_state_dict(encoder.model.state_dict())
    image_token = tokenizer.convert_tokens_to_ids("<image>")
    config = LlavaConfig(
        vision_config=vision.config,
        text_config=llm.config,
        image_token_index=image_token,
        vision_feature_layer=encoder.layer,
        vision_feature_select_strategy="default",
    )
    model = LlavaForConditionalGeneration(config)
    model.model.language_model.load_state_dict(llm.model.state_dict())
    model.lm_head.load_state_dict(llm.lm_head.state_dict())
    model.model.vision_tower.load_state_dict(vision.state_dict())
    projector: Any = adapter.projector("image")
    ours = list(projector.state_dict().values())
    theirs = model.model.multi_modal_projector.state_dict()
    model.model.multi_modal_projector.load_state_dict(dict(zip(theirs, ours, strict=True)))
    model.resize_token_embeddings(max(len(tokenizer), llm.config.vocab_size))
    model.generation_config = llm.generation_config
    model.generation_config.max_new_tokens = TOKENS
    model.save_pretrained(folder)
    images = CLIPImageProcessor.from_pretrained(miniature_path(encoder.port.source))
    make_processor: Any = LlavaProcessor
    make_processor(
        images,
        tokenizer,
        patch_size=encoder.model.config.patch_size,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    ).save_pretrained(folder)


class Server:
    """A server process, and requests to it."""

    def __init__(self, port: int, model: str) -> None:
        self.port, self.model = port, model

    def body(self, number: int, model: str | None = None, **fields: Any) -> bytes:
        """A request with a unique picture."""
        buffer = io.BytesIO()
        Image.linear_gradient("L").resize((64, 64)).rotate(10 * number).convert("RGB").save(buffer, "PNG")
        url = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
        content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": QUESTION}]
        asked = {"model": model or self.model, "messages": [{"role": "user", "content": content}], "temperature": 0.0}
        return json.dumps(asked | {"max_tokens": TOKENS} | fields).encode()

    def ask(self, body: bytes) -> tuple[float, str]:
        """Seconds to the first text of a stream, and the whole text."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        start, first, text = time.perf_counter(), 0.0, ""
        connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
        with connection.getresponse() as response:
            if response.status != 200:
                raise RuntimeError(f"{response.status}: {response.read()[:500]!r}")
            for line in response:
                data = line.removeprefix(b"data: ").strip()
                if not data.startswith(b"{"):
                    continue
                choices = json.loads(data).get("choices") or [{}]
                piece = choices[0].get("delta", {}).get("content") or ""
                if piece and not first:
                    first = time.perf_counter() - start
                text += piece
        connection.close()
        return first, text

    def round(self, clients: int, bodies: Sequence[bytes]) -> Figures:
        """Send all requests, from this number of clients."""
        start = time.perf_counter()
        with ThreadPoolExecutor(clients) as pool:
            firsts = [first for first, _ in pool.map(self.ask, bodies)]
        return Figures(statistics.median(firsts), len(bodies) / (time.perf_counter() - start))


@contextmanager
def process(arguments: Sequence[str], folder: Path, port: int) -> Iterator[None]:
    """Start a server process and wait until it answers."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    log = (folder / f"{port}.log").open("w")
    with subprocess.Popen(arguments, cwd=folder, stdout=log, stderr=log, env=environment) as running:  # noqa: S603
        try:
            until = time.monotonic() + 300
            while not _healthy(port):
                if running.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"{arguments[0]}: does not answer: {(folder / f'{port}.log').read_text()}")
                time.sleep(0.5)
            yield
        finally:
            running.terminate()
            running.wait(60)
            log.close()


def _healthy(port: int) -> bool:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False


def inlay_serve(folder: Path, port: int, *runs: str, batch: int = 32) -> Any:
    """``inlay serve``."""
    command = [sys.executable, "-m", "inlay.recipes.cli", "serve", *runs, "--port", str(port)]
    return process([*command, "--limits.batch", str(batch)], folder, port)


def transformers_serve(folder: Path, port: int) -> Any:
    """``transformers serve``."""
    command = [str(Path(sys.executable).parent / "transformers"), "serve", str(folder / "hf")]
    return process([*command, "--port", str(port), "--device", "cpu", "--dtype", "float32"], folder, port)


def spread(values: Sequence[float], scale: float = 1.0) -> str:
    """Median (smallest to largest)."""
    scaled = [value * scale for value in values]
    return f"{statistics.median(scaled):.1f} ({min(scaled):.1f} to {max(scaled):.1f})"


def compare(servers: dict[str, Server], clients: Sequence[int], count: int, rounds: int) -> None:
    """Measure both servers in turns."""
    for count_of_clients in clients:
        found: dict[str, list[Figures]] = {name: [] for name in servers}
        for turn in range(rounds):
            order = list(servers) if turn % 2 == 0 else list(servers)[::-1]
            for name in order:
                bodies = [servers[name].body(number, stream=True) for number in range(count)]
                found[name].append(servers[name].round(count_of_clients, bodies))
        for name, figures in found.items():
            first, rate = [one.first for one in figures], [one.rate for one in figures]
            print(
                f"{name:>13}, {count_of_clients:>2} clients: first token {spread(first, 1000)} ms, "
                f"{spread(rate)} requests/s",
                flush=True,
            )


def eight_adapters(folder: Path, port: int, rounds: int) -> None:
    """Eight requests to eight adapters, at once and one after the other."""
    names = [f"lora{index}" for index in range(ADAPTERS)]
    with inlay_serve(folder, port, *names, batch=ADAPTERS):
        server = Server(port, names[0])
        bodies = [server.body(number, name, stream=True) for number, name in enumerate(names)]
        together = [text for _, text in ThreadPoolExecutor(ADAPTERS).map(server.ask, bodies)]
        if together != [server.ask(body)[1] for body in bodies]:
            raise ValueError("the answers differ")
        found: dict[str, list[float]] = {"at once": [], "one after the other": []}
        for turn in range(2 * rounds):
            for name in list(found)[:: 1 if turn % 2 == 0 else -1]:
                found[name].append(server.round(ADAPTERS if name == "at once" else 1, bodies).rate)
        for name, rates in found.items():
            print(f"eight adapters, {name}: {spread(rates)} requests/s, same answers", flush=True)


def main() -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--requests", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--port", type=int, default=18_500)
    parser.add_argument("--no-transformers", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder)
        with inlay_serve(folder, asked.port, "plain"):
            servers = {"inlay": Server(asked.port, "plain")}
            if asked.no_transformers:
                compare(servers, asked.clients, asked.requests, asked.rounds)
            else:
                with transformers_serve(folder, asked.port + 1):
                    servers["transformers"] = Server(asked.port + 1, str(folder / "hf"))
                    texts = {name: server.ask(server.body(1, stream=True))[1] for name, server in servers.items()}
                    print(f"the same text: {len(set(texts.values())) == 1} {texts}", flush=True)
                    compare(servers, asked.clients, asked.requests, asked.rounds)
        eight_adapters(folder, asked.port + 2, asked.rounds)


if __name__ == "__main__":
    main()
