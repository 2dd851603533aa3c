"""YAML within bounds: what would never end, or fill the memory, is refused before values are made of it."""

import pytest

from pipeline import safe_yaml

CHAIN = "\n".join(["a0: &a0 [x]", *(f"a{at}: &a{at} [*a{at - 1}]" for at in range(1, 2000))])
LAUGHS = "\n".join(["a0: &a0 [ha]", *(f"a{at}: &a{at} [{', '.join([f'*a{at - 1}'] * 10)}]" for at in range(1, 12))])
MERGED = "\n".join(["a0: &a0 {x: 1}", *(f"a{at}: &a{at} {{<<: [{f'*a{at - 1}, ' * 10}]}}" for at in range(1, 12))])
REFUSED = {
    "laughs": (LAUGHS, "Line 5: aliases stand for more than 100,000 values"),
    "merged": (MERGED, "aliases stand for more than 100,000 values"),
    "chain": (CHAIN, "aliases nest more than 50 deep"),
    "itself": ("a: &a [*a]", "an alias stands for a value that contains it"),
    "lists": ("a: " + "[" * 100_000, "Line 1: nested more than 50 deep. Write it flatter"),
    "mappings": ("a: " + "{a: " * 100_000, "nested more than 50 deep"),
    "dashes": ("- " * 100_000, "nested more than 50 deep"),
    "indents": ("\n".join(f"{' ' * at}a:" for at in range(500)), "Line 50: nested more than 50 deep"),
    "long": ("a: 1\n" * 200_000, "1,000,000 characters of YAML, more than 500,000. Shorten it"),
    "number": ("a: " + "1" * 5000, "A value can't be read: Exceeds the limit"),
    "date": ("a: 2001-99-99", "A value can't be read: month must be"),
    "empty number": ("a: !!int ''", "A value can't be read"),
    "object": ("a: !!python/object/apply:os.system [ls]", "Line 1: could not determine a constructor"),
    "key twice": ("a: 1\na: 2", "Line 2: found duplicate key"),
    "half a pair": ('a: "\\ud800"', "Line 1: half of a surrogate pair, which is no character"),
    "nul": ("a: \0", "special characters are not allowed"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_a_reason(name: str) -> None:
    text, reason = REFUSED[name]
    with pytest.raises(ValueError, match=reason):
        safe_yaml.load(text)


def test_ordinary_aliases_merges_and_depth_are_read() -> None:
    text = "base: &base {size: 8, list: &l [1, 2]}\none: {<<: *base, lr: 1e-3}\ntwo: [*l, *l]\n"
    assert safe_yaml.load(text) == {
        "base": {"size": 8, "list": [1, 2]},
        "one": {"size": 8, "list": [1, 2], "lr": 0.001},
        "two": [[1, 2], [1, 2]],
    }
    assert safe_yaml.load("[" * safe_yaml.MAX_DEPTH + "]" * safe_yaml.MAX_DEPTH)
