"""Bulk exchange: only the consumer opens it, a fetch that broke off goes on, and offer and receipt are in the journal."""

import contextlib
import json
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import agreements
import estates
import pytest
from commonpool.cli import run
from commonpool.exchange import drop
from commonpool.journal.query import records
from commonpool.journal.verification import verify
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PLAIN = b"id,name\n" + b"110101,someone\n" * 1_500_000  # 22 MB: three pieces


class Server:
    """Hands out a folder, and notes which ranges were asked for; `cut` ends each answer after so many bytes.

    With `whole`, it knows no ranges.
    """

    def __init__(self, folder: Path) -> None:
        self.cut, self.ranges, self.sent, self.whole = 0, list[str](), 0, False
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if not (folder / self.path.lstrip("/")).exists():
                    self.send_error(404)
                    return
                content = (folder / self.path.lstrip("/")).read_bytes()
                asked = self.headers.get("Range", "")
                server.ranges.append(asked)
                asked = "" if server.whole else asked
                start = int(asked.removeprefix("bytes=").rstrip("-") or 0)
                self.send_response(206 if asked else 200)
                self.send_header("Content-Length", str(len(content) - start))
                self.end_headers()
                part = (
                    content[start : start + server.cut]
                    if server.cut and self.path.endswith(".age")
                    else content[start:]
                )
                server.sent += len(part)
                with contextlib.suppress(OSError):
                    self.wfile.write(part)

            def log_message(self, format: str, *words: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_address[1]}"


