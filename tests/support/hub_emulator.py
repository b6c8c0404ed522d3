"""A model hub in one process, over real HTTP on the loopback, as far as clients need it for a model repository.

``with Hub() as hub`` serves on a free port; ``hub.repos`` is the state, ``hub.seen`` the log of requests, and
``hub.fail(...)`` makes the next requests that match go wrong in one of the ways real networks and hostile servers do.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import unquote

import yaml
from hub_wire import Fault, Handler, Problem, Reply, Seen, as_json

__all__ = ["Hub", "Repo"]

REPO = r"(?P<repo>[^/]+/[^/]+)"


@dataclass
class Repo:
    """Commits with all their files; branches, tags and pull requests point into them."""

    private: bool = False
    gated: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    titles: list[tuple[str, str]] = field(default_factory=list)
    refs: dict[str, str] = field(default_factory=dict)

    def commit(self, files: dict[str, bytes], title: str = "commit", ref: str = "main") -> str:
        oid = hashlib.sha1(repr((len(self.commits), sorted(files))).encode(), usedforsecurity=False).hexdigest()
        self.commits[oid] = dict(files)
        self.titles.append((oid, title))
        self.refs[ref] = oid
        return oid

    @property
    def files(self) -> dict[str, bytes]:
        """What ``main`` holds; nothing where only other branches are there."""
        return self.commits.get(self.refs.get("main", ""), {})


class Hub:
    """The server and its state; ``lfs`` names the files that the server wants through LFS."""

    def __init__(self, lfs: str = r"$^", page: int = 1000) -> None:
        self.repos: dict[str, Repo] = {}
        self.tokens = {"hf_owner": "me", "hf_reader": "reader"}
        self.blobs: dict[str, bytes] = {}
        self.seen: list[Seen] = []
        self.faults: list[Fault] = []
        self.before: Callable[[str], None] = lambda request: None
        self.lfs, self.page = re.compile(lfs), page
        self.lock = threading.RLock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": self}))
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients are killed on purpose
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def fail(self, pattern: str, kind: str, times: int = 1, value: Any = None) -> None:
        """Spoil the next ``times`` requests whose ``METHOD path`` matches."""
        self.faults.append(Fault(pattern, kind, times, value))

    def requests(self, pattern: str) -> list[Seen]:
        """Those so far whose ``METHOD path`` matches."""
        return [seen for seen in self.seen if re.search(pattern, f"{seen.method} {seen.path}")]

    # --- the routes --------------------------------------------------------------------------------------------------

    def answer(self, seen: Seen, query: dict[str, list[str]]) -> Reply:
        for method, pattern, name in ROUTES:
            match = re.fullmatch(pattern, seen.path)
            if match and seen.method in method.split("|"):
                found = {key: unquote(value or "") for key, value in match.groupdict().items()}
                reply: Reply = getattr(self, name)(seen, query, **found)
                return reply
        raise Problem(404, "", f"no route {seen.method} {seen.path}")

    def whoami(self, seen: Seen, query: Any) -> Reply:
        if seen.token not in self.tokens:
            raise Problem(401, "", "Invalid credentials in Authorization header")
        return as_json({"name": self.tokens[seen.token], "type": "user", "orgs": []})

    def create(self, seen: Seen, query: Any) -> Reply:
        asked = json.loads(seen.body)
        user = self.tokens.get(seen.token or "")
        if user is None:
            raise Problem(401, "", "Invalid credentials in Authorization header")
        repo_id = f"{asked.get('organization') or user}/{asked['name']}"
        if not repo_id.startswith(f"{user}/"):
            raise Problem(403, "", "You don't have the rights to create a model under this namespace")
        if repo_id in self.repos:
            return as_json({"error": "You already created this model repo", "url": f"{self.url}/{repo_id}"}, 409)
        self.repos[repo_id] = Repo(private=asked.get("visibility") == "private")
        self.repos[repo_id].commit({".gitattributes": b"*.safetensors filter=lfs\n"}, "initial commit")
        return as_json({"url": f"{self.url}/{repo_id}", "name": repo_id})

    def delete(self, seen: Seen, query: Any) -> Reply:
        asked = json.loads(seen.body)
        self._repo(repo_id := f"{asked['organization']}/{asked['name']}", seen, write=True)
        del self.repos[repo_id]
        return as_json({})

    def validate(self, seen: Seen, query: Any) -> Reply:
        text = json.loads(seen.body)["content"]
        try:
            front = yaml.safe_load(text.split("---\n")[1]) if text.startswith("---\n") else None
        except (yaml.YAMLError, IndexError):
            return as_json({"errors": [{"message": "bad YAML"}], "warnings": []}, 400)
        warnings = [] if isinstance(front, dict) else [{"message": "empty or missing yaml metadata in repo card"}]
        return as_json({"errors": [], "warnings": warnings})

    def models(self, seen: Seen, query: dict[str, list[str]]) -> Reply:
        wanted, author = set(query.get("filter", [])), query.get("author", [None])[0]
        items = [
            {"id": name, "sha": repo.refs["main"], "private": repo.private, "tags": _tags(repo), "downloads": 0}
            for name, repo in self.repos.items()
            if not repo.private and wanted <= set(_tags(repo)) and (author is None or name.startswith(f"{author}/"))
        ]
        return self._paged(items, seen, query)

    def info(self, seen: Seen, query: dict[str, list[str]], repo: str, rev: str = "main") -> Reply:
        oid, files = self._at(held := self._repo(repo, seen), rev or "main")
        siblings = [_sibling(name, data, self._is_lfs(name)) for name, data in files.items()]
        if "blobs" not in query:
            siblings = [{"rfilename": item["rfilename"]} for item in siblings]
        facts = {"id": repo, "sha": oid, "private": held.private, "gated": held.gated and "manual"}
        return as_json(facts | {"tags": _tags(held), "siblings": siblings})

    def tree(self, seen: Seen, query: dict[str, list[str]], repo: str, rev: str, path: str = "") -> Reply:
        _, files = self._at(self._repo(repo, seen), rev)
        below = {name: data for name, data in files.items() if not path or name.startswith(f"{path}/")}
        if path and not below:
            raise Problem(404, "EntryNotFound", f"{path} does not exist")
        folders = {name.rsplit("/", 1)[0] for name in below if "/" in name and not path}
        items = [{"type": "directory", "path": name, "size": 0, "oid": "0" * 40} for name in sorted(folders)]
        items += [_tree_item(name, data, self._is_lfs(name)) for name, data in below.items()]
        return self._paged(items, seen, query)

    def paths(self, seen: Seen, query: Any, repo: str, rev: str) -> Reply:
        _, files = self._at(self._repo(repo, seen), rev)
        try:
            asked = json.loads(seen.body)["paths"]
        except ValueError:
            raise Problem(400, "", "Invalid input at paths") from None
        return as_json([_tree_item(name, files[name], self._is_lfs(name)) for name in asked if name in files])

    def refs(self, seen: Seen, query: Any, repo: str) -> Reply:
        held = self._repo(repo, seen)
        named = [{"name": name, "ref": name, "targetCommit": oid} for name, oid in held.refs.items()]
        return as_json({"branches": [item for item in named if "/pr/" not in item["name"]], "tags": [], "converts": []})

    def branch(self, seen: Seen, query: Any, repo: str, name: str) -> Reply:
        held = self._repo(repo, seen, write=True)
        if name in held.refs:
            raise Problem(409, "", f"Reference {name} exists already")
        held.refs[name] = self._at(held, json.loads(seen.body or b"{}").get("startingPoint", "main"))[0]
        return as_json({})

    def tag(self, seen: Seen, query: Any, repo: str, rev: str) -> Reply:
        return self.branch(
            Seen(**vars(seen) | {"body": json.dumps({"startingPoint": rev}).encode()}),
            query,
            repo,
            json.loads(seen.body)["tag"],
        )

    def settings(self, seen: Seen, query: Any, repo: str) -> Reply:
        self._repo(repo, seen, write=True).private = json.loads(seen.body).get("visibility") == "private"
        return as_json({})

    def commits(self, seen: Seen, query: Any, repo: str, rev: str) -> Reply:
        titles = reversed(self._repo(repo, seen).titles)
        return as_json([{"id": oid, "title": t, "date": "2026-01-01T00:00:00Z", "authors": []} for oid, t in titles])

    def preupload(self, seen: Seen, query: dict[str, list[str]], repo: str, rev: str) -> Reply:
        held = self._repo(repo, seen, write="create_pr" not in query)
        _, files = self._at(held, rev)
        reply = []
        for item in json.loads(seen.body)["files"]:
            name = item["path"]
            mode = "lfs" if self._is_lfs(name) else "regular"
            oid = _oid(files[name], mode == "lfs") if name in files else None
            reply.append({"path": name, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return as_json({"files": reply})

    def commit(self, seen: Seen, query: dict[str, list[str]], repo: str, rev: str) -> Reply:
        held = self._repo(repo, seen, write="create_pr" not in query)
        head, *operations = [json.loads(line) for line in seen.body.splitlines()]
        oid, old = self._at(held, rev)
        parent = head["value"].get("parentCommit")
        if parent and parent != oid:
            raise Problem(412, "", "A commit has happened since. Please refresh and try again.")
        files = dict(old)
        for item in operations:
            value, key = item["value"], item["key"]
            if key == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif key == "lfsFile":
                files[value["path"]] = self.blobs[value["oid"]]
            elif key == "deletedFile":
                del files[value["path"]]
        number = sum("refs/pr/" in name for name in held.refs) + 1
        ref = f"refs/pr/{number}" if "create_pr" in query else rev
        new = held.commit(files, head["value"]["summary"], ref)
        facts = {"success": True, "commitOid": new, "commitUrl": f"{self.url}/{repo}/commit/{new}"}
        return as_json(facts | {"pullRequestUrl": f"{self.url}/{repo}/discussions/{number}"})

    def batch(self, seen: Seen, query: Any, repo: str) -> Reply:
        self._repo(repo, seen, write=True)
        objects = []
        for item in json.loads(seen.body)["objects"]:
            links = {"upload": {"href": f"{self.url}/lfs/{item['oid']}"}, "verify": {"href": f"{self.url}/verify"}}
            objects.append(item if item["oid"] in self.blobs else item | {"actions": links})
        return as_json({"transfer": "basic", "objects": objects})

    def put(self, seen: Seen, query: Any, oid: str) -> Reply:
        if hashlib.sha256(seen.body).hexdigest() != oid:
            raise Problem(400, "", "the body has another sha256")
        self.blobs[oid] = seen.body
        return as_json({})

    def verify(self, seen: Seen, query: Any) -> Reply:
        asked = json.loads(seen.body)
        if len(self.blobs.get(asked["oid"], b"")) != asked["size"]:
            raise Problem(404, "", "not uploaded")
        return as_json({})

    def resolve(self, seen: Seen, query: Any, repo: str, rev: str, path: str) -> Reply:
        oid, files = self._at(self._repo(repo, seen), rev)
        if path not in files:
            raise Problem(404, "EntryNotFound", f"{path} does not exist")
        data, lfs = files[path], self._is_lfs(path)
        headers = {"X-Repo-Commit": oid, "ETag": f'"{_oid(data, lfs)}"', "Accept-Ranges": "bytes"}
        if lfs:  # as on the real Hub: the bytes come from another host
            self.blobs[_oid(data, True)] = data
            headers |= {"X-Linked-Etag": f'"{_oid(data, True)}"', "X-Linked-Size": str(len(data))}
            headers["Location"] = f"http://localhost:{self.port}/cdn/{_oid(data, True)}"
            return 302, headers, b""
        return _part(data, seen.range, headers)

    def cdn(self, seen: Seen, query: Any, oid: str) -> Reply:
        return _part(self.blobs[oid], seen.range, {"ETag": '"cdn"', "Accept-Ranges": "bytes"})

    # --- what they share ---------------------------------------------------------------------------------------------

    def _repo(self, repo_id: str, seen: Seen, write: bool = False) -> Repo:
        user = self.tokens.get(seen.token or "")
        if seen.token is not None and user is None:
            raise Problem(401, "", "Invalid credentials in Authorization header")
        held, owner = self.repos.get(repo_id), repo_id.startswith(f"{user}/")
        if held is None or (held.private and not owner):
            raise Problem(404 if user else 401, "RepoNotFound", "Repository not found")
        if held.gated and not owner and "/resolve/" in seen.path:
            raise Problem(403 if user else 401, "GatedRepo", "Access to this model is restricted")
        if write and not owner:
            raise Problem(403, "", "You need write access to this repository")
        return held

    def _at(self, repo: Repo, rev: str) -> tuple[str, dict[str, bytes]]:
        oid = repo.refs.get("main" if rev == "HEAD" else rev, rev)
        if oid not in repo.commits:
            raise Problem(404, "RevisionNotFound", f"Invalid rev id: {rev}")
        return oid, repo.commits[oid]

    def _is_lfs(self, name: str) -> bool:
        return bool(self.lfs.search(name))

    def _paged(self, items: list[Any], seen: Seen, query: dict[str, list[str]]) -> Reply:
        start = int(query.get("cursor", ["0"])[0])
        status, headers, body = as_json(items[start : start + self.page])
        if start + self.page < len(items):
            rest = "&".join(f"{key}={value}" for key, values in query.items() if key != "cursor" for value in values)
            headers["Link"] = f'<{self.url}{seen.path}?{rest}&cursor={start + self.page}>; rel="next"'
        return status, headers, body


API = f"/api/models/{REPO}"
ROUTES: list[tuple[str, str, str]] = [
    ("GET", "/api/whoami-v2", "whoami"),
    ("POST", "/api/repos/create", "create"),
    ("DELETE", "/api/repos/delete", "delete"),
    ("POST", "/api/validate-yaml", "validate"),
    ("GET", "/api/models", "models"),
    ("GET", API, "info"),
    ("GET", f"{API}/revision/(?P<rev>.+)", "info"),
    ("GET", f"{API}/tree/(?P<rev>[^/]+)(/(?P<path>.+))?", "tree"),
    ("POST", f"{API}/paths-info/(?P<rev>[^/]+)", "paths"),
    ("GET", f"{API}/refs", "refs"),
    ("POST", f"{API}/branch/(?P<name>[^/]+)", "branch"),
    ("POST", f"{API}/tag/(?P<rev>[^/]+)", "tag"),
    ("PUT", f"{API}/settings", "settings"),
    ("GET", f"{API}/commits/(?P<rev>[^/]+)", "commits"),
    ("POST", f"{API}/preupload/(?P<rev>[^/]+)", "preupload"),
    ("POST", f"{API}/commit/(?P<rev>[^/]+)", "commit"),
    ("POST", f"/{REPO}\\.git/info/lfs/objects/batch", "batch"),
    ("PUT", "/lfs/(?P<oid>[0-9a-f]{64})", "put"),
    ("POST", "/verify", "verify"),
    ("GET|HEAD", f"/{REPO}/resolve/(?P<rev>[^/]+)/(?P<path>.+)", "resolve"),
    ("GET|HEAD", "/cdn/(?P<oid>[0-9a-f]{64})", "cdn"),
]


def _oid(data: bytes, lfs: bool) -> str:
    if lfs:
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _tree_item(name: str, data: bytes, lfs: bool) -> dict[str, Any]:
    item: dict[str, Any] = {"type": "file", "path": name, "size": len(data), "oid": _oid(data, False)}
    return item | {"lfs": {"oid": _oid(data, True), "size": len(data), "pointerSize": 134}} if lfs else item


def _sibling(name: str, data: bytes, lfs: bool) -> dict[str, Any]:
    item: dict[str, Any] = {"rfilename": name, "size": len(data), "blobId": _oid(data, False)}
    return item | {"lfs": {"sha256": _oid(data, True), "size": len(data), "pointerSize": 134}} if lfs else item


def _part(data: bytes, asked: str | None, headers: dict[str, str]) -> Reply:
    if asked is None:
        return 200, headers, data
    first, _, last = asked.removeprefix("bytes=").partition("-")
    start, end = int(first), min(int(last or len(data) - 1), len(data) - 1)
    if start >= len(data):
        return 416, {"Content-Range": f"bytes */{len(data)}"}, b""
    return 206, headers | {"Content-Range": f"bytes {start}-{end}/{len(data)}"}, data[start : end + 1]


def _tags(repo: Repo) -> list[str]:
    """As the Hub does: from the card, with ``base_model:`` and ``license:`` put before their values."""
    parts = repo.files.get("README.md", b"").decode(errors="replace").split("---\n")
    front = yaml.safe_load(parts[1]) if len(parts) > 2 else {}
    base: Iterable[str] = front.get("base_model") or []
    relation = front.get("base_model_relation")
    tags = [*front.get("tags", []), *([front["library_name"]] if "library_name" in front else [])]
    return tags + [f"base_model:{name}" for name in base] + [f"base_model:{relation}:{name}" for name in base]
