"""The `dynometer` command, one file a subcommand."""
