"""ebbgate: a consent-aware event gateway for a website's own domain."""

__version__ = "0.1.0"
