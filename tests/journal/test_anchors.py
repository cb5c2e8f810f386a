"""Heads that others keep: peers' journals, and the times that a timestamping service vouches for (A2, A3, A5, A6)."""

import base64
import shutil
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from commonpool.journal import Entry, Journal, JournalUnavailable, Record, query, segment
from commonpool.journal.anchor import Head, head, heads, keep
from commonpool.journal.error import AnchorRefused
from commonpool.journal.note import Signer
from commonpool.journal.record import START, encoded, line_hash
from commonpool.journal.report import Finding
from commonpool.journal.timestamp import STAMPED, ServiceFailed, Stamping, checked, sizes, stamp
from commonpool.journal.tree import Frontier
from commonpool.journal.verification import verify
from cryptography import x509
from journals import made

KEY_SIZE = "rsa:2048"


def test_a1_a2_a_peer_that_keeps_our_head_tells_when_our_end_is_cut_off(tmp_path: Path) -> None:
    ours, peer = made(tmp_path / "ours", [5, 5], "ours"), made(tmp_path / "peer", [2], "peer")
    shutil.copytree(ours.folder, tmp_path / "before")
    ours.append([Entry("up.begun", "d1")])
    keep(peer, head(ours.folder, ours.checkpoint()), [ours.verifier], "somebody")
    assert verify(ours.folder, heads=heads(peer.folder)).anchors == 1
    verdict = verify(tmp_path / "before", heads=heads(peer.folder))
    assert verdict.finding is not None
    assert (verdict.finding.sequence, verdict.finding.rule) == (11, "truncated")


def test_a2_another_journal_in_the_place_of_ours_does_not_pass_for_it(tmp_path: Path) -> None:
    """Made anew with a key of its own it is whole; what tells is that nobody ever kept a head of it."""
    ours, peer = made(tmp_path / "ours", [5], "ours"), made(tmp_path / "peer", [2], "peer")
    keep(peer, head(ours.folder, ours.checkpoint()), [ours.verifier], "somebody")
    other = made(tmp_path / "other", [5], "ours")
    assert verify(other.folder).good
    finding = verify(other.folder, heads=heads(peer.folder)).finding
    assert finding is not None
    assert finding.rule == "replaced"
    assert ours.origin in finding.message
    keep(peer, head(other.folder, other.checkpoint()), [other.verifier], "somebody")
    assert verify(other.folder, heads=heads(peer.folder)).anchors == 1, "a peer keeps heads of many"


def test_a3_a_peer_refuses_a_head_that_does_not_go_on_from_the_one_it_keeps(tmp_path: Path) -> None:
    ours, peer = made(tmp_path / "ours", [5, 5], "ours"), made(tmp_path / "peer", [2], "peer")
    shutil.copytree(tmp_path / "ours", tmp_path / "fork")
    fork = type(ours)(tmp_path / "fork" / "journal", tmp_path / "fork" / "journal.key")
    ours.append([Entry("up.begun", "d1")])
    keep(peer, head(ours.folder, ours.checkpoint()), [ours.verifier], "somebody")
    fork.append([Entry("up.begun", "another")] * 3)
    with pytest.raises(AnchorRefused, match="does not go on"):
        keep(peer, head(fork.folder, fork.checkpoint(), 12), [], "somebody")
    ours.append([Entry("up.begun", "d1")] * 3)
    with pytest.raises(AnchorRefused, match="--since 12"):
        keep(peer, head(ours.folder, ours.checkpoint()), [], "somebody")
    handed = Head.parse(head(ours.folder, ours.checkpoint(), 12).request)
    assert keep(peer, handed, [], "somebody").data["size"] == 15
    assert verify(ours.folder, heads=heads(peer.folder)).anchors == 2
    with pytest.raises(AnchorRefused, match="it was cut off"):
        keep(peer, head(fork.folder, query.newest(fork.folder)), [], "somebody")


