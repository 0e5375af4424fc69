"""Stage 2 of the flow: Signals + Place → Consent (specs/consent.md). One signal format a file, all pure.

`resolve.py` is the way in; the decoders beside it raise `SignalError` and nothing else on bad input.
"""
