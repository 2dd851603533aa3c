"""convline's stages and what they share: nothing happens on import."""
