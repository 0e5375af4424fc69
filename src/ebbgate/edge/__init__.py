"""The edge: everything that knows ASGI. What the internet sends becomes a `RawRequest`; what the pipeline answers becomes HTTP."""
