"""Digests of identifiers and conversions against `hashlib`, and what is blocked or refused.

The construction: BLAKE2b with a 16-byte digest, keyed, `person` `hw-identifier-v1`, over the
brand (8 bytes little endian), the type's number (1 byte) and the normal form; of conversions
`hw-conversion-v1`, over each part as its length (4 bytes little endian) and bytes.
"""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater import _core
from headwater.model.identifiers import looks_like_email

KEY = bytes(range(32))
TYPES = {
    "customer_id": 1,
    "profile_id": 2,
    "email": 3,
    "email_sha256": 3,
    "email_sha1": 3,
    "phone": 4,
    "phone_sha256": 4,
    "device_id": 5,
    "external_click_id": 7,
    "visitor_id": 8,
}


def oracle(brand: int, type_name: str, normal_form: str) -> bytes:
    data = brand.to_bytes(8, "little") + bytes([TYPES[type_name]]) + normal_form.encode()
    return hashlib.blake2b(data, digest_size=16, key=KEY, person=b"hw-identifier-v1").digest()


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def digest(type_name: str, value: str, country: str | None = None) -> bytes | None:
    return _core.identifier_digest(KEY, 7, type_name, value, country)


@pytest.mark.parametrize(
    ("type_name", "value", "normal_form"),
    [
        ("customer_id", " Cust-77 ", "Cust-77"),
        ("profile_id", "p\u00e9", "p\u00e9"),
        ("email", " Ada@Example.ORG ", sha256("ada@example.org")),
        ("email_sha256", sha256("ada@example.org").upper(), sha256("ada@example.org")),
        ("email_sha1", "A" * 39 + "b", "a" * 39 + "b"),
        ("phone", "+49 (0)30 123-4567", sha256("+49301234567")),
        ("phone_sha256", sha256("+49301234567"), sha256("+49301234567")),
        (
            "device_id",
            "ABCDEF01-2345-6789-ABCD-EF0123456789",
            "abcdef01-2345-6789-abcd-ef0123456789",
        ),
        ("device_id", "Dev-1", "Dev-1"),
        ("external_click_id", "gClid_1", "gClid_1"),
        ("visitor_id", "0abc", "0abc"),
    ],
)
def test_each_type_is_digested_over_its_normal_form(
    type_name: str, value: str, normal_form: str
) -> None:
    assert digest(type_name, value) == oracle(7, type_name, normal_form)


@given(
    brand=st.integers(min_value=0, max_value=2**63 - 1),
    value=st.text(alphabet="abcdefghij0123456789_", min_size=2, max_size=40),
    key=st.binary(min_size=16, max_size=64),
)
def test_any_plain_value_agrees_with_hashlib(brand: int, value: str, key: bytes) -> None:
    data = brand.to_bytes(8, "little") + bytes([8]) + value.encode()
    expected = hashlib.blake2b(data, digest_size=16, key=key, person=b"hw-identifier-v1").digest()
    assert _core.identifier_digest(key, brand, "visitor_id", value) in (expected, None)


def test_neither_brands_nor_types_nor_keys_share_a_digest() -> None:
    digests = {
        _core.identifier_digest(key, brand, type_name, "value-1")
        for key in (KEY, KEY[::-1])
        for brand in (1, 2)
        for type_name in ("customer_id", "visitor_id")
    }
    assert len(digests) == 8


@pytest.mark.parametrize(
    "value",
    [
        *("", " ", "0", "0000", "---", "0-0-0", "null", "NULL", "none", "anonymous", "Invalid"),
        *("-1", "undefined", "NaN", "aaa", "1111", "x" * 1025, "xy" * 513, "\u00e9" * 3),
    ],
)
def test_values_that_link_nobody_have_no_digest(value: str) -> None:
    for type_name in TYPES:
        assert digest(type_name, value) is None


def test_the_longest_value_still_has_a_digest() -> None:
    assert digest("customer_id", "xy" * 512) is not None


def test_hashes_of_such_values_have_none_either() -> None:
    assert digest("email_sha256", sha256("")) is None
    assert digest("phone_sha256", sha256("null")) is None


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("a@b.example", True),
        ("order 7 of a.b+c@b.example", True),
        ("a%40b.example", True),
        ("a%2540b.example", True),
        ("https://medium.example/@ada/post.html", False),
        ("@b.example", False),
        ("a@b", False),
        ("a@ b.example", False),
        ("a@b.", False),
        ("", False),
        # Of such texts a pattern that repeats without a bound makes minutes of work.
        ("a" * 1_000_000, False),
        ("a@" + "b" * 1_000_000, False),
        ("a%40" * 250_000, False),
        ("%25" * 300_000, False),
        ("a@b" * 300_000, False),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_an_address_is_found_in_any_text_of_any_length(text: str, holds: bool) -> None:
    assert looks_like_email(text) is holds


@pytest.mark.parametrize(
    ("type_name", "value", "code"),
    [
        ("customer_id", "a@b.example", "pii_in_customer_id"),
        ("email", "not an address", "invalid_email"),
        ("email", "a@b", "invalid_email"),
        ("email_sha256", "a" * 63 + "b" * 2, "invalid_email_sha256"),
        ("email_sha1", sha256("a"), "invalid_email_sha1"),
        ("phone", "030 1234567", "phone_country_missing"),
        ("phone", "+49 call me", "invalid_phone"),
        ("phone_sha256", "12", "invalid_phone_sha256"),
        ("shoe_size", "43", "unknown_identifier_type"),
    ],
)
def test_a_malformed_value_is_refused_with_its_code(type_name: str, value: str, code: str) -> None:
    with pytest.raises(ValueError, match=code) as refused:
        digest(type_name, value)
    assert isinstance(refused.value, _core.IdentifierError)
    assert refused.value.code == code
    assert value not in str(refused.value)


def test_a_number_without_country_code_takes_the_programs() -> None:
    assert digest("phone", "030 1234567", "DE") == digest("phone", "+49301234567")
    assert digest("phone", "06 1234 5678", "it") == digest("phone", "+390612345678")
    assert digest("phone", "(212) 555-0100", "US") == digest("phone", "001 212 555 0100")


@given(st.lists(st.text(max_size=12), max_size=6))
def test_conversion_digests_agree_with_hashlib(parts: list[str]) -> None:
    data = b"".join(len(part.encode()).to_bytes(4, "little") + part.encode() for part in parts)
    expected = hashlib.blake2b(data, digest_size=16, key=KEY, person=b"hw-conversion-v1").digest()
    assert _core.conversion_digest(KEY, parts) == expected


def test_conversion_parts_do_not_run_into_each_other() -> None:
    assert _core.conversion_digest(KEY, ["ab", "c"]) != _core.conversion_digest(KEY, ["a", "bc"])


@pytest.mark.parametrize("length", [0, 15, 65])
def test_a_key_of_another_size_is_refused(length: int) -> None:
    with pytest.raises(_core.IdentifierError) as refused:
        _core.conversion_digest(bytes(length), ["a"])
    assert refused.value.code == "invalid_key"
    with pytest.raises(_core.IdentifierError):
        _core.identifier_digest(bytes(length), 1, "visitor_id", "v1")
