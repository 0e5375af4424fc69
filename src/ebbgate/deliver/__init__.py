"""Stage 5: lease → gate → intend → send → outcome (specs/reliability.md §2).

`gate`, `retry`, `classify`, `breaker` and `batching` are pure; `client` is the only file that knows httpx; `worker` runs one
destination; `runner` runs them all.
"""
