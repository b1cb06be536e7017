"""Checks the owner and permissions of a state folder: it is not used if another user can have written to it.

A store contains folders that ``gc`` removes, commands that ``resume`` runs and processes that ``stop`` ends.
"""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path

from aiflow_ext.model.errors import StateError
from aiflow_ext.model.names import path_pasted

TRUST = "AIFLOW_TRUST"  # users by number or name, groups with @ before them, or * for everybody
_USER, _GROUP, _MASK = 2, 8, 16  # tags in an access control list
_MOST_LINKS = 40  # as many as the kernel follows in one path (path_resolution(7))


def refuse_foreign(folder: Path, *, missing: bool = False) -> None:
    """Raise StateError unless ``folder`` is this user's alone.

    ``missing``: whether it may be missing; then only what is there of its path is checked.

    It and every folder and link on its path must belong to the effective user or root, and no other user may be able to
    write to them. A sticky folder such as /tmp may be on the path: there users cannot rename files of others. A group
    whose only member is the user, as Debian and Fedora make one for each user, is allowed. ``$AIFLOW_TRUST`` names
    users and groups that are trusted as well.
    """
    trusted = _Trusted()
    if trusted.everybody:
        return
    named = os.path.abspath(os.path.expanduser(os.environ.get("AIFLOW_STATE") or "/"))
    leading = _leading_to(os.path.abspath(folder), missing)
    if os.path.realpath(named) == os.path.dirname(os.path.abspath(folder)):
        leading = _leading_to(named, missing) + leading  # the folder's path has none of the links in this one
    for path, status in leading:
        link, last = stat.S_ISLNK(status.st_mode), path == os.path.abspath(folder)
        if not trusted.user(status.st_uid):
            raise _refused(folder, path, f"belongs to {user_name(status.st_uid)}", str(status.st_uid), owned=True)
        if link or (status.st_mode & stat.S_ISVTX and not last):
            continue
        if status.st_mode & stat.S_IWOTH:
            raise _refused(folder, path, "can be written by everybody", "")
        if status.st_mode & stat.S_IWGRP and not trusted.group(status.st_gid):
            group = _group_name(status.st_gid)
            raise _refused(folder, path, f"can be written by the group {group}", f"@{group}")
        if status.st_mode & stat.S_IWGRP:  # else an access control list lets nobody else write
            # In a shared folder new files have the group's permissions, and those of its default list.
            kinds = ("access", "default") if last and status.st_mode & stat.S_ISGID else ("access",)
            for user, number in [each for kind in kinds for each in _writers(path, kind)]:
                if user and not trusted.user(number):
                    raise _refused(folder, path, f"can be written by {user_name(number)}", str(number), acl=True)
                if not user and not trusted.group(number):
                    group = _group_name(number)
                    raise _refused(folder, path, f"can be written by the group {group}", f"@{group}", acl=True)


def _writers(path: str, kind: str) -> list[tuple[bool, int]]:
    """Whom a POSIX access control list lets write beside owner and group: (whether a user, else a group; its number).

    Args:
        path: the folder.
        kind: ``access``, or ``default`` for what is made in the folder.

    The form is that of linux/posix_acl_xattr.h: a version, then tag, permissions and number of each entry.
    """
    try:
        data = os.getxattr(path, f"system.posix_acl_{kind}")
    except OSError:  # there is none, or no such thing on this file system
        return []
    entries = [struct.unpack_from("<HHI", data, at) for at in range(4, len(data) - 7, 8)]
    mask = next((permissions for tag, permissions, _ in entries if tag == _MASK), 7)
    return [(tag == _USER, number) for tag, permissions, number in entries
            if tag in (_USER, _GROUP) and permissions & mask & 2]  # fmt: skip


def refuse_links(folder: Path, *names: str) -> None:
    """Raise StateError if one of these, in a state folder, is a link: aiflow-ext makes none there."""
    for name in names:
        if os.path.islink(folder / name):
            raise StateError("state is no link to something else", where=str(folder / name), hint="remove the link")


