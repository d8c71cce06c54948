import hashlib

from hypothesis import given
from hypothesis import strategies as st

from da_kd.hashing import hash_bytes, hash_file, hash_json

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def turned(value):
    """The same tree with the keys of every mapping the other way round."""
    if isinstance(value, dict):
        return {key: turned(value[key]) for key in reversed(value)}
    return [turned(item) for item in value] if isinstance(value, list) else value


@given(plain)
def test_the_order_of_keys_does_not_matter(value):
    assert hash_json(value) == hash_json(turned(value))


def test_everything_else_matters():
    values = [{}, [], "", None, 0, False, [1, 2], [2, 1], {"a": 1}, {"a": "1"}, {"a": {"b": 1}}, {"a": 1, "b": None}]
    assert len({hash_json(value) for value in values}) == len(values)


def test_a_file_is_hashed_by_its_content_however_large(tmp_path):
    data = bytes(range(256)) * 8192  # two chunks
    (tmp_path / "a").write_bytes(data)
    assert hash_file(tmp_path / "a") == hash_bytes(data) == hashlib.blake2b(data, digest_size=16).hexdigest()
    (tmp_path / "a").write_bytes(data[:-1])
    assert hash_file(tmp_path / "a") != hash_bytes(data)