def test_a_head_of_somebody_unknown_or_signed_by_another_is_refused(tmp_path: Path) -> None:
    ours, peer = made(tmp_path / "ours", [1], "ours"), made(tmp_path / "peer", [1], "peer")
    with pytest.raises(AnchorRefused, match="name its public key"):
        keep(peer, head(ours.folder, ours.checkpoint()), [], "somebody")
    with pytest.raises(AnchorRefused, match="not signed by"):
        keep(peer, head(ours.folder, ours.checkpoint()), [peer.verifier], "somebody")


EXTENSIONS = """\
[req]
distinguished_name = name
prompt = no
[name]
CN = Time of the tests
[authority]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
subjectKeyIdentifier = hash
[stamping]
basicConstraints = CA:FALSE
extendedKeyUsage = critical,timeStamping
keyUsage = critical,digitalSignature
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[tsa]
default_tsa = here
[here]
serial = {folder}/serial
signer_cert = {folder}/tsa.crt
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
ess_cert_id_alg = sha256
"""


class Service:
    """OpenSSL's own timestamping authority behind HTTP; `broken` makes it answer 503."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.broken = folder, False
        folder.mkdir()
        (folder / "openssl.cnf").write_text(EXTENSIONS.format(folder=folder))
        (folder / "serial").write_text("01\n")
        self._run("req", "-x509", "-newkey", KEY_SIZE, "-nodes", "-days", "30", "-keyout", "ca.key", "-out", "ca.crt",
                  "-extensions", "authority", "-subj", "/CN=Authority of the tests")  # fmt: skip
        self._run("req", "-new", "-newkey", KEY_SIZE, "-nodes", "-keyout", "tsa.key", "-out", "tsa.csr")
        subprocess.run(
            ["openssl", "x509", "-req", "-in", "tsa.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days",
             "30", "-extfile", "openssl.cnf", "-extensions", "stamping", "-out", "tsa.crt"],
            cwd=folder, check=True, capture_output=True,
        )  # fmt: skip
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                query = self.rfile.read(int(self.headers["Content-Length"]))
                answer = b"" if service.broken else service.answer(query)
                self.send_response(503 if service.broken else 200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *words: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/"

    @property
    def authority(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate((self.folder / "ca.crt").read_bytes())

    def answer(self, query: bytes) -> bytes:
        (self.folder / "query").write_bytes(query)
        self._run("ts", "-reply", "-queryfile", "query", "-section", "here", "-out", "reply")
        return (self.folder / "reply").read_bytes()

    def _run(self, verb: str, *words: str) -> None:
        command = ["openssl", verb, "-config", "openssl.cnf", *words]
        subprocess.run(command, cwd=self.folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl on this machine")
    one = Service(tmp_path_factory.mktemp("time") / "tsa")
    yield one
    one.server.shutdown()


def stamps(journal: Journal, service: Service) -> tuple[list[str], Finding | None]:
    return checked(verify(journal.folder, sizes=sizes(journal.folder)), journal.folder, [service.authority])


def test_a2_a_journal_written_anew_with_the_stolen_key_does_not_keep_its_timestamps(
    service: Service, tmp_path: Path
) -> None:
    """The token itself is good, and so is the seal of the checkpoint that it is over: only that was of other records."""
    journal = made(tmp_path / "ours", [3])
    assert Stamping(journal, service.url).keep_up() == ""
    stamped = query.last(journal.folder, STAMPED)
    assert stamped is not None
    thief = rewritten(journal, tmp_path / "anew", stamped)
    assert verify(thief.folder, [journal.verifier]).good
    words, finding = stamps(thief, service)
    assert words == []
    assert finding is not None
    assert (finding.sequence, finding.rule) == (stamped.sequence, "timestamp")


def rewritten(journal: Journal, folder: Path, last: Record) -> Journal:
    """Another journal of the same name and key whose last record is the one that is given."""
    folder.mkdir()
    shutil.copytree(journal.folder, folder / "journal")
    shutil.copyfile(journal.folder.parent / "journal.key", folder / "journal.key")
    signer = Signer.from_pem(journal.origin, (folder / "journal.key").read_bytes())
    first = encoded(Entry("journal.opened", "commonpool", {"vkey": signer.verifier.text}), 0, START)
    tree, lines = Frontier(), [first]
    tree.add(line_hash(first))
    seal = segment.seal_line(signer, journal.origin, tree, [line_hash(first)])
    header = segment.segments(journal.folder)[0].read_bytes().split(b"\n")[0]
    segment.segments(folder / "journal")[0].write_bytes(b"\n".join([header, *lines]) + b"\n" + seal)
    anew = Journal(folder / "journal", folder / "journal.key")
    anew.append([Entry("exchange.asked", "another")] * (last.sequence - 1))
    anew.append([Entry(last.kind, last.actor, last.data)])
    return anew


def test_a2_a_timestamp_shows_that_the_records_existed_and_a_forged_one_is_named(
    service: Service, tmp_path: Path
) -> None:
    journal = made(tmp_path, [3])
    assert Stamping(journal, service.url).keep_up() == ""
    journal.append([Entry("up.begun", "d1")])
    words, finding = stamps(journal, service)
    assert finding is None
    assert len(words) == 1
    assert words[0].endswith(" 4 records")
    stamped = query.last(journal.folder, STAMPED)
    assert stamped is not None
    journal.append([Entry(STAMPED, "thief", {**stamped.data, "checkpoint": journal.checkpoint()})])
    _, finding = stamps(journal, service)
    assert finding is not None
    assert (finding.sequence, finding.rule) == (stamped.sequence + 2, "timestamp")


def test_a_token_over_something_else_is_not_kept(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache on the way answers with what it knows: kept, it would fail every verification from then on."""
    journal = made(tmp_path, [3])
    stale = stamp(journal, service.url)
    kept = query.last(journal.folder, STAMPED)
    assert kept is not None
    monkeypatch.setattr(service, "answer", lambda _: base64.b64decode("".join(kept.data["token"])))
    with pytest.raises(ServiceFailed, match="answered for something else"):
        stamp(journal, service.url)
    assert query.last(journal.folder, STAMPED) == kept
    assert stale


