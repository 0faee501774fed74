"""How claims are declared, run, recorded and shown."""
