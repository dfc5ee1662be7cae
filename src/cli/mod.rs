//! The `breakglass` command line: one file per command.
