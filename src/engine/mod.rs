//! The one place that sequences decide, durable append and effects.