class Exchange:
    """Two departments with keys and an agreement, a file to give, and where it goes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.estate = estates.write(folder / "estate", 3)
        agreements.give_keys(self.estate, "d0", "d1", "d2")
        estates.add_service(self.estate, "people", endpoint={"protocol": "HTTP"}, backends=[{"name": "old", "machines": ["ha-registry-1"], "port": 8080}])  # fmt: skip
        agreements.agree(self.estate, "people-for-d1", service="people", evidence="digest")
        for name in ("d0", "d1", "d2"):
            form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            pem = agreements.key(name).private_bytes(serialization.Encoding.PEM, form, plain)
            (folder / f"{name}.pem").write_bytes(pem)
        (folder / "people.csv").write_bytes(PLAIN)
        self.drop = folder / "drop"

    def pack(self, key: str = "d0") -> int:
        return self._run("pack", "people-for-d1", str(self.folder / "people.csv"), "--to", str(self.drop), "--key", str(self.folder / f"{key}.pem"))  # fmt: skip

    def fetch(self, place: str, key: str = "d1") -> int:
        return self._run("fetch", place, "--into", str(self.folder / "in"), "--key", str(self.folder / f"{key}.pem"))

    def acknowledge(self) -> int:
        return self._run("acknowledge", str(self.folder / "in" / "receipt.json"), "--manifest", str(self.drop / "manifest.json"))  # fmt: skip

    def _run(self, verb: str, *words: str) -> int:
        return run(["drop", verb, *words, "--estate", str(self.estate)])


@pytest.fixture
def exchange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Exchange:
    monkeypatch.setenv("COMMONPOOL_JOURNAL", str(tmp_path / "journal"))
    monkeypatch.setattr(drop, "PAUSE_SECONDS", 0.0)
    return Exchange(tmp_path)


@pytest.fixture
def served(exchange: Exchange) -> Iterator[Server]:
    assert exchange.pack() == 0
    one = Server(exchange.drop)
    yield one
    one.http.shutdown()


def test_what_is_packed_arrives_as_it_was_and_offer_and_receipt_are_recorded(
    exchange: Exchange, served: Server
) -> None:
    assert exchange.fetch(served.url) == 0
    assert (exchange.folder / "in" / "people.csv").read_bytes() == PLAIN
    assert b"someone" not in (exchange.drop / "people.csv.age").read_bytes()
    assert exchange.acknowledge() == 0
    assert exchange.acknowledge() == 0
    offered, acknowledged = records(exchange.folder / "journal", kinds=("drop.",))
    assert (offered.kind, offered.data["bytes"], offered.data["key"]) == ("drop.offered", len(PLAIN), "d0/office")
    assert (acknowledged.kind, acknowledged.data["drop"]) == ("drop.acknowledged", offered.data["drop"])
    assert acknowledged.data["key"] == "d1/office"
    assert verify(exchange.folder / "journal").good


def test_a_script_reads_what_was_packed_what_arrived_and_what_was_recorded(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COMMONPOOL_OUTPUT", "json")

    def told(code: int) -> dict[str, Any]:
        assert code == 0
        return dict(json.loads(capsys.readouterr().out))

    packed, arrived = told(exchange.pack()), told(exchange.fetch(str(exchange.drop)))
    assert (packed["kind"], packed["bytes"], packed["consumer"]) == ("Drop", len(PLAIN), "d1")
    assert arrived["files"] == [str(exchange.folder / "in" / "people.csv")]
    first, again = told(exchange.acknowledge()), told(exchange.acknowledge())
    assert packed["drop"] == arrived["drop"] == first["drop"]
    assert (first["written"], again["written"], first["record"]) == (True, False, again["record"])


def test_a_fetch_that_breaks_off_goes_on_after_the_last_good_piece(exchange: Exchange, served: Server) -> None:
    served.cut = 9 << 20
    assert exchange.fetch(served.url) == 0
    assert (exchange.folder / "in" / "people.csv").read_bytes() == PLAIN
    assert served.ranges == ["", "", f"bytes={8 << 20}-", f"bytes={16 << 20}-"]


def test_a_server_without_ranges_sends_again_what_is_there(exchange: Exchange, served: Server) -> None:
    served.whole = True
    parts = exchange.folder / "in" / ".parts"
    parts.mkdir(parents=True)
    (parts / "people.csv.age").write_bytes((exchange.drop / "people.csv.age").read_bytes()[: 8 << 20])
    assert exchange.fetch(served.url) == 0
    assert (exchange.folder / "in" / "people.csv").read_bytes() == PLAIN
    assert served.ranges == ["", f"bytes={8 << 20}-"]


def test_a_drop_for_which_the_disk_has_no_room_leaves_nothing(exchange: Exchange) -> None:
    words = ("pack", "people-for-d1", str(exchange.folder / "people.csv"), "--to", str(exchange.drop))
    key = ("--key", str(exchange.folder / "d0.pem"), "--estate", str(exchange.estate))
    ended = subprocess.run(
        [sys.executable, "-m", "commonpool.cli", "drop", *words, *key],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, "cannot be encrypted into" in ended.stderr) == (1, True), ended.stderr
    assert not exchange.drop.exists()
    assert exchange.pack() == 0


def test_a_fetch_that_gives_up_is_continued_by_the_next_one(exchange: Exchange, served: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    served.cut = 1 << 20  # never a whole piece
    assert exchange.fetch(served.url) == 1
    assert "drop_interrupted" in capsys.readouterr().err
    served.cut, served.ranges = 0, []
    assert exchange.fetch(served.url) == 0
    assert (exchange.folder / "in" / "people.csv").read_bytes() == PLAIN


def test_what_is_not_there_or_not_reached_is_told_in_words(exchange: Exchange, served: Server) -> None:
    place = drop.Source(f"{served.url}/missing", {})
    with pytest.raises(drop.DropRefused, match=r"answers 404 Not Found to manifest\.json"):
        place.manifest()
    with pytest.raises(drop.DropInterrupted, match=r"cannot be reached: .*refused"):
        drop.Source("http://127.0.0.1:1", {}).manifest()
    with pytest.raises(drop.DropRefused, match="exists already"), drop.new_folder(exchange.folder):
        pass


def test_a_redirect_is_not_followed_so_the_token_goes_nowhere_else(
    exchange: Exchange, served: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The proxy keeps the token from the backend, who would get it by sending its bearer to another address of its own."""
    (exchange.folder / "token").write_text("of-the-pool", encoding="utf-8")
    monkeypatch.setenv("COMMONPOOL_TOKEN_FILE", str(exchange.folder / "token"))

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", f"{served.url}{self.path}")
            self.end_headers()

        def log_message(self, format: str, *words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as backend:
        threading.Thread(target=backend.serve_forever, daemon=True).start()
        assert exchange.fetch(f"http://127.0.0.1:{backend.server_address[1]}") == 1
        backend.shutdown()
    assert ("302" in capsys.readouterr().err, served.ranges) == (True, [])


def test_pieces_that_were_damaged_here_are_fetched_again(exchange: Exchange, served: Server) -> None:
    parts = exchange.folder / "in" / ".parts"
    parts.mkdir(parents=True)
    content = bytearray((exchange.drop / "people.csv.age").read_bytes()[: 17 << 20])
    content[9 << 20] ^= 1
    (parts / "people.csv.age").write_bytes(bytes(content))
    assert exchange.fetch(served.url) == 0
    assert served.ranges == ["", f"bytes={8 << 20}-"]


@pytest.mark.parametrize("key", ["d2", "d0"])
def test_nobody_but_the_consumer_opens_it(exchange: Exchange, served: Server, key: str, capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    assert exchange.fetch(served.url, key) == 1
    assert "is none of d1" in capsys.readouterr().err
    with pytest.raises(drop.DropRefused, match="cannot be opened by this key: No matching keys"):
        fields = json.loads((exchange.drop / "manifest.json").read_bytes())
        files = [drop.Packed.from_json(one) for one in fields["files"]]
        drop.fetch(drop.Source(str(exchange.drop), {}), files, exchange.folder / "other", agreements.key(key), print)


@pytest.mark.parametrize("field", ["consumer", "agreement", "text", "files", "signature"])
def test_a_manifest_that_was_changed_is_refused(exchange: Exchange, served: Server, field: str, capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    path = exchange.drop / "manifest.json"
    fields = json.loads(path.read_bytes())
    other = {"consumer": "d2", "agreement": "none", "text": "sha256:0", "files": [], "signature": "AAAA"}[field]
    path.write_text(json.dumps(fields | {field: other}))
    assert exchange.fetch(served.url) == 1
    assert not (exchange.folder / "in" / "people.csv").exists()


def test_a_manifest_that_overruns_who_reads_it_is_refused_in_words(
    exchange: Exchange, served: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    (exchange.drop / "manifest.json").write_text("[" * 200_000)
    assert exchange.fetch(served.url) == 1
    assert "drop_refused" in capsys.readouterr().err


def test_a_file_that_is_not_what_the_manifest_says_is_refused(exchange: Exchange, served: Server) -> None:
    path = exchange.drop / "people.csv.age"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert exchange.fetch(served.url) == 1
    assert not (exchange.folder / "in" / "people.csv").exists()


def test_a_receipt_of_somebody_else_or_for_another_drop_is_not_recorded(exchange: Exchange, served: Server) -> None:
    assert exchange.fetch(served.url) == 0
    path = exchange.folder / "in" / "receipt.json"
    said = json.loads(path.read_bytes())
    for change in ({"department": "d2"}, {"drop": "sha256:0"}, {"bytes": 1}):
        path.write_text(json.dumps(said | change))
        assert exchange.acknowledge() == 1
    assert not list(records(exchange.folder / "journal", kinds=("drop.acknowledged",)))


def test_a_key_that_was_given_up_signs_no_drop_and_no_receipt_any_more(
    exchange: Exchange, served: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    def until(department: str, day: str) -> None:
        path = exchange.estate / "departments" / f"{department}.yaml"
        line = path.read_text(encoding="utf-8")
        path.write_text(line.replace('since: "2026-01-01"', f'since: "2026-01-01", until: "{day}"'), encoding="utf-8")

    assert exchange.fetch(served.url) == 0
    until("d1", "2026-03-01")
    assert exchange.acknowledge() == 1
    assert "did not count on" in capsys.readouterr().err
    until("d0", "2026-03-01")
    assert exchange.fetch(served.url) == 1
    assert "key 'office' of d0 did not count on" in capsys.readouterr().err
    exchange.drop = exchange.folder / "again"
    assert exchange.pack() == 1
    assert "is none of d0" in capsys.readouterr().err


def test_after_one_side_ended_the_agreement_nothing_is_packed_or_fetched(exchange: Exchange, served: Server) -> None:
    assert exchange.fetch(served.url) == 0
    agreements.say(exchange.estate, "people-for-d1", "d0", "terminate")
    assert exchange.acknowledge() == 0, "what was fetched before is proved also after it"
    assert exchange.fetch(served.url) == 1
    exchange.drop = exchange.folder / "again"
    assert exchange.pack() == 1


def test_names_that_lead_elsewhere_are_refused() -> None:
    odd = ("a\0b", "a\nb", "\x1b[2Jclear", "gpj.\u202eexe", "a" * 201, "\ud800")
    for name in ("../x", "a/b", "", ".hidden", "/etc/passwd", "receipt.json", "manifest.json", *odd):
        with pytest.raises(drop.DropRefused):
            drop.Packed.from_json({"name": name, "bytes": 0, "sha256": "", "packed_bytes": 0, "pieces": []})


@pytest.mark.parametrize("change", [{"bytes": None}, {"packed_bytes": "many"}, {"pieces": 5}, {"name": None}])
def test_an_entry_that_says_no_file_is_refused_in_words(change: dict[str, object]) -> None:
    fields = {"name": "a", "bytes": 0, "sha256": "", "packed_bytes": 0, "pieces": []} | change
    with pytest.raises(drop.DropRefused, match="says no file"):
        drop.Packed.from_json({key: value for key, value in fields.items() if key != "name" or value})


def test_no_file_of_a_drop_is_written_over_by_another(tmp_path: Path) -> None:
    """A signed manifest may say anything: of two of one name, or of one called receipt.json, only one would be left."""
    one = drop.Packed("a", 0, "", 0, ())
    with pytest.raises(drop.DropRefused, match="same name"):
        drop.fetch(drop.Source(str(tmp_path), {}), [one, one], tmp_path, Ed25519PrivateKey.generate(), print)
    (tmp_path / "receipt.json").write_text("{}", encoding="utf-8")
    terms = drop.Terms("agreement", "text", "provider", "consumer")
    with pytest.raises(drop.DropRefused, match=r"receipt\.json"):
        drop.pack([tmp_path / "receipt.json"], tmp_path / "out", terms, ["a key"], "now")
    assert not (tmp_path / "out").exists()
