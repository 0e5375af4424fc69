"""Event + Consent + Policy → Decision, CleanEvent: what may leave, to whom, and which line of which file said so.

`load` reads policy files into a `plan`, `decide` judges one event, `clean` makes what leaves, `explain` tells the story.
"""