def test_a5_without_the_service_it_warns_then_refuses_and_leaves_nothing_unstamped(
    service: Service, tmp_path: Path
) -> None:
    journal = made(tmp_path, [3])
    stamping = Stamping(journal, service.url, every=60, limit=3600)
    assert stamping.keep_up() == ""
    assert stamping.keep_up() == "", "it is not time yet"
    assert sum(1 for _ in query.records(journal.folder, kinds=(STAMPED,))) == 1
    service.broken = True
    try:
        assert "nothing more is accepted in" in stamping.keep_up(datetime.now(UTC) + timedelta(seconds=120))
        with pytest.raises(JournalUnavailable, match="nothing more is accepted"):
            stamping.keep_up(datetime.now(UTC) + timedelta(seconds=3700))
    finally:
        service.broken = False
    before = sum(1 for _ in query.records(journal.folder, kinds=(STAMPED,)))
    assert stamping.keep_up(datetime.now(UTC) - timedelta(days=1)) == ""
    after = sum(1 for _ in query.records(journal.folder, kinds=(STAMPED,)))
    assert after == before + 1, "the last one was kept while the clock ran ahead"
    journal.append([Entry("up.begun", "d1")])
    assert stamping.keep_up(datetime.now(UTC) + timedelta(seconds=3700)) == ""
    stamped = query.last(journal.folder, STAMPED)
    assert stamped is not None
    assert stamped.data["size"] == stamped.sequence, "the token covers everything before it"
    assert base64.b64decode("".join(stamped.data["token"]))
