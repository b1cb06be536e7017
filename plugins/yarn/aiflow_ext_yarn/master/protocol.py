"""An application master's calls to the ResourceManager: ``ApplicationMasterProtocol`` of Hadoop YARN.

Field numbers are those of Hadoop's ``yarn_service_protos.proto``.
"""

from __future__ import annotations

from aiflow_ext_yarn.master.credentials import AMRM, Token
from aiflow_ext_yarn.master.rpc import Client, RemoteError
from aiflow_ext_yarn.master.wire import Message, blob, integer, single

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "org.apache.hadoop.yarn.api.ApplicationMasterProtocolPB"
SUCCEEDED, FAILED, KILLED = 1, 2, 3  # FinalApplicationStatusProto
RESYNC, SHUTDOWN = 1, 2  # AMCommandProto

# The ResourceManager was restarted, or another one took over: it knows the attempt, but wants it to register again.
NOT_REGISTERED = "ApplicationMasterNotRegisteredException"
NOT_FOUND = ("ApplicationAttemptNotFoundException", "ApplicationNotFoundException")
ALREADY = "InvalidApplicationMasterRequestException"


class Lost(Exception):
    """The ResourceManager has given up on this attempt: its end is not needed any more."""


class ResourceManager:
    """The ResourceManagers of a cluster, for one application master's attempt.

    Args:
        addresses: of the scheduler service of each (``yarn.resourcemanager.scheduler.address``), ``host:port``.
        token: the attempt's AMRM token. Tokens that the ResourceManager sends later replace it.
        host: the node that the attempt runs on.

    Every method raises Unreachable if no ResourceManager answers now, RemoteError for an exception that it does not
    handle, and Lost.
    """

    def __init__(self, addresses: Sequence[str], token: Token, host: str) -> None:
        self._client = Client(addresses, NAME, token)
        self._host = host
        self._response = 0
        self.tracking_url = ""  # where people find the attempt's logs; empty: YARN's own page of the application
        self.progress = 0.0  # of the job, from 0 to 1; 0 until it starts, which clients are told by

    def register(self) -> None:
        """Register the attempt; idempotent."""
        self._response = 0
        try:
            self._call("registerApplicationMaster", blob(1, self._host) + integer(2, -1) + blob(3, self.tracking_url))
        except RemoteError as error:
            # The answer to an earlier call was lost: it is registered.
            if error.name != ALREADY:
                raise

    def heartbeat(self) -> None:
        """Send a heartbeat; registers the attempt again if the ResourceManager requests that."""
        try:
            answer = self._call("allocate", integer(4, self._response) + single(5, self.progress))
        except RemoteError as error:
            if error.name != NOT_REGISTERED:
                raise
            self.register()
            return
        command = answer.integer(1)
        if command == SHUTDOWN:
            raise Lost("the ResourceManager shuts this attempt down")
        if command == RESYNC:
            self.register()
            return
        self._response = answer.integer(2)
        if 12 in answer:
            self._renew(answer.message(12))

    def finish(self, status: int, diagnostics: str) -> bool:
        """Report how the attempt ended; returns whether that is recorded. To be repeated until it is."""
        request = blob(1, diagnostics) + blob(2, self.tracking_url) + integer(3, status)
        try:
            return bool(self._call("finishApplicationMaster", request).integer(1))
        except RemoteError as error:
            if error.name != NOT_REGISTERED:
                raise
            self.register()
            return False

    @property
    def protection(self) -> str:
        """How the present connection is protected: ``auth``, ``auth-int`` or ``auth-conf``; empty without one."""
        return self._client.protection

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _call(self, method: str, request: bytes) -> Message:
        try:
            return self._client.call(method, request)
        except RemoteError as error:
            if error.name in NOT_FOUND:
                raise Lost(str(error))
            raise

    def _renew(self, token: Message) -> None:
        """The ResourceManager has a new master key: the next connection needs the token that goes with it."""
        identifier, password = token.blob(1), token.blob(2)
        if identifier and password:
            self._client.token = Token(identifier, password, AMRM)
