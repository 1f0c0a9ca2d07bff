"""Where the serving process listens, in the home folder's `run`."""

SOCKET = "serving.sock"
