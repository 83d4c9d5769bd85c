"""The `dynometer` command, one file per subcommand."""
