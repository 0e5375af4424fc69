"""The command line: one file a verb group, heavy imports inside the commands (DESIGN §5.3)."""
