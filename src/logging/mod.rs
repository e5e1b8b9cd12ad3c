//! Logs: the events of apps, and our own tracing.
