"""A Hugging Face hub on this machine: the few answers of its API that fetching needs, for folders of the tests."""

from __future__ import annotations

import hashlib
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

__all__ = ["FakeHub", "serving"]


@dataclass
class FakeHub:
    """Repositories by id, each a folder; its commit is a digest of what the folder holds now.

    Attributes:
        repositories: folders by id.
        closed: ids whose licence has not been accepted.
        fetched: paths of files whose content was asked for.
        url: where it listens.
    """

    repositories: dict[str, Path]
    closed: set[str] = field(default_factory=set)
    fetched: list[str] = field(default_factory=list)
    url: str = ""

    def files(self, repository: str) -> dict[str, bytes]:
        root = self.repositories[repository]
        return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}

    def commit(self, repository: str) -> str:
        """Return the commit of a folder as it is now: 40 hexadecimal digits."""
        digest = hashlib.sha1()
        for name, data in self.files(repository).items():
            digest.update(name.encode() + b"\0" + data)
        return digest.hexdigest()


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub

    def log_message(self, *arguments):
        pass

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, *, body):
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        api = parts[:2] == ["api", "models"]
        parts = parts[2:] if api else parts
        repository, rest = "/".join(parts[:2]), parts[2:]
        if repository not in self.hub.repositories:
            return self.refuse(404, "RepoNotFound")
        if repository in self.hub.closed:
            return self.refuse(403, "GatedRepo")
        commit, files = self.hub.commit(repository), self.hub.files(repository)
        revision = rest[1] if len(rest) > 1 else "main"
        if revision not in ("main", commit):
            return self.refuse(404, "RevisionNotFound")
        if api and rest[:1] == ["tree"]:
            entries = [
                {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for name, data in files.items()
            ]
            return self.send(json.dumps(entries).encode(), "application/json", body=body)
        if api:
            known = {"id": repository, "sha": commit, "siblings": [{"rfilename": name} for name in files]}
            return self.send(json.dumps(known).encode(), "application/json", body=body)
        name = "/".join(rest[2:])
        if rest[:1] != ["resolve"] or name not in files:
            return self.refuse(404, "EntryNotFound")
        if body:
            self.hub.fetched.append(name)
        tag = {"ETag": f'"{hashlib.sha1(files[name]).hexdigest()}"', "X-Repo-Commit": commit}
        return self.send(files[name], "application/octet-stream", tag, body=body)

    def refuse(self, status, code):
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def send(self, data, kind, headers=(), *, body):
        self.send_response(200)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **dict(headers)}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(data)


@contextmanager
def serving(hub: FakeHub):
    """Serve a hub on a free port of this machine while the block runs; its address is ``hub.url``."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
