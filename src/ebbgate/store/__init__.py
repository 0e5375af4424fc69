"""One transaction for duplicate keys, payloads and log entries (DESIGN §6). `open.open_store` chooses the backend."""
