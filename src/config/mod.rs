//! Configuration: built-in defaults, files, environment and flags, in that order.
