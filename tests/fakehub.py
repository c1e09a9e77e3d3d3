"""A Hugging Face Hub on the loopback interface, in memory: enough for the real client to create, push and pull models.

It checks neither tokens nor names, and it has only the branch "main". So it shows which files travel, and nothing about
the rules of the real Hub. Large files use the git-lfs calls; the client must run with HF_HUB_DISABLE_XET=1.
"""

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

Files = dict[str, bytes]

_RESOLVE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
_API = re.compile(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree|preupload|commit)(?:/([^/]+))?)?")
_LFS_BATCH = re.compile(r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch")
_LFS = re.compile(r"/lfs/([0-9a-f]{64})")


def blob_sha(data: bytes) -> str:
    """The name that git gives to the content of a file."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class FakeHub(ThreadingHTTPServer):
    """`with FakeHub() as hub:` serves at `hub.url`; `hub.files("owner/name")` are the files of a repository by path."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.commits: dict[str, list[tuple[str, Files]]] = {}
        self.lfs: Files = {}

    def __enter__(self) -> "FakeHub":
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def files(self, repo: str) -> Files:
        return self.commits[repo][-1][1]

    def commit(self, repo: str, files: Files) -> str:
        history = self.commits.setdefault(repo, [])
        content = sorted((path, blob_sha(data)) for path, data in files.items())
        sha = hashlib.sha1(repr((repo, len(history), content)).encode()).hexdigest()
        history.append((sha, files))
        return sha

    def find_commit(self, repo: str, revision: str | None) -> tuple[str, Files] | None:
        if revision in (None, "main"):
            return self.commits[repo][-1]
        return next((commit for commit in self.commits[repo] if commit[0] == revision), None)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeHub

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""

    def reply(self, value: Any = None, code: int = 200, headers: dict[str, str] | None = None) -> None:
        data = value if isinstance(value, bytes) else json.dumps({} if value is None else value).encode()
        self.send_response(code)
        kind = "application/octet-stream" if isinstance(value, bytes) else "application/json"
        for key, text in {"Content-Type": kind, "Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(key, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def missing(self, code: str, headers: dict[str, str] | None = None) -> None:
        self.reply({"error": code}, 404, {"X-Error-Code": code, "X-Error-Message": code, **(headers or {})})

    def handle_any(self) -> None:
        path = unquote(urlsplit(self.path).path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if path == "/api/validate-yaml":
            self.reply({"errors": [], "warnings": []})
        elif path == "/api/repos/create":
            self.create(json.loads(body))
        elif match := _LFS.fullmatch(path):
            self.server.lfs[match[1]] = body
            self.reply()
        elif _LFS_BATCH.fullmatch(path):
            self.lfs_batch(json.loads(body)["objects"])
        elif match := _RESOLVE.fullmatch(path):
            self.resolve(*match.groups())
        elif match := _API.fullmatch(path):
            self.api(match[1], match[2], match[3], body)
        else:
            self.missing("NotImplemented")

    do_GET = do_HEAD = do_POST = do_PUT = handle_any  # noqa: N815

    def create(self, request: dict[str, Any]) -> None:
        repo = f"{request.get('organization') or 'tester'}/{request['name']}"
        answer = {"url": f"{self.server.url}/{repo}", "id": repo, "name": repo}
        exists = repo in self.server.commits
        if not exists:
            self.server.commit(repo, {})
        self.reply(answer, 409 if exists else 200)

    def lfs_batch(self, objects: list[dict[str, Any]]) -> None:
        for item in objects:
            if item["oid"] not in self.server.lfs:
                item["actions"] = {"upload": {"href": f"{self.server.url}/lfs/{item['oid']}", "header": {}}}
        self.reply({"transfer": "basic", "objects": objects})

    def resolve(self, repo: str, revision: str, path: str) -> None:
        if repo not in self.server.commits:
            return self.missing("RepoNotFound")
        commit = self.server.find_commit(repo, revision)
        if commit is None:
            return self.missing("RevisionNotFound")
        sha, files = commit
        if path not in files:
            return self.missing("EntryNotFound", {"X-Repo-Commit": sha})
        return self.reply(files[path], headers={"X-Repo-Commit": sha, "ETag": f'"{blob_sha(files[path])}"'})

    def api(self, repo: str, verb: str | None, revision: str | None, body: bytes) -> None:
        if repo not in self.server.commits:
            return self.missing("RepoNotFound")
        commit = self.server.find_commit(repo, revision)
        if commit is None:
            return self.missing("RevisionNotFound")
        sha, files = commit
        if verb == "preupload":
            return self.reply({"files": [self.upload_mode(item["path"]) for item in json.loads(body)["files"]]})
        if verb == "commit":
            return self.apply_commit(repo, body)
        if verb == "tree":
            entries = [
                {"type": "file", "oid": blob_sha(data), "size": len(data), "path": p} for p, data in files.items()
            ]
            return self.reply(entries)
        siblings = [{"rfilename": path} for path in files]
        return self.reply({"_id": "0", "id": repo, "modelId": repo, "sha": sha, "siblings": siblings, "tags": []})

    @staticmethod
    def upload_mode(path: str) -> dict[str, Any]:
        large = path.endswith((".safetensors", ".bin", ".pt"))
        return {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False, "oid": None}

    def apply_commit(self, repo: str, body: bytes) -> None:
        files = dict(self.server.files(repo))
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.server.lfs[value["oid"]]
        sha = self.server.commit(repo, files)
        self.reply({"commitUrl": f"{self.server.url}/{repo}/commit/{sha}", "commitOid": sha, "success": True})
