//! Real processes for tests: directories, free ports, guards that end what they started, waiting for events.
