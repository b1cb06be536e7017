"""Bytes from the network and from files: understood as Hadoop writes them, and refused in one way otherwise."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiflow_ext_yarn.master import wire
from aiflow_ext_yarn.master.credentials import Credentials, Token
from aiflow_ext_yarn.master.outcome import KINDS, LABEL, Outcome, parse
from aiflow_ext_yarn.master.sasl import Digest, SaslError, directives


@given(st.integers(-(2**63), 2**63 - 1))
def test_numbers_come_back(number: int) -> None:
    data = wire.varint(number)
    assert wire.read_varint(data, 0) == (number & (1 << 64) - 1, len(data))


def test_numbers_as_the_format_has_them() -> None:
    assert (wire.varint(300), wire.varint(-1)) == (b"\xac\x02", b"\xff" * 9 + b"\x01")
    assert [wire.zigzag(number) for number in (0, -1, 1, -2, -33)] == [0, 1, 2, 3, 65]


@given(st.integers(1, 1000), st.binary(), st.integers(0, 2**64 - 1), st.floats(width=32, allow_nan=False))
def test_messages_come_back(field: int, data: bytes, number: int, fraction: float) -> None:
    message = wire.Message(
        wire.blob(field, data)
        + wire.integer(field + 1, number)
        + wire.single(field + 2, fraction)
        + wire.blob(field, b"")
    )
    assert message.blobs(field) == [data, b""]
    assert message.blob(field) == b""
    assert message.integer(field + 1) == number
    assert struct.unpack("<f", message.blob(field + 2)) == (fraction,)
    assert field + 3 not in message


FIELDS = st.one_of(
    st.builds(wire.integer, st.integers(1, 19), st.integers(0, 2**64 - 1)),
    st.builds(wire.blob, st.integers(1, 19), st.binary(max_size=20)),
    st.builds(wire.single, st.integers(1, 19), st.floats(width=32)),
    st.builds(lambda field, data: wire.varint(field << 3 | 1) + data, st.integers(1, 19), st.binary(max_size=8)),
)


@given(st.binary(max_size=200) | st.builds(lambda parts, end: b"".join(parts) + end, st.lists(FIELDS), st.binary()))
def test_hostile_messages(data: bytes) -> None:
    try:
        message = wire.Message(data)
        for field in range(1, 20):
            for ask in (message.integer, message.blob, message.text, message.message):
                try:
                    ask(field)
                except wire.WireError:
                    pass
    except wire.WireError:
        pass


@given(st.binary(max_size=50))
def test_a_truncated_message(data: bytes) -> None:
    whole = wire.blob(3, data + b"x") + wire.integer(1, 5)
    for cut in range(1, len(whole) - 2):
        with pytest.raises(wire.WireError):
            wire.Message(whole[:cut])


@pytest.mark.parametrize("form", [1, 5])
def test_a_truncated_number(form: int) -> None:
    with pytest.raises(wire.WireError):
        wire.Message(wire.varint(3 << 3 | form) + b"abc")


def test_a_field_of_another_type() -> None:
    message = wire.Message(wire.integer(3, 5) + wire.blob(4, b"x"))
    for ask, field in ((message.blob, 3), (message.text, 3), (message.message, 3), (message.integer, 4)):
        with pytest.raises(wire.WireError):
            ask(field)


def test_a_number_without_an_end() -> None:
    with pytest.raises(wire.WireError):
        wire.read_varint(b"\xff" * 100, 0)


def writable(number: int) -> bytes:
    """A number as Hadoop's WritableUtils.writeVInt writes it."""
    if -112 <= number <= 127:
        return struct.pack("b", number)
    size = (number.bit_length() + 7) // 8
    return struct.pack("b", -112 - size) + number.to_bytes(size, "big")


def sized(data: bytes) -> bytes:
    return writable(len(data)) + data


def token_file(tokens: list[tuple[bytes, bytes, str]], secrets: dict[str, bytes]) -> bytes:
    out = b"HDTS\0" + writable(len(tokens))
    for identifier, password, kind in tokens:
        out += sized(b"alias") + sized(identifier) + sized(password) + sized(kind.encode()) + sized(b"")
    out += writable(len(secrets))
    return out + b"".join(sized(alias.encode()) + sized(secret) for alias, secret in secrets.items())


