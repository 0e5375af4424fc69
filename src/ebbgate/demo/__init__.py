"""What shows ebbgate at work without an account anywhere: fake destinations and sample traffic."""
