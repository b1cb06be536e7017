"""Who may see and kill an application: its access lists, which YARN enforces where ``yarn.acl.enable`` is true."""

from __future__ import annotations

import re
from collections.abc import Sequence

from aiflow_ext.plugin import Jsonable

VIEW, MODIFY = "VIEW_APP", "MODIFY_APP"  # org.apache.hadoop.yarn.api.records.ApplicationAccessType
_NAME = r"[^\s,]+"
_TEXT = re.compile(rf"(?:{_NAME}(?:,{_NAME})*)?(?: {_NAME}(?:,{_NAME})*)?")  # AccessControlList


class AccessList(Jsonable):
    """Users and groups, besides the application's owner and the cluster's administrators.

    Args:
        users: their names; ``*`` is everybody.
        groups: likewise.
    """

    def __init__(self, users: Sequence[str] = (), groups: Sequence[str] = ()) -> None:
        self.users, self.groups = list(users), list(groups)
        if not self.users and not self.groups:
            raise ValueError("say users, groups or both")
        for name in (*self.users, *self.groups):
            if not re.fullmatch(_NAME, name):
                raise ValueError(f"users and groups must be names without spaces and commas, not {name!r}")

    def text(self) -> str:
        """As Hadoop reads it: ``user,user group,group``."""
        return f"{','.join(self.users)} {','.join(self.groups)}".rstrip()


def list_text(key: str, given: AccessList | str | None) -> str | None:
    """What a config has under ``key``, as Hadoop reads it; None: nothing. Raises ValueError."""
    if isinstance(given, AccessList):
        return given.text()
    if given is not None and (not given.strip() or not _TEXT.fullmatch(given)):
        raise ValueError(
            f"{key} must be Hadoop's 'user,user group,group', or have the keys users and groups, not {given!r}"
        )
    return given
