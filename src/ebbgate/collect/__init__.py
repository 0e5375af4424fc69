"""Stage 1: a request in any dialect → Events + Signals. One dialect a file, pure."""
