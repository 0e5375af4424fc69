"""Destinations: a `CleanEvent` in, the platform's HTTP request out. One declarative file each, no I/O."""
