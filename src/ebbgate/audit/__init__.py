"""The log that an auditor can check: canonical entries, their openings and the story they tell. Pure; readable alone."""
