//! The composition root of `breakglassd`: one file per command.
