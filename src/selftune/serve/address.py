"""Where the serving process listens: a socket that only its owner can open."""

import hashlib
import os
import tempfile
from pathlib import Path

from selftune.core.errors import InvalidInput

SOCKET = "serving.sock"
_LONGEST = 100  # the system has room for 107 bytes
_SYSTEM_TEMPORARY = Path("/tmp")


def socket_path(folder: Path, name: str = SOCKET) -> Path:
    """Return a socket in the home's `run` folder: the serving process's, unless another is named.

    A path that is too long for a socket is replaced by a short one, always the same, in a folder
    of temporary files that belongs to this user alone.

    Raises:
        InvalidInput: somebody else made that folder.

    """
    path = folder / name
    if len(os.fsencode(path)) <= _LONGEST:
        return path
    short_name = f"selftune-{os.getuid()}/{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}.sock"
    address = Path(tempfile.gettempdir()) / short_name
    if len(os.fsencode(address)) > _LONGEST:  # TMPDIR can be as deep as the home folder
        address = _SYSTEM_TEMPORARY / short_name
    short = address.parent
    short.mkdir(mode=0o700, exist_ok=True)
    found = short.lstat()
    if short.is_symlink() or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise InvalidInput(
            f"{str(short)!r} must be a folder that only this user can enter: remove it, or choose "
            "a shorter SELFTUNE_HOME."
        )
    return address
