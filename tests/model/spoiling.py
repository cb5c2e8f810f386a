"""Manifests spoiled at random: arbitrary bytes, pieces of a sample cut, moved and mixed, and values of the wrong kind in its tree."""

from pathlib import Path
from typing import Any

import yaml
from commonpool.model.estate import FOLDERS
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = "examples/estate"
# What YAML, terminals, paths and Python's own numbers and texts stumble over.
TOKENS = [
    b"- ", b": ", b"? ", b"{", b"}", b"[", b"]", b", ", b"|\n", b">-\n", b"'", b'"', b"#", b"%YAML 1.1\n", b"---\n", b"...\n",
    b"&a ", b"*a", b"<<: *a", b"!!set ", b"!!binary ", b"!!python/name:os.system ", b"!include /etc/shadow", b"=: ", b"\n", b"\r\n",
    b"\r", b"\t", b"\0", b"\x1b[2J", b"\x7f", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xff\xfe", b"\xe2\x80\xae", b"\xc2\x85",
    b"\xe2\x80\xa8", b"\xef\xbc\x91", b"\xd0\xb0", b"~", b"null", b"no", b"true", b"-1", b"-0", b"017", b"0x1F", b"1_000", b"1:30",
    b"1e999", b".nan", b"-.inf", b"9" * 40, b"2026-13-45", b"0001-01-01", b'"9999-12-31"', b"1E", b"100E", b"10.20.0.0/33", b"::/0",
    b"../../x", b"\\u0000", b'"\\uD800"', b'"\\x85"', b"x: " * 50,
]  # fmt: skip
STRANGE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.dates().map(str),
    st.text(max_size=20),
    st.sampled_from(["", " ", "0", "-1", "1e9", "NaN", "١", "a\nb", "../x", "*", "0.0.0.0/0", "2026-02-30", "x" * 300]),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=5), st.none(), max_size=3),
)


def sample(name: str) -> bytes:
    """A file of the sample."""
    return (ROOT / name).read_bytes()


def targets() -> dict[str, str]:
    """One file of every kind by the kind's word: what is spoiled, each in its place in the sample."""
    estate = ROOT / SAMPLE
    single = {path.stem: path for path in estate.glob("*.yaml")}
    folders = {word: sorted((estate / folder).glob("*.yaml"))[0] for word, (folder, _) in FOLDERS.items()}
    inventory = {"inventory": ROOT / "inventories" / "river-street" / "hosts.yml"}
    return {word: str(path.relative_to(ROOT)) for word, path in (single | folders | inventory).items()}


@st.composite
def cut_and_mixed(draw: st.DrawFn, content: bytes) -> bytes:
    """Slices replaced by others, by tokens, or by themselves many times over."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        taken = content[start : start + draw(st.integers(0, 60))]
        token = st.sampled_from(TOKENS)
        put = draw(st.one_of(st.just(taken), token, st.binary(max_size=6))) * draw(st.sampled_from([0, 1, 1, 2, 2000]))
        content = content[:start] + put + content[start + len(taken) :]
    return content


def _places(values: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    return [place for key, value in inner for place in ((*here, key), *_places(value, (*here, key)))]


@st.composite
def of_another_shape(draw: st.DrawFn, content: bytes) -> bytes:
    """Still YAML: values replaced, taken out, renamed or moved."""
    values = yaml.safe_load(content)
    for _ in range(draw(st.integers(1, 3))):
        places = _places(values)
        if not places:
            break
        *way, last = draw(st.sampled_from(places))
        parent = values
        for part in way:
            parent = parent[part]
        deed = draw(st.sampled_from(["replace", "replace", "delete", "rename", "move"]))
        if deed == "delete":
            del parent[last]
        elif deed == "rename" and isinstance(parent, dict):
            name = draw(st.one_of(st.text(max_size=8), st.sampled_from(sorted(map(str, parent)))))
            parent[name] = parent.pop(last)
        elif deed == "move":
            other = draw(st.sampled_from(places))
            moved = values
            for part in other:
                moved = moved[part] if isinstance(moved, (dict, list)) else moved
            parent[last] = yaml.safe_load(yaml.safe_dump(moved))
        else:
            parent[last] = draw(STRANGE)
    return yaml.safe_dump(values, allow_unicode=True, sort_keys=False).encode(errors="surrogatepass")


def spoiled(content: bytes) -> st.SearchStrategy[bytes]:
    """Any bytes at all, or the content spoiled."""
    return st.one_of(of_another_shape(content), cut_and_mixed(content), st.binary(max_size=200))