def _leading_to(path: str, missing: bool = False) -> list[tuple[str, os.stat_result]]:
    """``path`` and everything on its path, from the root on; a link comes before the path of its target.

    ``missing``: whether to end at the first part that does not exist; else FileNotFoundError is raised.
    """
    found: list[tuple[str, os.stat_result]] = []
    done, left, links = "/", [part for part in path.split("/") if part], 0
    found.append(("/", os.stat("/")))
    while left:
        part = left.pop(0)
        if part in (".", ".."):
            done = os.path.dirname(done) if part == ".." else done
            continue
        here = os.path.join(done, part)
        try:
            status = os.lstat(here)
        except FileNotFoundError:
            if missing:
                return found
            raise
        found.append((here, status))
        if not stat.S_ISLNK(status.st_mode):
            done = here
            continue
        links += 1
        if links > _MOST_LINKS:
            raise OSError(f"{path}: too many links")
        target = os.readlink(here)
        left = [part for part in target.split("/") if part] + left
        if target.startswith("/"):
            done = "/"
    if found[-1][0] != path:  # the last part is a link: what it leads to is the folder
        found.append((path, os.stat(path)))
    return found


class _Trusted:
    """The users and groups that may own or write the folders on the path."""

    def __init__(self) -> None:
        self._me = os.geteuid()
        self._named = set(os.environ.get(TRUST, "").replace(",", " ").split())
        self.everybody = "*" in self._named

    def user(self, number: int) -> bool:
        if number in (0, self._me) or str(number) in self._named:
            return True
        return bool(self._named) and (user_name(number) in self._named or self._member(number))

    def _member(self, number: int) -> bool:
        """Whether a user is in a named group: users who may write state may also own it."""
        import grp
        import pwd

        groups = {name[1:] for name in self._named if name.startswith("@")}
        if not groups:
            return False
        try:
            user = pwd.getpwuid(number)
        except KeyError:
            return False
        return not groups.isdisjoint({str(user.pw_gid), _group_name(user.pw_gid)}) or any(
            user.pw_name in group.gr_mem and groups & {str(group.gr_gid), group.gr_name} for group in grp.getgrall()
        )

    def group(self, number: int) -> bool:
        """Whether this user is a group's only member, or the group is named."""
        name = _group_name(number)
        if {f"@{number}", f"@{name}"} & self._named:
            return True
        import grp
        import pwd

        try:
            user, members = pwd.getpwuid(self._me), grp.getgrgid(number).gr_mem
        except KeyError:
            return False
        # Finding users with this primary group is slow: a group with the user's name counts as the user's own.
        return set(members) <= {user.pw_name, "root"} and number == user.pw_gid and name == user.pw_name


def user_name(number: int) -> str:
    """A user's name for a message."""
    import pwd

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def _group_name(number: int) -> str:
    import grp

    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def _refused(folder: Path, path: str, words: str, who: str, *, owned: bool = False, acl: bool = False) -> StateError:
    """The error for ``path``, which ``words`` say is not this user's alone; ``who`` as AIFLOW_TRUST names them."""
    shown = path_pasted(path)
    if owned:
        cure = "use another folder for state: AIFLOW_STATE=/path; or, where you trust its owner"
    elif acl:
        cure = f"setfacl -b {shown}; or use another folder for state: AIFLOW_STATE=/path; or, where you trust them"
    else:
        cure = f"chmod {'g' if who else 'o'}-w {shown}; or use another folder for state: AIFLOW_STATE=/path"
        cure += "; or, where you trust them" if who else "; or, where nobody else is, as in a container of your own"
    cure += f": {TRUST}={path_pasted(who or '*')}"
    leads = "" if path == os.path.abspath(folder) else f", which leads to the state folder {folder}"
    return StateError(
        f"state is used only where nobody else can write it, and this {words}{leads}", where=path, hint=cure
    )
