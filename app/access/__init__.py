"""Who may send (drain secrets, the drain of an app that counts) and who may read (tokens)."""
