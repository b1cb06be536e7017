"""The start marker is made once, whatever becomes of answers; the file system's refusals are told apart."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from webhdfs_server import Fault, Server, remote

from aiflow_ext_yarn.master.staging import Refused, Staging, StagingError

FOLDER = "/webhdfs/v1/staging/a b"
OPERATIONS = ("CREATE", "CREATE:data", "RENAME", "GETFILESTATUS")


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        yield made


def staging(*servers: Server, **options: object) -> Staging:
    return Staging([f"{server.root}/webhdfs/v1/staging/s" for server in servers], user="me", **options)  # type: ignore[arg-type]


def claim(one: Staging, times: int = 10) -> None:
    """As the application master does: again where the file system cannot be used."""
    for _ in range(times - 1):
        try:
            return one.claim()
        except StagingError:
            continue
    one.claim()


def test_the_marker(server: Server) -> None:
    claim(staging(server), 1)
    assert server.files == {"/staging/s/started": b""}
    assert [operation for operation, _ in server.asked] == ["CREATE", "CREATE:data", "RENAME"]
    assert {query["user.name"] for _, query in server.asked} == {"me"}


def test_claimed_again_by_the_same(server: Server) -> None:
    one = staging(server)
    claim(one, 1)
    claim(one, 1)


def test_claimed_by_another(server: Server) -> None:
    claim(staging(server), 1)
    with pytest.raises(Refused, match="its start marker is of 1970-01-02 00:00:00 UTC"):
        claim(staging(server), 1)


def test_a_marker_with_something_in_it(server: Server) -> None:
    server.files["/staging/s/started"] = b"x"
    with pytest.raises(Refused):
        claim(staging(server), 1)
    assert server.files["/staging/s/started"] == b"x"


def test_a_folder_that_was_cleaned_up(server: Server) -> None:
    server.removed = True
    with pytest.raises(StagingError) as caught:
        claim(staging(server), 1)
    assert caught.value.permanent
    with pytest.raises(StagingError):
        staging(server).end("{}")
    assert server.files == {}


def test_a_folder_that_is_cleaned_up_meanwhile() -> None:
    files: dict[str, bytes] = {}

    def clean(operation: str, number: int) -> None:
        if operation == "RENAME":
            files.clear()

    with Server(clean, files) as server:
        with pytest.raises(StagingError, match="the staging folder was removed") as caught:
            claim(staging(server), 1)
        assert caught.value.permanent


@pytest.mark.parametrize("lost", OPERATIONS)
def test_a_lost_answer(lost: str) -> None:
    with Server(lambda operation, number: "lost" if (operation, number) == (lost, 0) else None) as server:
        claim(staging(server))
        with pytest.raises(Refused):
            claim(staging(server))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(OPERATIONS), st.integers(0, 3)), max_size=6), st.integers(2, 3))
def test_lost_answers_at_random(lost: list[tuple[str, int]], claimants: int) -> None:
    """Of several that claim in turns, exactly one may start."""
    with Server(lambda operation, number: "lost" if (operation, number) in lost else None) as server:
        open_ones, won = [staging(server) for _ in range(claimants)], 0
        for _ in range(40):
            for one in open_ones[:]:
                try:
                    one.claim()
                    won += 1
                    open_ones.remove(one)
                except Refused:
                    open_ones.remove(one)
                except StagingError:
                    pass
        assert (won, open_ones) == (1, [])


def standby(operation: str, number: int) -> tuple[int, bytes]:
    return 403, remote("StandbyException", "Operation category READ is not supported in state standby")


def test_a_standby_is_passed_over() -> None:
    files: dict[str, bytes] = {}
    with Server(standby, files) as first, Server(files=files) as second:
        one = staging(first, second)
        claim(one, 1)
        one.end("{}")
        assert len(first.asked) == 1  # the one that answers is stayed with
    assert files["/staging/s/ended"] == b"{}"


def test_all_on_standby() -> None:
    with Server(standby) as first, Server(standby) as second:
        with pytest.raises(StagingError, match="StandbyException") as caught:
            staging(first, second).claim()
        assert not caught.value.permanent


@pytest.mark.parametrize(
    ("status", "body", "words", "permanent"),
    [
        (403, remote("SafeModeException", "Not now.\nIt is so."), "SafeModeException: Not now.$", False),
        (403, remote("AccessControlException", "Permission denied"), "AccessControlException: Permission denied", True),
        (403, remote("DSQuotaExceededException"), "DSQuotaExceededException", True),
        (401, b"<html>", "HTTP status 401", True),
        (500, b"\xff\xfe", "HTTP status 500", False),
        (200, b"<html>a page</html>", "HTTP status 200", False),
    ],
)
def test_refusals(status: int, body: bytes, words: str, permanent: bool) -> None:
    with Server(lambda *_: (status, body)) as server:
        with pytest.raises(StagingError, match=words) as caught:
            staging(server).claim()
        assert caught.value.permanent is permanent


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(OPERATIONS), st.integers(200, 599), st.binary(max_size=80))
def test_hostile_answers(which: str, status: int, body: bytes) -> None:
    fault: Fault = lambda operation, _: (status, body) if operation == which else None  # noqa: E731
    with Server(fault) as server:
        try:
            staging(server).claim()
        except (StagingError, Refused):
            pass


def test_a_delegation_token_goes_instead_of_a_user(server: Server) -> None:
    one = Staging([f"{server.root}/webhdfs/v1/staging/s"], delegation="t0ken")
    claim(one, 1)
    assert all(query["delegation"] == "t0ken" and "user.name" not in query for _, query in server.asked)


def test_a_token_is_in_no_message() -> None:
    one = Staging(["http://127.0.0.1:9/webhdfs/v1/s"], delegation="t0ken")
    with pytest.raises(StagingError) as caught:
        one.claim()
    assert "t0ken" not in str(caught.value)


def test_odd_names(server: Server) -> None:
    Staging([f"{server.root}{FOLDER.replace(' ', '%20')}"], user="me").claim()
    assert list(server.files) == ["/staging/a b/started"]