class TestCredentials:
    @given(
        st.lists(st.tuples(st.binary(max_size=300), st.binary(max_size=20), st.text(max_size=9)), max_size=4),
        st.dictionaries(st.text(max_size=9), st.binary(max_size=300), max_size=4),
    )
    def test_as_hadoop_writes_them(self, tokens: list[tuple[bytes, bytes, str]], secrets: dict[str, bytes]) -> None:
        found = Credentials(token_file(tokens, secrets))
        assert [(token.identifier, token.password, token.kind) for token in found.tokens] == tokens
        assert found.secrets == secrets

    def test_as_a_protocol_buffer(self) -> None:
        token = wire.blob(1, b"i") + wire.blob(2, b"p") + wire.blob(3, "KIND") + wire.blob(4, "")
        message = wire.blob(1, wire.blob(1, "alias") + wire.blob(2, token)) + wire.blob(
            2, wire.blob(1, "s") + wire.blob(2, b"v")
        )
        found = Credentials(b"HDTS\1" + wire.delimited(message))
        assert (found.token("KIND").password, found.secrets) == (b"p", {"s": b"v"})

    def test_a_kind_that_is_not_there(self) -> None:
        with pytest.raises(LookupError, match="no YARN_AM_RM_TOKEN"):
            Credentials(token_file([], {})).token("YARN_AM_RM_TOKEN")

    @given(st.binary(max_size=100), st.sampled_from([b"", b"HDTS", b"HDTS\0", b"HDTS\1", b"HDTS\2"]))
    def test_hostile(self, data: bytes, head: bytes) -> None:
        try:
            Credentials(head + data)
        except wire.WireError:
            pass

    def test_truncated(self) -> None:
        whole = token_file([(b"i" * 200, b"p", "K")], {"s": b"v"})
        for cut in range(len(whole)):
            with pytest.raises(wire.WireError):
                Credentials(whole[:cut])


class TestDirectives:
    def test_a_challenge(self) -> None:
        found = directives(r'realm="de\"fault", nonce="a=b,c",qop="auth,auth-int" ,charset=utf-8,algorithm=md5-sess')
        assert found["realm"] == 'de"fault'
        assert (found["nonce"], found["qop"], found["charset"]) == ("a=b,c", "auth,auth-int", "utf-8")

    @given(st.text(alphabet='ab="\\, \n-', max_size=60) | st.text())
    def test_hostile(self, text: str) -> None:
        try:
            directives(text)
        except SaslError:
            pass


class TestDigest:
    TOKEN = Token(b"who", b"secret", "KIND")

    @pytest.mark.parametrize("challenge", ['qop="auth"', 'nonce="x",algorithm=sha', 'nonce="x",qop="none"', 'nonce=""',
                                           'nonce="x",qop="auth-conf",cipher="des"'])  # fmt: skip
    def test_challenges_that_cannot_be_met(self, challenge: str) -> None:
        with pytest.raises(SaslError):
            Digest(self.TOKEN, challenge.encode(), "u")

    @given(st.lists(st.sampled_from(['nonce="n"', "nonce=", "qop=auth-conf", 'qop="auth,auth-int"', "cipher=rc4",
                                     'realm="a\\"b"', "algorithm=md5-sess", "charset=utf-8", "="])),
           st.binary(max_size=40))  # fmt: skip
    def test_hostile_challenges(self, parts: list[str], message: bytes) -> None:
        """An answer, a security layer that takes nothing but what was signed, or one exception."""
        try:
            digest = Digest(self.TOKEN, ",".join(parts).encode(), "u")
            digest.response()
            layer = digest.layer()
            if layer is not None:
                layer.unwrap(message)
                pytest.fail("a message that nobody signed was taken")
        except SaslError:
            pass


class TestOutcome:
    @given(
        st.sampled_from(KINDS), st.none() | st.integers(0, 255), st.none() | st.integers(1, 64), st.booleans(),
        st.none() | st.text(min_size=1), st.lists(st.text(), max_size=3), st.text(alphabet="ab{}\n"),
    )  # fmt: skip
    def test_through_diagnostics(
        self,
        kind: str,
        code: int | None,
        number: int | None,
        stopped: bool,
        reason: str | None,
        left: list[str],
        before: str,
    ) -> None:  # fmt: skip
        given = Outcome(kind, exit_code=code, signal=number, stopped=stopped, reason=reason, left=left)
        found = parse(before + given.diagnostics() + "\n")
        assert found is not None
        assert vars(found) == vars(given)

    @given(st.text(), st.sampled_from(["", LABEL, LABEL + '{"kind": "exit"']))
    def test_other_diagnostics(self, text: str, head: str) -> None:
        assert parse(head + text) is None

    @pytest.mark.parametrize("code", ['"0"', "0.5", "true", "[]"])
    def test_a_code_that_is_no_number(self, code: str) -> None:
        line = Outcome("exit", exit_code=7).to_json()
        assert parse(LABEL + line) is not None
        assert parse(LABEL + line.replace('"exit_code": 7', f'"exit_code": {code}')) is None

    def test_a_reason_that_claims_another_end(self) -> None:
        lie = Outcome("exit", exit_code=0).diagnostics()
        found = parse(Outcome("exit", exit_code=1, reason=lie).diagnostics())
        assert found is not None
        assert found.exit_code == 1
